"""What is registered over the API answers the very next request, and still does after a restart."""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.core.words import BreakerState
from tests.fakes import turns
from tests.fakes.application import Running, httpx_config, running
from tests.fakes.script import Recorded, Step
from tests.fakes.upstream import FakeUpstream

WARNING = "x-octoroute-warning"


def config(folder: Path, *upstreams: FakeUpstream) -> str:
    """A gateway that keeps what it is told, and may reach models on this machine, of which these are some."""
    ports = [urlsplit(each.base_url).port for each in upstreams]
    allowed = 'allow_networks = ["127.0.0.0/8"]\n' + (f"allow_ports = {ports}\n" if ports else "")
    return httpx_config(f'[storage]\nurl = "sqlite:///{folder / "x.db"}"\n[registry]\n{allowed}')


async def call(one: Running, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return await one.client.request(
        method, path, json=body, headers={k.replace("_", "-"): v for k, v in headers.items()}
    )


async def register(one: Running, id_: str, *upstreams: FakeUpstream, **more: Any) -> Mapping[str, Any]:
    """A model that answers at these upstreams."""
    endpoints = [{"url": each.base_url} for each in upstreams]
    body = {"id": id_, "name": id_.upper(), "provider": "custom", "endpoints": endpoints, **more}
    answer = await call(one, "POST", "/api/models", body)
    assert answer.status_code == 201, answer.text
    made: Mapping[str, Any] = answer.json()
    return made


async def set_status(one: Running, id_: str, status: str) -> None:
    answer = await call(one, "PATCH", f"/api/models/{id_}/status", {"status": status})
    assert answer.status_code == 200, answer.text


async def endpoint_of(one: Running, model: str) -> str | None:
    """Who answers for this model; None when there is none of this name."""
    answer = await one.chat(model)
    return answer.headers["x-octoroute-endpoint"] if answer.status_code == 200 else None


async def test_a_registered_model_answers_the_next_request_by_id_by_name_and_in_its_tier(tmp_path: Path) -> None:
    async with FakeUpstream() as up, running(config(tmp_path, up)) as one:
        assert (await one.chat("gpt")).status_code == 404
        await register(one, "gpt", up, tier="deep", priority=9, upstreamModel="gpt-x", parameters={"temperature": 0.5})
        for model in ("gpt", "gpt:1", "GPT", "GPT/1", "deep"):
            assert await endpoint_of(one, model) == "gpt:1"
        assert len(up.requests) == 5
        sent = up.requests[0].json
        assert (sent["model"], sent["temperature"]) == ("gpt-x", 0.5)
        for model in ("gpt", "GPT", "GPT/1", "gpt:1"):
            assert (await one.client.get(f"/v1/models/{model}")).json()["id"] == model
        listed = [row["id"] for row in (await one.client.get("/v1/models")).json()["data"]]
        assert "gpt" in listed
        assert "GPT" not in listed
        rows = {row["id"]: row for row in (await one.client.get("/models")).json()["models"]}
        assert rows["gpt:1"]["name"] == "gpt"


async def test_what_was_registered_and_changed_is_in_force_after_a_restart(tmp_path: Path) -> None:
    async with FakeUpstream() as up, FakeUpstream() as other:
        async with running(config(tmp_path, up, other)) as one:
            await register(one, "gpt", up, tier="deep", priority=9)
            await register(one, "gone", up)
            await set_status(one, "gpt", "testing")
            moved = await call(one, "PATCH", "/api/models/gpt/endpoints/gpt:1", {"url": other.base_url})
            assert moved.status_code == 200, moved.text
            assert (await call(one, "DELETE", "/api/models/gone")).status_code == 200
            before = (await call(one, "GET", "/api/models/gpt")).json()
        async with running(config(tmp_path, up, other)) as one:
            assert (await call(one, "GET", "/api/models/gpt")).json() == before
            assert await endpoint_of(one, "gpt") == "gpt:1"
            assert await endpoint_of(one, "gone") is None
        assert (len(up.requests), len(other.requests)) == (0, 1)


@pytest.mark.parametrize(
    ("status", "by_name", "in_tier", "warned"),
    [
        ("active", True, True, False),
        ("canary", True, False, False),
        ("testing", True, False, False),
        ("deprecated", True, False, True),
        ("inactive", False, False, False),
    ],
)
async def test_a_status_holds_for_the_next_request(
    status: str, by_name: bool, in_tier: bool, warned: bool, tmp_path: Path
) -> None:
    async with FakeUpstream() as up, running(config(tmp_path, up)) as one:
        await register(one, "gpt", up, tier="deep", priority=9)
        assert await endpoint_of(one, "deep") == "gpt:1"
        await set_status(one, "gpt", status)
        answer = await one.chat("gpt")
        assert (answer.status_code == 200) is by_name
        assert (WARNING in answer.headers) is warned
        assert (one.application.gateway.snapshot.table.named("gpt") != ()) is by_name
        deep = one.application.gateway.snapshot.table.pool("deep")  # type: ignore[arg-type]
        assert ("gpt:1" in [each.id for each in deep.endpoints]) is in_tier


async def test_a_model_that_makes_no_chat_takes_no_part_in_its_tier(tmp_path: Path) -> None:
    async with FakeUpstream() as up, running(config(tmp_path, up)) as one:
        made = await register(one, "vectors", up, tier="deep", priority=9, modelType="embedding")
        assert len(made["warnings"]) == 1
        assert "vectors:1" not in [each.id for each in one.application.gateway.snapshot.table.pool("deep").endpoints]  # type: ignore[arg-type]
        assert await endpoint_of(one, "vectors") == "vectors:1"


@pytest.mark.parametrize("change", ["removed", "moved"])
async def test_a_request_under_way_ends_where_it_began_whatever_becomes_of_its_model(
    change: str, tmp_path: Path
) -> None:
    async with FakeUpstream() as up, FakeUpstream() as other, running(config(tmp_path, up, other)) as one:
        await register(one, "gpt", up)
        arrived, answered = asyncio.Event(), asyncio.Event()

        def late(request: Recorded) -> Iterable[Step]:
            arrived.set()
            return turns.hold(turns.json_answer("late"), answered)(request)

        up.enqueue(late)
        asked = asyncio.create_task(one.chat("gpt"))
        await arrived.wait()
        if change == "removed":
            assert (await call(one, "DELETE", "/api/models/gpt")).status_code == 200
        else:
            moved = await call(one, "PATCH", "/api/models/gpt/endpoints/gpt:1", {"url": other.base_url})
            assert moved.status_code == 200
        assert (await one.chat("gpt")).status_code == (404 if change == "removed" else 200)
        answered.set()
        answer = await asked
        assert (answer.status_code, answer.json()["choices"][0]["message"]["content"]) == (200, "late")
        assert (len(up.requests), len(other.requests)) == (1, 0 if change == "removed" else 1)


async def test_no_request_fails_while_models_come_and_go(tmp_path: Path) -> None:
    async with FakeUpstream() as up, running(config(tmp_path, up)) as one:
        for model in ("gpt", "stays"):
            await register(one, model, up, tier="deep", priority=9)
        over = False

        async def ask() -> list[int]:
            statuses = []
            while not over:
                statuses += [(await one.chat(model)).status_code for model in ("gpt", "deep")]
            return statuses

        asking = [asyncio.create_task(ask()) for _ in range(4)]
        for number in range(10):
            await register(one, f"other-{number}", up, tier="deep", priority=9)
            await set_status(one, "gpt", ("testing", "active")[number % 2])
            if number % 3 == 0:
                assert (await call(one, "DELETE", f"/api/models/other-{number}")).status_code == 200
        over = True
        found = [status for statuses in await asyncio.gather(*asking) for status in statuses]
    assert set(found) == {200}
    assert len(found) > 20


async def test_what_the_file_names_wins_over_what_was_registered_as_long_as_it_names_it(tmp_path: Path) -> None:
    async with FakeUpstream() as up, FakeUpstream() as own, running(config(tmp_path, up, own)) as one:
        await register(one, "gpt", up)
        before = one.config
        named = f'[[models.fast]]\nname = "gpt"\nbase_url = "{own.base_url}"\n'
        one.config = parse_config(named + config(tmp_path, up, own))
        await one.application.reload()
        assert await endpoint_of(one, "gpt") == "fast/gpt#1"
        told = [each for each in (await call(one, "GET", "/api/models")).json()["models"] if each["id"] == "gpt"]
        assert [(each["source"], len(each["warnings"])) for each in told] == [("config", 0), ("api", 1)]
        assert (await call(one, "DELETE", "/api/models/gpt")).status_code == 409
        one.config = before
        await one.application.reload()
        assert await endpoint_of(one, "gpt") == "gpt:1"


async def test_at_a_gateway_without_keys_whoever_asks_may_do_all(tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        wide = {"url": "http://10.1.0.5:8000/v1", "allowNetworks": ["10.1.0.0/16"]}
        body = {"id": "gpt", "name": "GPT", "provider": "custom", "endpoints": [wide]}
        assert (await call(one, "POST", "/api/models", body)).status_code == 201


async def test_backups_answer_when_no_other_can(tmp_path: Path) -> None:
    async with FakeUpstream() as first, FakeUpstream() as spare, running(config(tmp_path, first, spare)) as one:
        await register(one, "gpt", first)
        backup = {"url": spare.base_url, "type": "backup", "id": "spare"}
        assert (await call(one, "POST", "/api/models/gpt/endpoints", backup)).status_code == 201
        assert [await endpoint_of(one, "gpt") for _ in range(5)] == ["gpt:1"] * 5
        first.enqueue(turns.status(503))
        assert await endpoint_of(one, "gpt") == "spare"


async def test_a_breaker_survives_a_change_of_another_model_and_of_its_own_but_not_a_new_url(tmp_path: Path) -> None:
    async with FakeUpstream() as up, FakeUpstream() as other:
        text = config(tmp_path, up, other)
        text = text.replace("[retry]\n", "[breaker]\nfailure_threshold = 2\n[retry]\nmax_attempts = 1\n")
        async with running(text) as one:
            await register(one, "gpt", up)
            up.always(turns.status(500))
            for _ in range(2):
                assert (await one.chat("gpt")).status_code == 502

            def state() -> BreakerState:
                gateway = one.application.gateway
                return gateway.snapshot.table.by_id["gpt:1"].breaker.state(gateway.monotonic())

            assert state() is BreakerState.OPEN
            await register(one, "other", other)
            await set_status(one, "gpt", "testing")
            assert state() is BreakerState.OPEN
            told = (await call(one, "GET", "/api/models/gpt/endpoints")).json()["endpoints"]
            assert [(each["available"], each["outBecause"], each["breaker"]) for each in told] == [
                (False, "breaker", "open")
            ]
            moved = await call(one, "PATCH", "/api/models/gpt/endpoints/gpt:1", {"url": other.base_url})
            assert moved.status_code == 200
            assert state() is BreakerState.CLOSED


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://0x7f.1/v1",
        "http://[::ffff:169.254.169.254]/v1",
        "http://10.0.0.1:8000/v1",
        "http://user:secret@example.test/v1",
        "file:///etc/passwd",
        "http://127.0.0.1:6379/v1",
    ],
)
async def test_a_url_that_leads_where_no_model_may_be_is_refused_and_not_repeated(url: str, tmp_path: Path) -> None:
    async with running(config(tmp_path)) as one:
        body = {"id": "gpt", "name": "GPT", "provider": "custom", "endpoints": [{"url": url}]}
        answer = await call(one, "POST", "/api/models", body)
        assert (answer.status_code, answer.json()["details"]) == (400, {"field": "endpoints[0].url"})
        assert url not in answer.text
        assert "secret" not in answer.text
        assert (await call(one, "GET", "/api/models?source=api")).json() == {"models": [], "count": 0}


async def test_without_storage_the_registry_says_what_to_configure(tmp_path: Path) -> None:
    async with running(httpx_config('[storage]\nurl = "none"\n')) as one:
        for method, path, body in (
            ("GET", "/api/models", None),
            ("GET", "/api/models/fast-model", None),
            ("POST", "/api/models", {"name": "x", "provider": "openai"}),
            ("GET", "/api/models/fast-model/endpoints", None),
        ):
            answer = await call(one, method, path, body)
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_off"), path
