"""`/api/routing/rules` over a real database, asked through the guard as by a client."""

import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.rules import RoutingRule
from octoroute_py.core.words import Role
from octoroute_py.edge.api.rules import RuleRoutes
from octoroute_py.edge.asgi import Table, build_app
from octoroute_py.manage.rules import MOST_RULES, Rules
from octoroute_py.routing.rule_problems import problems
from octoroute_py.routing.rules import BUILT_IN
from tests.fakes.application import httpx_config, running
from tests.fakes.keyed import Keyed, holder, shown
from tests.fakes.registry import Shelf, shelf
from tests.fakes.repository import ROOT

OPERATOR, VIEWER, BOUND = "operator", "viewer", "bound"
KEYS = {
    OPERATOR: holder(Role.OPERATOR, key_id="key_op"),
    VIEWER: holder(Role.VIEWER),
    BOUND: holder(Role.ADMIN, workspaces=("red",)),
}
FILE = """
[[routing.rules]]
name = "night"
priority = 5
when.hours = ["22:00-06:00"]
when.timezone = "Europe/Berlin"
when.header = { "X-Team" = "red" }
tier = "fast"
[[routing.rules]]
name = "big/rule"
priority = 50
when.min_tokens = 100
when.model = ["a*"]
when.hours = ["08:00-12:00", "13:00-24:00"]
tier = "deep"
[[routing.rules]]
name = "off"
enabled = false
tier = "deep"
"""
DOCUMENTED = [
    each.encode() for each in re.findall(r"```json\n(.*?)```", (ROOT / "docs/registry.md").read_text(), re.DOTALL)
]
RULE: dict[str, Any] = {"name": "r", "targets": [{"modelId": "fast"}]}


class Api:
    def __init__(self, client: httpx.AsyncClient, kept: Shelf) -> None:
        self.client = client
        self.kept = kept

    async def ask(
        self, method: str, path: str = "", body: object = None, *, key: str = OPERATOR, etag: str | None = None
    ) -> httpx.Response:
        content = None if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = shown(key) | ({} if etag is None else {"if-match": etag})
        return await self.client.request(method, f"/api/routing/rules{path}", content=content, headers=headers)

    async def make(self, **fields: Any) -> dict[str, Any]:
        answer = await self.ask("POST", body=RULE | fields)
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    async def listed(self, query: str = "") -> list[str]:
        answer = (await self.ask("GET", query)).json()
        assert answer["count"] == len(answer["rules"])
        return [rule["id"] for rule in answer["rules"]]


@contextlib.asynccontextmanager
async def api(folder: Path, *, most: int = MOST_RULES) -> AsyncIterator[Api]:
    with shelf(folder) as kept:
        async with running(httpx_config()) as one:
            gateway = one.application.gateway
            gateway.access = Keyed(KEYS)  # type: ignore[assignment]
            table = Table(gateway)
            written = parse_config(httpx_config(FILE)).routing.rules
            rules = Rules(
                kept.documents,
                written=lambda: written,
                built_in=BUILT_IN,
                endpoints=lambda: gateway.config.endpoints,
                registry=kept.registry,
                problems=problems,
                most=most,
            )
            RuleRoutes(rules).add_to(table)
            app = build_app(table.routes, cors_origins=(), management_port=None, lifespan=contextlib.nullcontext)
            transport = httpx.ASGITransport(app, raise_app_exceptions=True)
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield Api(client, kept)


async def test_a_rule_is_made_and_read_with_its_times_and_its_etag(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        made = await it.ask("POST", body={"id": "vip", **RULE, "priority": 7})
        read = await it.ask("GET", "/vip", key=VIEWER)
        in_force = it.kept.registry().rules["vip"]
    assert made.status_code == 201
    assert made.json() == read.json()
    assert made.headers["etag"] == read.headers["etag"]
    assert made.json() == {
        "id": "vip",
        "name": "r",
        "description": "",
        "source": "api",
        "priority": 7,
        "enabled": True,
        "conditions": {
            "agentType": None,
            "workspaceId": None,
            "requestType": None,
            "contentLength": None,
            "timeOfDay": None,
            "userTier": None,
            "customConditions": None,
        },
        "targets": [{"modelId": "fast", "weight": None, "fallbackOrder": None, "maxConcurrentRequests": None}],
        "trafficSplit": None,
        "ruleSet": None,
        "createdAt": "2027-01-15T08:00:00.000Z",
        "updatedAt": "2027-01-15T08:00:00.000Z",
    }
    assert (in_force.priority, in_force.targets[0].model_id) == (7, "fast")


async def test_the_rule_in_the_documents_is_taken_and_told_as_it_stands_there(tmp_path: Path) -> None:
    [block] = [each for each in DOCUMENTED if b"customConditions" in each]
    async with api(tmp_path) as it:
        answer = await it.ask("POST", body=block)
    assert answer.status_code == 201, answer.text
    assert problems(msgspec.json.decode(block, type=RoutingRule)) == []
    written, told = msgspec.json.decode(block), answer.json()
    assert "warnings" not in told
    assert set(written["conditions"]) == set(told["conditions"])
    assert {name: told[name] for name in written if name != "targets"} == {
        name: value for name, value in written.items() if name != "targets"
    }


async def test_a_rule_without_an_id_gets_one_of_its_own(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        ids = {(await it.make())["id"] for _ in range(3)}
    assert len(ids) == 3


async def test_an_id_can_be_taken_once_and_not_from_what_is_not_of_the_api(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="a")
        again = await it.ask("POST", body=RULE | {"id": "a"})
        others = [await it.ask("POST", body=RULE | {"id": each}) for each in ("config:x", "built_in:x")]
    assert (again.status_code, again.json()["code"]) == (409, "already_exists")
    assert [(each.status_code, each.json()["details"]) for each in others] == [(400, {"field": "id"})] * 2


async def test_rules_stand_in_the_order_they_are_asked(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for id_, priority in (("low", -1), ("second", 5), ("third", 5), ("first", 6)):
            await it.make(id=id_, priority=priority)
        order = await it.listed()
    assert order == ["config:big/rule", "first", "config:night", "second", "third", "config:off", "low"]


async def test_the_list_can_be_narrowed(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="on", ruleSet="blue")
        await it.make(id="off", enabled=False)
        assert await it.listed("?enabled=false") == ["config:off", "off"]
        assert await it.listed("?enabled=true&source=api") == ["on"]
        assert await it.listed("?source=config") == ["config:big/rule", "config:night", "config:off"]
        assert await it.listed("?ruleSet=blue") == ["on"]
        assert await it.listed("?ruleSet=green") == []
        assert await it.listed("?source=built_in") == [f"built_in:{rule.name}" for rule in BUILT_IN]


@pytest.mark.parametrize(
    ("asked", "param"), [("?enabled=yes", "enabled"), ("?source=file", "source"), ("?sort=name", "sort")]
)
async def test_an_odd_filter_is_refused_by_its_name(tmp_path: Path, asked: str, param: str) -> None:
    async with api(tmp_path) as it:
        answer = await it.ask("GET", asked)
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": param})


async def test_rules_of_the_file_are_shown_in_the_words_of_the_api_as_far_as_it_has_them(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        night = (await it.ask("GET", "/config:night")).json()
        big = (await it.ask("GET", "/config:big/rule")).json()
    assert night["source"] == "config"
    assert (night["tier"], night["targets"], "when" in night) == ("fast", [], False)
    assert night["conditions"]["timeOfDay"] == {"start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"}
    assert night["conditions"]["customConditions"] == {"headers": {"x-team": "red"}, "metadata": {}}
    assert big["when"] == {
        "minTokens": 100,
        "model": ["a*"],
        "hours": ["08:00-12:00", "13:00-24:00"],
        "timezone": "UTC",
    }
    assert big["conditions"]["timeOfDay"] is None


@pytest.mark.parametrize("id_", ["config:night", "built_in:code"])
async def test_what_is_not_of_the_api_cannot_be_changed_here(tmp_path: Path, id_: str) -> None:
    async with api(tmp_path) as it:
        answers = [await it.ask("PATCH", f"/{id_}", {"priority": 1}), await it.ask("DELETE", f"/{id_}")]
        read = await it.ask("GET", f"/{id_}")
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(409, "read_only")] * 2
    assert read.status_code == 200


@pytest.mark.parametrize("id_", ["none", "config:none", "built_in:none", "%25_", "a%0ab", "'%20OR%201=1--"])
async def test_an_id_that_nothing_has_is_not_found(tmp_path: Path, id_: str) -> None:
    async with api(tmp_path) as it:
        answers = [
            await it.ask("GET", f"/{id_}"),
            await it.ask("PATCH", f"/{id_}", {"priority": 1}),
            await it.ask("DELETE", f"/{id_}"),
        ]
    assert [(each.status_code, each.json()["code"]) for each in answers] == [(404, "not_found")] * 3


async def test_a_patch_changes_what_it_names_and_null_removes(tmp_path: Path) -> None:
    conditions = {"agentType": ["chef"], "contentLength": {"min": 1, "max": 9}}
    async with api(tmp_path) as it:
        made = await it.make(id="a", priority=3, description="old", conditions=conditions)
        it.kept.now += 60
        patch = {
            "conditions": {"contentLength": {"max": None}, "agentType": None},
            "enabled": False,
            "description": None,
        }
        answer = await it.ask("PATCH", "/a", patch)
        kept = it.kept.registry().rules["a"]
    changed = answer.json()
    assert answer.status_code == 200
    assert changed["conditions"]["contentLength"] == {"min": 1, "max": None}
    assert changed["conditions"]["agentType"] is None
    assert (changed["enabled"], changed["description"], changed["priority"]) == (False, "", 3)
    assert (changed["createdAt"], changed["updatedAt"]) == (made["createdAt"], "2027-01-15T08:01:00.000Z")
    assert kept.conditions.content_length is not None
    assert (kept.enabled, kept.conditions.content_length.max, kept.priority) == (False, None, 3)


async def test_a_list_in_a_patch_takes_the_place_of_the_whole_list(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="a", targets=[{"modelId": "fast"}, {"modelId": "deep"}])
        changed = (await it.ask("PATCH", "/a", {"targets": [{"modelId": "balanced", "weight": 2}]})).json()
    assert [(each["modelId"], each["weight"]) for each in changed["targets"]] == [("balanced", 2)]


@pytest.mark.parametrize(
    ("patch", "param"),
    [
        ({"id": "b"}, "id"),
        ({"createdAt": "2027-01-15T08:00:00.000Z"}, "createdAt"),
        ({"source": "config"}, "source"),
        ({"name": None}, "name"),
        ({"targets": None}, "targets"),
        ({"targets": []}, "targets"),
        ({"targets": [{"modelId": "fast", "weigth": 2}]}, "targets[0].weigth"),
        ({"priority": "high"}, "priority"),
        ({"colour": 1}, "colour"),
        ({"conditions": {"agentTypes": ["x"]}}, "conditions.agentTypes"),
        ({"conditions": {"timeOfDay": {"start": "08:00"}}}, "conditions.timeOfDay.end"),
        ({"conditions": {"contentLength": {"min": 5, "max": 4}}}, "conditions.contentLength.min"),
        ({"targets": [{"modelId": "fast"}, {"modelId": "fats"}]}, "targets[1].modelId"),
    ],
)
async def test_a_patch_whose_result_is_no_rule_is_refused_and_changes_nothing(
    tmp_path: Path, patch: dict[str, Any], param: str
) -> None:
    async with api(tmp_path) as it:
        made = await it.make(id="a")
        answer = await it.ask("PATCH", "/a", patch)
        after = (await it.ask("GET", "/a")).json()
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": param}), answer.text
    assert after == made


@pytest.mark.parametrize("body", [b"", b"[]", b"1", b"{", b'{"a":' * 900 + b"1" + b"}" * 900])
async def test_a_patch_that_is_no_object_or_too_deep_is_refused(tmp_path: Path, body: bytes) -> None:
    async with api(tmp_path) as it:
        await it.make(id="a")
        assert (await it.ask("PATCH", "/a", body)).status_code == 400


async def test_who_has_an_old_copy_changes_and_forgets_nothing(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        old = (await it.ask("POST", body={"id": "a", **RULE})).headers["etag"]
        new = (await it.ask("PATCH", "/a", {"priority": 1}, etag=old)).headers["etag"]
        late = [await it.ask("PATCH", "/a", {"priority": 2}, etag=old), await it.ask("DELETE", "/a", etag=old)]
        assert (await it.ask("GET", "/a")).json()["priority"] == 1
        gone = await it.ask("DELETE", "/a", etag=new)
    assert old != new
    assert [(each.status_code, each.json()["code"]) for each in late] == [(412, "precondition_failed")] * 2
    assert gone.json() == {"success": True, "ruleId": "a"}


async def test_a_forgotten_rule_is_gone_and_every_change_is_in_the_audit(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="a")
        await it.ask("PATCH", "/a", {"priority": 1})
        await it.ask("DELETE", "/a")
        assert (await it.ask("GET", "/a")).status_code == 404
        assert it.kept.registry().rules == {}
        rows = it.kept.audited()
    assert [(row.action, row.subject) for row in rows] == [
        ("rule.delete", "a"),
        ("rule.change", "a"),
        ("rule.create", "a"),
    ]
    assert {row.actor for row in rows} == {"operator of the team (key_op)"}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"name": ""}, "name"),
        ({"id": "no spaces"}, "id"),
        ({"id": "a\n"}, "id"),
        ({"priority": 1.5}, "priority"),
        ({"enabled": "yes"}, "enabled"),
        ({"when": {}}, "when"),
        ({"targets": []}, "targets"),
        ({"targets": [{"modelId": "fast"}, {"modelId": "auto"}]}, "targets[1].modelId"),
        ({"targets": [{"modelId": "fast", "weight": -1}]}, "targets[0].weight"),
        ({"trafficSplit": {"primary": 101, "canary": 0}}, "trafficSplit.primary"),
        ({"conditions": {"requestType": ["poem"]}}, "conditions.requestType[0]"),
        ({"conditions": {"agentType": []}}, "conditions.agentType"),
        ({"conditions": {"timeOfDay": {"start": "24:00", "end": "06:00"}}}, "conditions.timeOfDay.start"),
        ({"conditions": {"contentLength": {"min": 5, "max": 4}}}, "conditions.contentLength.min"),
    ],
)
async def test_a_rule_that_makes_no_sense_is_refused_by_the_field_to_blame(
    tmp_path: Path, fields: dict[str, Any], param: str
) -> None:
    async with api(tmp_path) as it:
        answer = await it.ask("POST", body=RULE | fields)
        assert it.kept.registry().rules == {}
    assert (answer.status_code, answer.json()["details"]) == (400, {"field": param}), answer.text


async def test_a_target_that_names_nothing_is_told_what_it_may_have_meant(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.kept.model("llama-70b")
        file = await it.ask("POST", body=RULE | {"targets": [{"modelId": "deep-modl"}]})
        registered = await it.ask("POST", body=RULE | {"targets": [{"modelId": "llama-70"}]})
    assert 'did you mean "deep-model"?' in file.json()["error"]
    assert 'did you mean "llama-70b"?' in registered.json()["error"]


async def test_targets_may_be_tiers_endpoints_of_the_file_and_registered_models(tmp_path: Path) -> None:
    names = ["DEEP", "fast-model", "fast/fast-model#1", "mine"]
    async with api(tmp_path) as it:
        await it.kept.model("mine")
        made = await it.make(targets=[{"modelId": each} for each in names])
    assert [each["modelId"] for each in made["targets"]] == ["deep", *names[1:]]
    assert "warnings" not in made


async def test_targets_that_do_not_serve_now_are_taken_with_a_warning(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        for status in ModelStatus:
            await it.kept.model(status.value, status=status)
        await it.kept.model("bare", endpoint=False)
        made = await it.make(targets=[{"modelId": each} for each in ("bare", *ModelStatus)])
        split = await it.make(
            targets=[{"modelId": "active"}, {"modelId": "canary"}], trafficSplit={"primary": 90, "canary": 10}
        )
        listed = (await it.ask("GET")).json()["rules"]
    assert [text.split()[0] for text in made["warnings"]] == [
        "'bare'",
        "'canary'",
        "'testing'",
        "'deprecated'",
        "'inactive'",
    ]
    assert "warnings" not in split
    assert made in listed


async def test_no_more_rules_are_kept_than_there_are_labels_for(tmp_path: Path) -> None:
    async with api(tmp_path, most=2) as it:
        await it.make(id="a")
        await it.make(id="b")
        answer = await it.ask("POST", body=RULE)
        assert (await it.ask("PATCH", "/b", {"priority": 1})).status_code == 200
    assert (answer.status_code, answer.json()["code"]) == (409, "limit_reached")


async def test_viewers_read_and_bound_keys_do_not_even_that(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="a")
        assert (await it.ask("POST", body=RULE, key=VIEWER)).status_code == 403
        assert (await it.ask("PATCH", "/a", {}, key=VIEWER)).status_code == 403
        assert (await it.ask("DELETE", "/a", key=VIEWER)).status_code == 403
        assert (await it.ask("GET", key=VIEWER)).status_code == 200
        assert (await it.ask("GET", key=BOUND)).status_code == 403


async def test_a_patch_sent_twice_changes_once(tmp_path: Path) -> None:
    async with api(tmp_path) as it:
        await it.make(id="a")
        first = await it.ask("PATCH", "/a", {"priority": 4})
        second = await it.ask("PATCH", "/a", {"priority": 4})
    assert first.headers["etag"] == second.headers["etag"]
    assert first.json() == second.json()


async def test_large_rules_are_kept_as_long_as_there_is_room_and_small_ones_always(tmp_path: Path) -> None:
    large = {"headers": {f"x-{at}": [f"{number}-" + "v" * 90 for number in range(100)] for at in range(20)}}
    async with api(tmp_path) as it:
        for number in range(10):
            await it.make(id=f"r{number}", conditions={"customConditions": large})
        answer = await it.ask("POST", body={**RULE, "conditions": {"customConditions": large}})
        assert (answer.status_code, answer.json()["code"]) == (409, "limit_reached")
        assert (await it.ask("PATCH", "/r8", {"name": "again"})).status_code == 200
        await it.make(id="small")
