"""Settings over the API lie over the file: for now or for good, whole or not at all."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.registry import Kind
from octoroute_py.core.settings import Settings
from octoroute_py.core.words import BreakerState
from octoroute_py.edge.admin.config import shown_settings
from octoroute_py.storage.db import Database
from octoroute_py.storage.registry import SETTINGS_ID, Change
from octoroute_py.storage.registry import put as put_document
from tests.fakes.application import Running, httpx_config, running, upstreams
from tests.fakes.bodies import chat_body
from tests.fakes.endpoints import trip
from tests.fakes.waiting import until

JSON = {"content-type": "application/json"}
FILE = httpx_config('default_tier = "fast"')
FAST, DEEP = "fast/fast-model#1", "deep/deep-model#1"


async def put(one: Running, status: int = 200, **values: Any) -> dict[str, Any]:
    answer = await one.client.put("/admin/config", json=values)
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    assert body["success"] is (status == 200)
    return body


async def shown(one: Running) -> dict[str, Any]:
    answer = await one.client.get("/admin/config")
    assert answer.status_code == 200
    body: dict[str, Any] = answer.json()
    return body


async def reload(one: Running, toml: str = FILE, *, what: str = "both", status: int = 200) -> dict[str, Any]:
    one.config = parse_config(toml)
    answer = await one.client.post("/admin/reload", json={"what": what})
    assert answer.status_code == status, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def tier(one: Running) -> str:
    with upstreams() as mock:
        mock.post(path="/v1/chat/completions").respond(content=chat_body("hi"), headers=JSON)
        answer = await one.client.post(
            "/v1/chat/completions",
            json={"model": "auto", "messages": [{"role": "user", "content": "xyzzy " * 2100}]},
        )
    return str(answer.headers["x-octoroute-tier"])


def stored(folder: Path, toml: str = FILE) -> str:
    return toml + f'[storage]\nurl = "sqlite:///{folder / "x.db"}"\n'


async def test_what_is_in_force_is_shown_with_where_it_comes_from() -> None:
    async with running(FILE) as one:
        found = await shown(one)
        assert found["sources"] == dict.fromkeys(found["sources"], "file")
        assert {name: found[name] for name in found if name not in ("sources", "weights")} == {
            "model_path": "default",
            "confidence_threshold": None,
            "max_uncertainty": None,
            "enable_circuit_breaker": True,
            "circuit_breaker_threshold": 5,
            "enable_quantization": False,
            "database_path": None,
            "strategy": "rule",
            "default_tier": "fast",
            "tier_fallback": "up",
            "balancer": "weighted",
            "max_quality_loss": 0.05,
            "generation": 1,
            "weight_sources": {},
            "needs_artifact": ["neural", "hybrid"],
        }
        assert found["weights"] == {FAST: 1.0, "balanced/balanced-model#1": 1.0, DEEP: 1.0}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("sqlite:///octoroute.db", "sqlite:///octoroute.db"),
        ("postgresql+psycopg://me:secret@db.test:5432/x?password=secret", "postgresql+psycopg://me:***@db.test:5432/x"),
        ("postgresql+psycopg://db.test/x", "postgresql+psycopg://db.test/x"),
    ],
)
def test_the_database_is_told_without_its_password(url: str, told: str) -> None:
    assert shown_settings(parse_config(FILE, env={"DATABASE_URL": url})).database_path == told


async def test_a_setting_is_in_force_for_the_next_request_and_null_takes_it_away() -> None:
    async with running(FILE) as one:
        gateway = one.application.gateway
        trip(gateway.snapshot.table.by_id[DEEP], gateway.monotonic())
        assert await tier(one) == "fast"
        changed = await put(one, default_tier="balanced", balancer="weighted", weights={FAST: 3})
        assert changed == {
            "success": True,
            "message": "default_tier, weights changed.",
            "updated_fields": ["default_tier", "weights"],
            "generation": 2,
        }
        assert await tier(one) == "balanced"
        found = await shown(one)
        assert (found["sources"]["default_tier"], found["sources"]["balancer"]) == ("runtime", "runtime")
        assert (found["weights"][FAST], found["weight_sources"]) == (3.0, {FAST: "runtime"})
        assert gateway.snapshot.table.by_id[FAST].config.weight == 3.0
        assert gateway.snapshot.table.by_id[DEEP].breaker.state(gateway.monotonic()) is BreakerState.OPEN
        assert (await put(one, default_tier=None, weights={FAST: None}))["updated_fields"] == [
            "default_tier",
            "weights",
        ]
        assert await tier(one) == "fast"
        assert (await put(one, default_tier="fast"))["updated_fields"] == []


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"confidence_threshold": 2, "default_tier": "deep"}, "confidence_threshold: must be at least 0 and at most 1"),
        ({"default_teir": "deep"}, 'default_teir: is no setting that can be changed; did you mean "default_tier"?'),
        ({"model_path": "x"}, "model_path: cannot be changed here: routing.neural.artifact in the file says it"),
        ({"default_tier": "deep", "persist": 1}, "persist: must be true or false"),
        ({"default_tier": "deep", "persist": True}, "Nothing can be kept here"),
    ],
)
async def test_what_cannot_be_changes_nothing(values: dict[str, Any], told: str) -> None:
    async with running(FILE) as one:
        snapshot = one.application.gateway.snapshot
        status = 409 if values.get("persist") is True else 400
        refused = await put(one, status, **values)
        assert refused["message"].startswith(told)
        assert refused["updated_fields"] == []
        assert one.application.gateway.snapshot is snapshot
        assert (await one.client.put("/admin/config", content=b"{")).status_code == 400


async def test_a_strategy_that_needs_an_artifact_loads_it_first_or_is_refused() -> None:
    async with running(FILE) as one:
        assert (await put(one, strategy="neural"))["updated_fields"] == ["strategy"]
        assert one.application.gateway.snapshot.router.ready
        found = await shown(one)
        assert (found["needs_artifact"], found["enable_quantization"]) == ([], True)
        first = one.application.gateway.snapshot.router.neural
        await put(one, max_quality_loss=0.5)
        again = one.application.gateway.snapshot.router.neural
        assert first is not None
        assert again is not None
        assert again.ready
        assert again._scorer is first._scorer
    missing = httpx_config('[routing.neural]\nartifact = "none.safetensors"\n')
    async with running(missing) as one:
        snapshot = one.application.gateway.snapshot
        assert "none.safetensors: no such file" in (await put(one, 400, strategy="hybrid"))["message"]
        assert one.application.gateway.snapshot is snapshot


async def test_a_reload_ends_what_was_set_for_now_and_says_so() -> None:
    async with running(FILE) as one:
        await put(one, default_tier="deep", weights={FAST: 2})
        told = await reload(one, what="config")
        assert told["dropped"] == ["default_tier", f'weights["{FAST}"]']
        assert (await tier(one), (await shown(one))["weights"][FAST]) == ("fast", 1.0)


async def test_what_is_kept_survives_reloads_and_restarts_until_it_is_taken_away(tmp_path: Path) -> None:
    file = stored(tmp_path)
    async with running(file) as one:
        await put(one, default_tier="deep")
        await put(one, default_tier="balanced", weights={FAST: 4}, persist=True)
        assert await tier(one) == "balanced"  # not hidden by what was set before
        told = await reload(one, file.replace('default_tier = "fast"', 'default_tier = "deep"'))
        assert (told["config"]["changed"], told["overridden"], told["dropped"]) == (
            ["routing.default_tier"],
            ["default_tier"],
            [],
        )
        assert await tier(one) == "balanced"
        assert "Kept in the database" in (await put(one, default_tier=None))["message"]
    async with running(file) as one:
        found = await shown(one)
        assert (found["default_tier"], found["sources"]["default_tier"]) == ("balanced", "persisted")
        assert (found["weights"][FAST], found["weight_sources"]) == (4.0, {FAST: "persisted"})
        assert await tier(one) == "balanced"
        await put(one, default_tier=None, weights=None, persist=True)
        assert await tier(one) == "fast"
        audit = (await one.client.get("/api/audit")).json()
        actions = [each["action"] for each in audit["entries"]]
        assert [each for each in actions if each.startswith("settings.")] == ["settings.forget", "settings.set"]
    async with running(file) as one:
        assert (await shown(one))["sources"]["default_tier"] == "file"


async def test_what_another_process_keeps_is_followed_even_if_it_needs_a_scorer(tmp_path: Path) -> None:
    file = stored(tmp_path)
    settings = Settings(default_tier="deep", strategy="neural")
    change = Change(at_ms=1, actor="somebody", action="settings.set")
    async with running(file) as one:
        database = Database.open(f"sqlite:///{tmp_path / 'x.db'}", base_dir=tmp_path)
        database.submit(lambda connection: put_document(connection, Kind.SETTINGS, SETTINGS_ID, settings, by=change))
        database.close()

        async def followed() -> bool:
            return bool((await shown(one))["strategy"] == "neural")

        await until(followed, 20)
        assert one.application.gateway.snapshot.router.ready
        assert (await shown(one))["sources"]["default_tier"] == "persisted"
    async with running(file) as again:
        assert (await shown(again))["strategy"] == "neural"
        await again.application.prepared()
        assert again.application.gateway.snapshot.router.ready


async def test_an_artifact_alone_is_read_again_and_what_was_set_stays() -> None:
    neural = FILE.replace('"rule"', '"neural"')
    async with running(neural) as one:
        await put(one, default_tier="deep")
        before = one.application.gateway.snapshot.router.neural
        told = await reload(one, FILE, what="artifact")
        after = one.application.gateway.snapshot.router.neural
        assert before is not None
        assert after is not None
        assert after._scorer is not before._scorer
        assert (told["artifact"]["name"], told["artifact"]["changed"]) == ("default", False)
        assert len(told["artifact"]["sha256"]) == 64
        assert (await shown(one))["default_tier"] == "deep"
    async with running(FILE) as one:
        refused = await reload(one, FILE, what="artifact", status=400)
        assert refused == {"success": False, "message": "the strategy 'rule' uses no artifact"}


@pytest.mark.parametrize("body", ['{"what": "all"}', '{"what": 1}', '{"waht": "config"}', "[]", "{"])
async def test_a_reload_of_something_unknown_is_refused(body: str) -> None:
    async with running(FILE) as one:
        answer = await one.client.post("/admin/reload", content=body)
        assert (answer.status_code, answer.json()["success"]) == (400, False)
        assert (await one.client.post("/admin/reload?what=nothing")).status_code == 400
        assert (await one.client.post("/admin/reload?what=config", json={"what": "artifact"})).status_code == 400
        assert (await shown(one))["generation"] == 1


async def test_what_is_fixed_is_told_until_the_restart_and_not_only_once() -> None:
    async with running(FILE) as one:
        moved = FILE + "[server]\nport = 3999\n"
        assert (await reload(one, moved))["needs_restart"] == ["server"]
        assert (await reload(one, moved))["needs_restart"] == ["server"]
        assert (await reload(one, FILE))["needs_restart"] == []


async def test_reloads_and_settings_at_once_come_one_after_the_other() -> None:
    async with running(FILE) as one:
        tasks: list[asyncio.Task[httpx.Response]] = []
        for number in range(12):
            tasks.append(asyncio.create_task(one.client.put("/admin/config", json={"weights": {FAST: number + 2}})))
            tasks.append(asyncio.create_task(one.client.post("/admin/reload")))
        answers = await asyncio.gather(*tasks)
        assert {each.status_code for each in answers} == {200}
        generations = [each.json()["generation"] for each in answers[1::2]]
        assert len(set(generations)) == 12
        assert (await shown(one))["generation"] == max(each.json()["generation"] for each in answers)


async def test_a_file_that_cannot_be_read_leaves_settings_in_force() -> None:
    async with running(FILE) as one:
        await put(one, default_tier="deep")
        one.config = ConfigError("config.toml:1: no")
        assert (await one.client.post("/admin/reload")).status_code == 400
        assert await tier(one) == "deep"
