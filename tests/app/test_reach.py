"""A registered endpoint is asked only where it may be, as the configuration says at that moment."""

import json
from functools import partial
from pathlib import Path

import pytest
import structlog

from octoroute_py.app.settings import known_secrets
from octoroute_py.config.load import parse_config
from octoroute_py.core.catalog import Model, ModelEndpoint, Provider
from octoroute_py.core.registry import Kind
from octoroute_py.storage import registry
from octoroute_py.storage.db import Database
from octoroute_py.storage.registry import Change
from tests.fakes.application import Running, httpx_config, running
from tests.fakes.bodies import chat_body
from tests.fakes.rawserver import RawServer, ok

KEY = "sk-of-the-registry"


def config(folder: Path, networks: list[str]) -> str:
    storage = f'[storage]\nurl = "sqlite:///{folder / "r.db"}"\n'
    allowed = f"[registry]\nallow_networks = {json.dumps(networks)}\n"
    credential = '[registry.credentials.own]\nenv = "KEY"\nhosts = ["127.0.0.1"]\n'
    return httpx_config(storage + allowed + credential)


def keep(folder: Path, url: str, *, credential: str | None = None) -> None:
    """Put a model into the database as if it had been permitted once."""
    database = Database.open(f"sqlite:///{folder / 'r.db'}", base_dir=folder)
    by = Change(at_ms=1, actor="key:ops", action="model.register")
    model = Model(id="m", name="m", provider=Provider.CUSTOM, credential=credential)
    endpoint = ModelEndpoint(id="m-1", model_id="m", url=url)
    database.write(partial(registry.put, kind=Kind.MODEL, id_="m", value=model, by=by))
    database.write(partial(registry.put, kind=Kind.ENDPOINT, id_="m-1", value=endpoint, by=by))
    database.close()


async def reload(one: Running, toml: str) -> None:
    one.config = parse_config(toml, env={"KEY": KEY})
    assert (await one.client.post("/admin/reload")).status_code == 200


async def test_where_models_may_be_is_in_force_for_the_next_request_after_a_reload(tmp_path: Path) -> None:
    async with RawServer(default=ok(chat_body("Hello."))) as server:
        keep(tmp_path, server.url, credential="own")
        async with running(config(tmp_path, ["127.0.0.1/32"]), env={"KEY": KEY}) as one:
            assert (await one.chat("m")).status_code == 200
            assert server.requests[0].header(b"authorization") == f"Bearer {KEY}".encode()
            await reload(one, config(tmp_path, ["10.0.0.0/8"]))
            with structlog.testing.capture_logs() as logged:
                for _ in range(2):
                    refused = await one.chat("m")
                    assert refused.status_code == 502
                    assert "127.0" not in refused.text
            assert [line["endpoint"] for line in logged if "leads where it may not be" in line["event"]] == ["m-1"]
            assert len(server.requests) == 1
            await reload(one, config(tmp_path, ["127.0.0.0/8"]))
            assert (await one.chat("m")).status_code == 200
    assert KEY not in one.stderr.getvalue().decode()


@pytest.mark.parametrize("url", ["http://169.254.169.254/v1", "http://[::ffff:127.0.0.1]:22/v1", "http://0x7f.1/v1"])
async def test_a_database_that_names_a_forbidden_place_keeps_nothing_else_from_its_work(
    tmp_path: Path, url: str
) -> None:
    keep(tmp_path, url)
    async with running(config(tmp_path, ["0.0.0.0/0"]), env={"KEY": KEY}) as one:
        refused = await one.chat("m")
        assert refused.status_code == 502
        assert url.split("/")[2].split(":")[0] not in refused.text
        assert (await one.client.get("/v1/models/fast-model")).status_code == 200


def test_the_logs_never_show_a_credential_of_the_registry(tmp_path: Path) -> None:
    assert KEY in known_secrets(parse_config(config(tmp_path, []), env={"KEY": KEY}))
