"""What rules get to see of a request, and nothing where none of them looks at it."""

from typing import Any

import msgspec
import pytest

from octoroute_py.core.experiment import Arm
from octoroute_py.core.registry import Registry
from octoroute_py.core.rules import Conditions, RoutingRule, RuleTarget
from octoroute_py.edge.api.route import ModelRouter
from octoroute_py.gateway.context import RawHeaders
from octoroute_py.gateway.explaining import explain
from octoroute_py.gateway.snapshot import make_snapshot
from octoroute_py.transport.openai import parse_body
from tests.edge.api.test_route import ASKED
from tests.fakes.governed import experiment
from tests.fakes.stage import Stage


def rule(id_: str, *, rule_set: str | None = None, **conditions: Any) -> RoutingRule:
    """A rule of the API with these conditions, spelled as in a body."""
    asked = msgspec.json.decode(msgspec.json.encode(conditions), type=Conditions)
    return RoutingRule(id=id_, name=id_, conditions=asked, targets=(RuleTarget(model_id="m"),), rule_set=rule_set)


def stage(*rules: RoutingRule) -> Stage:
    one = Stage({tier: [] for tier in ("fast", "balanced", "deep")})
    sets = tuple(Arm(name=each.rule_set, rule_set=each.rule_set) for each in rules if each.rule_set is not None)
    trial = experiment(Arm(name="usual"), *sets)
    registry = Registry(rules={each.id: each for each in rules}, experiments={trial.id: trial} if sets else {})
    one.snapshot = make_snapshot(one.config, one.table, one.snapshot.router, generation=2, registry=registry)
    return one


async def matched(one: Stage, *, headers: RawHeaders | None = None, **body: Any) -> list[str]:
    told = await explain(one.context(headers=headers, model="auto", **body), ask_judge=False)
    return [trial.id for trial in told.rules if trial.matched and trial.source == "api"]


@pytest.mark.parametrize(
    ("conditions", "headers", "body"),
    [
        ({"agentType": ["crawler"]}, [(b"x-octoroute-agent-type", b"crawler")], {}),
        ({"requestType": ["chat"], "workspaceId": ["default"], "contentLength": {"min": 2, "max": 2}}, [], {}),
        ({"userTier": ["gold"]}, [(b"x-octoroute-user-tier", b"gold")], {"metadata": {"userTier": "free"}}),
        ({"userTier": ["gold"]}, [], {"octoroute": {"user_tier": "gold"}}),
        ({"userTier": ["gold"]}, [], {"metadata": {"user_tier": "gold"}}),
        (
            {"customConditions": {"metadata": {"plan": "pro", "seats": 5}}},
            [],
            {"metadata": {"plan": "pro", "seats": 5}},
        ),
        ({"customConditions": {"headers": {"X-App": "zürich"}}}, [(b"x-app", "zürich".encode())], {}),
        ({"customConditions": {"headers": {"X-App": "zürich"}}}, [(b"x-app", "zürich".encode("latin-1"))], {}),
        ({"customConditions": {"headers": {"X-App": "b"}}}, [(b"x-app", b"a"), (b"x-app", b"b")], {}),
    ],
)
async def test_rules_see_what_a_request_says_of_itself(
    conditions: dict[str, Any], headers: RawHeaders, body: dict[str, Any]
) -> None:
    one = stage(rule("a", **conditions))
    assert await matched(one, headers=headers, **body) == ["a"]
    assert await matched(one, messages=[{"role": "user", "content": "Bye, now"}]) == []


async def test_credentials_are_never_seen() -> None:
    one = stage(rule("a", customConditions={"headers": {"authorization": {"exists": True}}}))
    assert await matched(one, headers=[(b"authorization", b"Bearer x")]) == []


async def test_neither_headers_nor_metadata_are_read_where_no_rule_looks_at_them() -> None:
    one = stage(rule("a", agentType=["x"]))
    ctx = one.context(headers=[(b"x-app", b"a")], model="auto", metadata={"a": "b"})
    assert (ctx.rule_headers(), ctx.rule_metadata()) == ({}, None)
    seeing = stage(rule("a"), rule("b", rule_set="s", userTier=["gold"], customConditions={"headers": {"x-app": "a"}}))
    ctx = seeing.context(headers=[(b"x-app", b"a")], model="auto", metadata={"a": "b"})
    assert ctx.rule_headers() == {"x-app": "a"}
    assert bytes(ctx.rule_metadata() or b"") == b'{"a":"b"}'


async def test_the_metadata_of_the_model_router_service_is_seen_where_rules_look_at_it_and_not_forwarded() -> None:
    one = stage(rule("a", requestType=["analysis"], customConditions={"metadata": {"trace": "t-1"}}))
    ctx = one.context()
    metadata = {"requestType": "analysis", "trace": "t-1", "deep": {"er": 1}}
    asked = msgspec.json.encode(ASKED | {"metadata": metadata, "parameters": {"metadata": {"trace": "t-2"}}})
    body = ModelRouter().request(ctx, asked)
    assert b"t-1" not in body
    ctx.read(parse_body(body, ctx.surface))
    told = await explain(ctx, ask_judge=False)
    assert [trial.id for trial in told.rules if trial.matched and trial.source == "api"] == ["a"]
    blind = stage(rule("a", requestType=["analysis"])).context()
    ModelRouter().request(blind, asked)
    assert blind.metadata is None
