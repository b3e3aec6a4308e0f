"""`/api/experiments` over a real database, asked through the guard as by a client."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.experiment import ArmStrategy, Experiment
from octoroute_py.core.registry import Kind
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import RoutingRule, RuleTarget
from octoroute_py.core.words import Role
from octoroute_py.edge.api.experiments import ExperimentRoutes
from octoroute_py.edge.asgi import Table, build_app
from octoroute_py.manage.experiments import MOST_EXPERIMENTS, Experiments
from octoroute_py.manage.store import Store
from octoroute_py.storage import exposures
from tests.fakes.application import httpx_config, running
from tests.fakes.journal_rows import entry, keep
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.registry import DAY, Shelf, shelf

OPERATOR, VIEWER, BOUND = "operator", "viewer", "bound"
KEYS = {
    OPERATOR: holder(Role.OPERATOR, key_id="key_op"),
    VIEWER: holder(Role.VIEWER),
    BOUND: holder(Role.ADMIN, workspaces=("red",)),
}
TONE: dict[str, Any] = {"name": "Tone", "arms": [{"name": "usual"}, {"name": "deep", "tier": "deep"}]}
MOVES = ("start", "pause", "resume", "stop")


class Api:
    def __init__(self, client: httpx.AsyncClient, kept: Shelf) -> None:
        self.client = client
        self.kept = kept

    async def ask(
        self, method: str, path: str = "", body: object = None, *, key: str = OPERATOR, etag: str | None = None
    ) -> httpx.Response:
        content = None if body is None else msgspec.json.encode(body)
        headers = shown(key) | ({} if etag is None else {"if-match": etag})
        return await self.client.request(method, f"/api/experiments{path}", content=content, headers=headers)

    async def make(self, **fields: Any) -> dict[str, Any]:
        answer = await self.ask("POST", body=TONE | fields)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def refused(self, **fields: Any) -> tuple[int, str, str | None]:
        """What is said of an experiment that cannot be made: status, code, and the field to blame."""
        answer = await self.ask("POST", body=TONE | fields)
        told = answer.json()
        return answer.status_code, told["code"], told.get("details", {}).get("field")

    async def moved(self, move: str, *, id_: str = "tone") -> httpx.Response:
        return await self.ask("POST", f"/{id_}/{move}")

    def in_force(self, id_: str = "tone") -> Experiment:
        return self.kept.registry().experiments[id_]


def blamed(rule: RoutingRule) -> list[tuple[str, str]]:
    """A check that knows what may be wrong with a name, with conditions, and with targets, which nobody gave."""
    length = rule.conditions.content_length
    found = [("targets", "Whatever is wrong with these is nobody's fault.")]
    if not rule.name.strip():
        found.append(("name", "It has no name."))
    if length is not None and length.min is not None and length.max is not None and length.min > length.max:
        found.append(("conditions.contentLength.min", "It is above max."))
    return found


def unusable(strategy: ArmStrategy) -> str | None:
    return None if strategy is ArmStrategy.RULE else "No scorer is loaded here."


@contextlib.asynccontextmanager
async def api(folder: Path, *, most: int = MOST_EXPERIMENTS) -> AsyncIterator[Api]:
    with shelf(folder) as kept:
        async with running(httpx_config()) as one:
            gateway = one.application.gateway
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            table = Table(gateway)
            experiments = Experiments(
                kept.documents,
                Store(kept.database),
                wall=lambda: kept.now,
                endpoints=lambda: gateway.config.endpoints,
                registry=kept.registry,
                problems=blamed,
                unusable=unusable,
                most=most,
            )
            ExperimentRoutes(experiments).add_to(table)
            app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield Api(client, kept)


async def test_an_experiment_is_made_as_a_draft_and_read_with_its_etag(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        made = await it.ask("POST", body={"id": "tone", **TONE, "metric": "latency"})
        read = await it.ask("GET", "/tone", key=VIEWER)
    assert made.status_code == 201
    assert made.json() == read.json()
    assert made.headers["etag"] == read.headers["etag"]
    told = made.json()
    assert {name: value for name, value in told.items() if name not in ("arms", "conditions")} == {
        "id": "tone",
        "name": "Tone",
        "description": "",
        "metric": "latency",
        "alpha": 0.05,
        "status": "draft",
        "startedAt": None,
        "stoppedAt": None,
        "createdAt": "2027-01-15T08:00:00.000Z",
        "updatedAt": "2027-01-15T08:00:00.000Z",
    }
    assert told["arms"][1] == {
        "name": "deep",
        "weight": 1.0,
        "tier": "deep",
        "modelId": None,
        "strategy": None,
        "ruleSet": None,
    }
    assert set(told["conditions"].values()) == {None}


async def test_an_experiment_without_an_id_gets_one_of_its_own(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        assert len({(await it.make())["id"] for _ in range(3)}) == 3


async def test_an_id_can_be_taken_once_and_may_be_that_of_a_canary_deployment(tmp_path: Path) -> None:
    canary = CanaryDeployment(id="next", name="n", production_model_id="small", canary_model_id="large")
    async with api(tmp_path) as it:
        await it.kept.put(Kind.CANARY, "next", canary)
        await it.make(id="tone")
        assert await it.refused(id="tone") == (409, "already_exists", None)
        assert (await it.make(id="next"))["id"] == "next"


async def test_there_are_no_more_than_can_be_kept(tmp_path: Path) -> None:
    async with api(tmp_path, most=2) as it:
        await it.make()
        await it.make()
        assert await it.refused() == (409, "limit_reached", None)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"arms": [{"name": "only"}]}, "arms"),
        ({"arms": [{"name": "a"}, {"name": "a"}]}, "arms[1].name"),
        ({"arms": [{"name": "a"}, {"name": "b:c"}]}, "arms[1].name"),
        ({"arms": [{"name": "a"}, {"name": "b~"}]}, "arms[1].name"),
        ({"arms": [{"name": "a"}, {"name": "b", "weight": 0}]}, "arms[1].weight"),
        ({"arms": [{"name": "a"}, {"name": "b", "tier": "deep", "strategy": "rule"}]}, "arms[1]"),
        ({"arms": [{"name": "a"}, {"name": "b", "modelId": "ghost"}]}, "arms[1].modelId"),
        ({"arms": [{"name": "a"}, {"name": "b", "strategy": "guess"}]}, "arms[1].strategy"),
        ({"conditions": {"contentLength": {"min": 5, "max": 1}}}, "conditions.contentLength.min"),
        ({"conditions": {"colour": "red"}}, "conditions.colour"),
        ({"metric": "beauty"}, "metric"),
        ({"alpha": 0}, "alpha"),
        ({"name": " "}, "name"),
        ({"status": "running"}, "status"),
        ({"startedMs": 1}, "startedMs"),
        ({"id": "a/b"}, "id"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_the_field_to_blame(
    tmp_path: Path, fields: dict[str, Any], field: str
) -> None:
    async with api(tmp_path) as it:
        assert await it.refused(**fields) == (400, "invalid_request_error", field)
        assert (await it.ask("GET")).json() == {"experiments": [], "count": 0}


async def test_arms_may_name_tiers_configured_endpoints_and_registered_models(tmp_path: Path) -> None:
    names = ["Deep", "fast/fast-model#1", "fast-model", "gpt"]
    async with api(tmp_path) as it:
        await it.kept.model("gpt", status=ModelStatus.TESTING)
        made = await it.make(arms=[{"name": f"a{at}", "modelId": name} for at, name in enumerate(names)])
    assert [arm["modelId"] for arm in made["arms"]] == ["deep", "fast/fast-model#1", "fast-model", "gpt"]
    assert "warnings" not in made


async def test_a_strategy_that_cannot_be_used_here_is_refused(tmp_path: Path) -> None:
    arms = [{"name": "usual", "strategy": "rule"}, {"name": "scored", "strategy": "neural"}]
    async with api(tmp_path) as it:
        assert await it.refused(arms=arms) == (409, "conflict", "arms[1].strategy")


async def test_what_will_not_work_as_things_are_is_warned_of(tmp_path: Path) -> None:
    arms = [{"name": "usual", "modelId": "gpt"}, {"name": "vip", "ruleSet": "vip"}]
    async with api(tmp_path) as it:
        await it.kept.model("gpt", status=ModelStatus.INACTIVE)
        made = await it.make(arms=arms)
    assert [warning.partition(":")[0] for warning in made["warnings"]] == [
        "'gpt' is inactive",
        "No rule is of the set 'vip'",
    ]


async def test_a_life_is_told_by_its_states_and_times(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="tone")
        states = []
        for at, move in enumerate(MOVES):
            it.kept.now = DAY + 60 * at
            answer = await it.moved(move)
            told = answer.json()
            states.append((answer.status_code, told["status"], told["startedAt"], told["stoppedAt"]))
            assert it.in_force().status == told["status"]
        audited = [row.action for row in it.kept.audited()]
    began, ended = "2027-01-15T08:00:00.000Z", "2027-01-15T08:03:00.000Z"
    assert states == [
        (200, "running", began, None),
        (200, "paused", began, None),
        (200, "running", began, None),
        (200, "stopped", began, ended),
    ]
    assert audited[::-1] == ["experiment.create", *(f"experiment.{move}" for move in MOVES)]


@pytest.mark.parametrize(
    ("before", "allowed"),
    [
        ((), {"start"}),
        (("start",), {"pause", "stop"}),
        (("start", "pause"), {"resume", "stop"}),
        (("start", "stop"), set()),
    ],
)
async def test_every_other_move_is_a_conflict(tmp_path: Path, before: tuple[str, ...], allowed: set[str]) -> None:
    async with api(tmp_path) as it:
        for move in MOVES:
            id_ = f"to-{move}"
            await it.make(id=id_)
            for one in before:
                await it.moved(one, id_=id_)
            answer = await it.moved(move, id_=id_)
            assert answer.status_code == (200 if move in allowed else 409), answer.text
            if move not in allowed:
                assert answer.json()["code"] == "conflict"


async def test_what_could_decide_nothing_is_not_started(tmp_path: Path) -> None:
    vip = RoutingRule(id="r", name="r", targets=(RuleTarget(model_id="fast"),), rule_set="vip")
    async with api(tmp_path) as it:
        await it.make(id="sets", arms=[{"name": "usual"}, {"name": "vip", "ruleSet": "vip"}])
        await it.kept.model("gpt")
        await it.make(id="models", arms=[{"name": "usual"}, {"name": "gpt", "modelId": "gpt"}])
        await it.kept.documents.change(lambda desk: desk.remove(Kind.MODEL, "gpt", action="x"), by="test")
        assert (await it.moved("start", id_="sets")).status_code == 409
        assert (await it.moved("start", id_="models")).status_code == 409
        await it.kept.put(Kind.RULE, "r", msgspec.structs.replace(vip, enabled=False))
        assert (await it.moved("start", id_="sets")).status_code == 409
        await it.kept.put(Kind.RULE, "r", vip)
        assert (await it.moved("start", id_="sets")).status_code == 200


async def test_only_drafts_are_changed(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="tone", description="old", conditions={"agentType": ["coder"]})
        changed = await it.ask("PATCH", "/tone", {"description": None, "metric": "cost", "conditions": None})
        wrong = await it.ask("PATCH", "/tone", {"arms": [{"name": "a"}]})
        await it.moved("start")
        late = await it.ask("PATCH", "/tone", {"metric": "latency"})
    told = changed.json()
    assert (told["description"], told["metric"], set(told["conditions"].values())) == ("", "cost", {None})
    assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "arms"})
    assert (late.status_code, late.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize("name", ["id", "status", "createdAt", "startedAt", "startedMs", "stoppedMs"])
async def test_a_patch_cannot_say_how_far_an_experiment_is(tmp_path: Path, name: str) -> None:
    async with api(tmp_path) as it:
        await it.make(id="tone")
        answer = await it.ask("PATCH", "/tone", {name: "running"})
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": name})


async def test_what_was_changed_meanwhile_is_not_changed_again(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        etag = (await it.ask("POST", body={"id": "tone", **TONE})).headers["etag"]
        newer = (await it.ask("PATCH", "/tone", {"metric": "cost"}, etag=etag)).headers["etag"]
        for method, path, body in (
            ("PATCH", "", {"metric": "latency"}),
            ("POST", "/start", None),
            ("DELETE", "", None),
        ):
            answer = await it.ask(method, f"/tone{path}", body, etag=etag)
            assert (answer.status_code, answer.json()["code"]) == (412, "precondition_failed")
        assert (await it.ask("POST", "/tone/start", etag=newer)).status_code == 200


async def test_an_experiment_is_forgotten_unless_it_runs(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="tone")
        await it.moved("start")
        refused = await it.ask("DELETE", "/tone")
        await it.moved("stop")
        removed = await it.ask("DELETE", "/tone")
        gone = await it.ask("GET", "/tone")
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert removed.json() == {"success": True, "experimentId": "tone"}
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


async def test_experiments_are_listed_by_age_and_by_status(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for id_ in ("b", "a", "c"):
            await it.make(id=id_)
        await it.moved("start", id_="a")
        every, started = (await it.ask("GET")).json(), (await it.ask("GET", "?status=running")).json()
        wrong = await it.ask("GET", "?status=done")
    assert ([each["id"] for each in every["experiments"]], every["count"]) == (["b", "a", "c"], 3)
    assert ([each["id"] for each in started["experiments"]], started["count"]) == (["a"], 1)
    assert (wrong.status_code, wrong.json()["details"]) == (400, {"field": "status"})


async def test_results_are_read_while_it_runs_and_after_it_was_stopped(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="tone")
        draft = (await it.ask("GET", "/tone/results")).json()
        it.kept.now = 1_789_999_000.0  # before the rows began
        await it.moved("start")
        keep(
            it.kept.database,
            [
                entry(
                    number,
                    arms=("tone:usual", "tone:deep")[number % 2],
                    caller=None if number % 2 else f"user-{number % 50}",
                    error_code="upstream_error" if number % 6 == 1 else None,
                    status=502 if number % 6 == 1 else 200,
                )
                for number in range(600)
            ],
        )
        running_ = (await it.ask("GET", "/tone/results", key=VIEWER)).json()
        await it.moved("stop")
        stopped = (await it.ask("GET", "/tone/results")).json()
    assert draft["notes"] == ["No request has taken part yet."]
    assert (running_["status"], stopped["status"]) == ("running", "stopped")
    assert running_["arms"] == stopped["arms"]
    usual, deep = stopped["arms"]
    assert (usual["requests"], usual["failures"], usual["value"]) == (300, 0, 1.0)
    assert (deep["requests"], deep["failures"], deep["perRequest"]) == (300, 100, 300)
    (one,) = stopped["comparisons"]
    assert one["effect"] == pytest.approx(-1 / 3)
    assert one["anytime"]["verdict"] == "worse"
    assert set(one) == {"arm", "control", "effect", "relativeEffect", "interval", "pValue", "test", "anytime"}
    assert set(one["anytime"]) == {"verdict", "eValue", "threshold", "interval"}


async def test_a_look_that_takes_too_long_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exposures.tallies, "__kwdefaults__", {"within_s": 0.0})
    async with api(tmp_path) as it:
        await it.make(id="tone")
        it.kept.now = 1_789_999_000.0
        await it.moved("start")
        keep(it.kept.database, [entry(number, arms="tone:usual") for number in range(5000)])
        answer = await it.ask("GET", "/tone/results")
    assert (answer.status_code, answer.json()["code"]) == (503, "too_much")


@pytest.mark.parametrize("path", ["/ghost", "/ghost/results"])
async def test_unknown_ones_are_not_found(tmp_path: Path, path: str) -> None:
    async with api(tmp_path) as it:
        answers = [await it.ask("GET", path)]
        if path == "/ghost":
            answers += [await it.ask("PATCH", path, {}), await it.ask("DELETE", path)]
            answers += [await it.ask("POST", f"{path}/{move}") for move in MOVES]
    assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "not_found")}


async def test_viewers_only_read_and_bound_keys_have_no_part(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="tone")
        assert (await it.ask("GET", "/tone", key=VIEWER)).status_code == 200
        for method, path in (("POST", ""), ("PATCH", "/tone"), ("DELETE", "/tone"), ("POST", "/tone/start")):
            assert (await it.ask(method, path, {}, key=VIEWER)).status_code == 403
        for path in ("", "/tone", "/tone/results"):
            assert (await it.ask("GET", path, key=BOUND)).status_code == 403
