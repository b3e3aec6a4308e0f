"""A reload swaps everything or nothing (contract §2, reliability §1.6)."""

import asyncio
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import LogFormat, LogLevel
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import BreakerState
from octoroute_py.telemetry.logs import configure_logs
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink
from octoroute_py.transport.base import ConnectFailed, UpstreamRequest
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.bodies import chat_body
from tests.fakes.endpoints import trip

JSON = {"content-type": "application/json"}
FIRST = httpx_config()
REQUEST = UpstreamRequest("POST", "/chat/completions", (), b"{}")


class Log:
    """What the application logs, read once it is closed."""

    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._sink = Sink(self._stream)
        configure_logs(
            sink=self._sink, level=LogLevel.INFO, fmt=LogFormat.JSON, scrubber=Scrubber(), now=lambda: 1_700_000_000.0
        )

    def lines(self) -> list[dict[str, object]]:
        self._sink.close()
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def log() -> Iterator[Log]:
    one = Log()
    yield one
    one.lines()


async def reload(one: Running, toml: str, *, status: int = 200) -> dict[str, object]:
    """Put another configuration in force, as POST /admin/reload."""
    one.config = parse_config(toml)
    answer = await one.client.post("/admin/reload")
    assert answer.status_code == status, answer.text
    body: dict[str, object] = answer.json()
    return body


async def test_a_reload_is_in_force_for_the_next_request_and_counts_up() -> None:
    async with running(FIRST) as one:
        assert (await one.client.get("/v1/models/new-model")).status_code == 404
        assert await reload(one, FIRST.replace("fast-model", "new-model")) == {
            "success": True,
            "message": "The configuration is in force.",
            "generation": 2,
            "config": {"changed": ['models["fast/fast-model#1"] (gone)', 'models["fast/new-model#1"] (new)']},
            "artifact": None,
            "needs_restart": [],
            "overridden": [],
            "dropped": [],
        }
        assert (await one.client.get("/v1/models/new-model")).status_code == 200
        assert (await one.client.get("/v1/models/fast-model")).status_code == 404
        assert (await reload(one, FIRST))["generation"] == 3


@pytest.mark.parametrize(
    "problem",
    [
        ConfigError("config.toml:3: models.fast[0].weight: must be above 0\nconfig.toml:9: more"),
        parse_config(httpx_config('[redis]\nurl = "redis://127.0.0.1/0"\n')),
        parse_config(httpx_config('[routing.neural]\nartifact = "none"').replace('"rule"', '"hybrid"')),
    ],
    ids=["a bad file", "a feature that is not built", "an artifact that is not there"],
)
async def test_a_file_that_cannot_be_used_changes_nothing(problem: object) -> None:
    async with running(FIRST) as one:
        before = one.application.gateway.snapshot
        one.config = problem  # type: ignore[assignment]  # the parameter is one of the two it may be
        answer = await one.client.post("/admin/reload")
        assert (answer.status_code, answer.json()["success"]) == (400, False)
        assert answer.json()["message"]
        assert one.application.gateway.snapshot is before


async def test_an_unchanged_endpoint_keeps_its_breaker_and_connections_and_a_changed_one_starts_anew() -> None:
    async with running(FIRST) as one:
        gateway = one.application.gateway
        table = gateway.snapshot.table
        for each in table.endpoints:
            trip(each, gateway.monotonic())
        await reload(one, FIRST.replace("http://deep.test", "http://other.test") + "\n[limits]\nmax_in_flight = 9\n")
        now, after = gateway.monotonic(), gateway.snapshot.table
        states = {each.tier.value: each.breaker.state(now) for each in after.endpoints}
        assert states == {
            "fast": BreakerState.OPEN,
            "balanced": BreakerState.OPEN,
            "deep": BreakerState.CLOSED,
        }
        kept, made = after.by_id["fast/fast-model#1"], after.by_id["deep/deep-model#1"]
        assert kept.transport is table.by_id[kept.id].transport
        assert made.transport is not table.by_id[made.id].transport


async def test_the_transport_of_a_removed_endpoint_is_closed_and_the_others_go_on() -> None:
    two = '[[models.fast]]\nname = "second"\nbase_url = "http://second.test/v1"\ntransport = "httpx"\n' + FIRST
    async with running(two) as one:
        with upstreams() as mock:
            mock.post(path="/v1/chat/completions").respond(content=chat_body("hi"), headers=JSON)
            removed = one.application.gateway.snapshot.table.by_id["fast/second#1"]
            await reload(one, FIRST)
            assert (await one.chat("second")).status_code == 404
            assert (await one.chat("fast")).status_code == 200
        await asyncio.sleep(0)
        with pytest.raises(ConnectFailed, match="the endpoint was removed"):
            await removed.transport.send(REQUEST, deadline=1e12, connect_s=1.0)


def with_key(key: str) -> str:
    digest = hashlib.sha256(key.encode()).hexdigest()
    return httpx_config(f'[[auth.keys]]\nname = "k"\nrole = "admin"\nsha256 = "{digest}"\n[server]\nhost = "0.0.0.0"\n')


async def test_a_revoked_key_is_refused_at_once_and_the_new_one_known() -> None:
    async with running(with_key("okr-old-0123456789")) as one:
        old, new = {"x-api-key": "okr-old-0123456789"}, {"x-api-key": "okr-new-0123456789"}
        assert (await one.client.get("/v1/models", headers=old)).status_code == 200
        one.config = parse_config(with_key("okr-new-0123456789"))
        assert (await one.client.post("/admin/reload", headers=old)).status_code == 200
        assert (await one.client.get("/v1/models", headers=old)).status_code == 401
        assert (await one.client.get("/v1/models", headers=new)).status_code == 200


async def test_a_file_that_names_a_loopback_host_does_not_open_a_listener_that_others_can_reach() -> None:
    key = {"x-api-key": "okr-old-0123456789"}
    async with running(with_key("okr-old-0123456789")) as one:
        one.config = parse_config(with_key("okr-old-0123456789").replace("0.0.0.0", "127.0.0.1"))
        assert (await one.client.post("/admin/reload", headers=key)).status_code == 200
        assert (await one.client.get("/v1/models")).status_code == 401


async def test_what_needs_a_restart_is_told_in_the_log(log: Log) -> None:
    async with running(FIRST) as one:
        await reload(one, FIRST + "[server]\nport = 3999\n[cors]\norigins = ['http://a.test']\n")
    (line,) = [line for line in log.lines() if line["event"] == "configuration reloaded"]
    assert (line["generation"], line["needs_restart"]) == (2, ["server", "cors"])


async def test_a_signal_reloads_too_and_a_bad_file_is_told_in_the_log(log: Log) -> None:
    async with running(FIRST) as one:
        await one.application.reload_on_signal()
        assert one.application.gateway.snapshot.generation == 2
        one.config = ConfigError("first problem\nsecond problem")
        await one.application.reload_on_signal()
        assert one.application.gateway.snapshot.generation == 2
    (line,) = [line for line in log.lines() if line["level"] == "error"]
    assert line["problems"] == ["first problem", "second problem"]


async def test_a_request_under_way_keeps_the_configuration_it_began_with() -> None:
    async with running(FIRST) as one:
        with upstreams() as mock:

            async def swapped(request: httpx.Request) -> httpx.Response:
                one.config = parse_config(FIRST.replace("fast.test", "other.test"))
                await one.application.reload()
                return httpx.Response(500)

            mock.post("http://fast.test/v1/chat/completions").mock(side_effect=swapped)
            mock.post("http://balanced.test/v1/chat/completions").respond(content=chat_body("hi"), headers=JSON)
            answer = await one.chat("fast")
    assert answer.status_code == 200
    assert answer.headers["x-octoroute-endpoint"] == "balanced/balanced-model#1"


async def test_a_name_that_the_file_has_taken_is_told_once(log: Log, tmp_path: Path) -> None:
    storage = f'[storage]\nurl = "sqlite:///{tmp_path / "x.db"}"\n'
    async with running(storage + FIRST) as one:
        for name in ("mine", "other"):
            made = {"id": name, "name": name, "provider": "custom"}
            assert (await one.client.post("/api/models", json=made)).status_code == 201
        await reload(one, storage + FIRST.replace('name = "deep-model"', 'name = "mine"'))
        assert (await one.client.patch("/api/models/other/status", json={"status": "inactive"})).status_code == 200
    told = [line["id"] for line in log.lines() if "left out" in str(line["event"])]
    assert told == ["mine"]


async def test_the_levels_of_rooms_follow_a_reload(log: Log) -> None:
    def levels(text: str) -> str:
        return f'{FIRST}[observability]\nlog_levels = {{ "octoroute.app" = "{text}" }}\n'

    async with running(FIRST) as one:
        assert (await reload(one, levels("error")))["needs_restart"] == []
        quiet = await reload(one, levels("warning"))
        loud = await reload(one, levels("debug"))
        kept = await reload(one, FIRST + "[observability]\ncapture_content = true\n")
    assert kept["needs_restart"] == ["observability"]
    told = [line["generation"] for line in log.lines() if line["event"] == "configuration reloaded"]
    assert quiet["generation"] not in told
    assert told == [loud["generation"], kept["generation"]]
