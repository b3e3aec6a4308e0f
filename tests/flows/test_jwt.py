"""A token of the configured issuer, from the door to the upstream and the rows."""

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from octoroute_py.app.settings import known_secrets
from octoroute_py.cli.serve import _first_key
from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config
from octoroute_py.edge.info import shown_config
from tests.fakes import bodies
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.keyed import shown
from tests.fakes.tokens import AUDIENCE, ISSUER, SHARED, claims, token

ENV = {"JWT_SECRET": SHARED, "BOSS": "okr-the-key-of-the-boss"}
BOSS = shown(ENV["BOSS"])
AUTH = f"""
[[auth.keys]]
name = "boss"
role = "admin"
env = "BOSS"
[auth.jwt]
algorithms = ["HS256"]
secret_env = "JWT_SECRET"
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
"""


def config(folder: Path, more: str = "") -> Config:
    return parse_config(httpx_config(f'[storage]\nurl = "sqlite:///{folder / "tokens.db"}"\n') + AUTH + more, env=ENV)


def bearer(**changed: Any) -> dict[str, str]:
    return shown(token(claims(time.time(), **changed)))


async def ask(one: Running, method: str, path: str, headers: dict[str, str], body: object = None) -> int:
    return (await one.client.request(method, path, headers=headers, json=body)).status_code


async def test_a_bound_token_uses_its_workspace_and_knows_of_no_other(tmp_path: Path) -> None:
    with upstreams() as mock:
        mock.route().respond(content=bodies.chat_body("Hello."), headers={"content-type": "application/json"})
        async with running(config(tmp_path)) as one:
            red = bearer(scopes=["inference", "workspace:read"])
            answer = await one.chat(headers=red)
            assert answer.status_code == 200
            assert (await one.chat()).status_code == 401
            assert (await one.chat(headers=bearer(exp=time.time() - 60))).status_code == 401
            refused = await one.chat(headers=red | {"x-octoroute-workspace": "blue"})
            assert (refused.status_code, refused.json()["error"]["code"]) == (403, "permission_denied")
            assert await ask(one, "GET", "/health/detailed", red) == 403
            assert await ask(one, "GET", "/api/workspaces/blue/config", red) == 404
            assert await ask(one, "POST", "/api/workspaces/red/config", red, {"modelRestrictions": ["deep"]}) == 403
            changed = {"modelRestrictions": ["deep"]}
            assert await ask(one, "POST", "/api/workspaces/red/config", BOSS, changed) == 200
            assert await ask(one, "GET", "/api/workspaces/red/config", red) == 200
            assert (await one.chat("fast", headers=red)).status_code == 403
            assert (await one.chat("deep", headers=red)).status_code == 200
            rows = (await one.client.get("/api/metrics/requests", headers=BOSS)).json()
            assert {row["workspaceId"] for row in rows["requests"] if row["status"] == "success"} == {"red"}
        assert {call.request.headers.get("authorization") for call in mock.calls} == {None}
    log = one.stderr.getvalue().decode()
    assert "key=alice" in log
    assert SHARED not in log
    assert red["authorization"].split()[1][:40] not in log


async def test_a_token_that_is_bound_to_none_manages_what_its_scopes_say(tmp_path: Path) -> None:
    async with running(config(tmp_path, "require_workspace = false\n")) as one:
        for scopes, expected in (
            (["model:read"], (200, 403, 403)),
            (["workspace:write"], (200, 200, 403)),
            (["admin"], (200, 200, 200)),
            (["inference"], (403, 403, 403)),
            (["model:read", "inference"], (200, 403, 403)),
        ):
            headers = bearer(tenantId=None, scopes=scopes)
            asked = (
                await ask(one, "GET", "/health/detailed", headers),
                await ask(one, "POST", "/api/workspaces/red/config", headers, {}),
                await ask(one, "GET", "/api/keys", headers),
            )
            assert asked == expected, scopes
        audit = (await one.client.get("/api/audit", headers=BOSS)).json()
        assert {entry["actor"] for entry in audit["entries"]} == {"alice (jwt:alice)"}


async def test_a_reload_forgets_the_tokens_it_no_longer_believes(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        headers = bearer()
        assert await ask(one, "GET", "/v1/models", headers) == 200
        before = one.config
        assert isinstance(before, Config)
        jwt = msgspec.structs.replace(before.auth.jwt, issuer="https://another.test")  # type: ignore[type-var]
        one.config = msgspec.structs.replace(before, auth=msgspec.structs.replace(before.auth, jwt=jwt))
        await one.application.reload()
        assert await ask(one, "GET", "/v1/models", headers) == 401
        assert await ask(one, "GET", "/v1/models", bearer(iss="https://another.test")) == 200


def test_the_secret_is_masked_in_logs_and_wherever_the_configuration_is_shown(tmp_path: Path) -> None:
    whole = config(tmp_path)
    assert SHARED in known_secrets(whole)
    assert SHARED not in str(shown_config(whole))


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_gateway_that_knows_tokens_makes_no_first_key(tmp_path: Path, host: str) -> None:
    path = tmp_path / "config.toml"
    only = AUTH[AUTH.index("[auth.jwt]") :]
    whole = parse_config(f'[server]\nhost = "{host}"\n{httpx_config()}{only}', path=path, env=ENV)
    assert _first_key(whole) is None
    assert list(tmp_path.iterdir()) == []
