"""What operators set decides where a request goes, in the order of the documents; a dry run says the same."""

from collections import Counter
from typing import Any

import pytest

from octoroute_py.config.schema import RoutingConfig, RuleConfig, RuleWhen, StrategyName
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.catalog import EndpointRole, ModelStatus
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.experiment import Arm, ArmStrategy, ExperimentStatus
from octoroute_py.core.rollout import CanaryDeployment, RolloutStatus, Split
from octoroute_py.core.rules import AgentPreferences, Conditions, PerformanceRequirements, RuleTarget, TrafficSplit
from octoroute_py.core.words import Capability, Importance, Reason, Tier
from octoroute_py.gateway.choosing import choose
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.explaining import explain
from octoroute_py.gateway.plan import Plan
from tests.fakes.chance import follows
from tests.fakes.endpoints import endpoint_config
from tests.fakes.governed import Governed, endpoint, experiment, model, rule


async def first(ctx: RequestContext) -> str:
    """The name that is tried first."""
    return (await names(ctx))[0]


async def names(ctx: RequestContext) -> list[str]:
    plan = await choose(ctx)
    told = await explain(ctx, ask_judge=False)
    found = list(dict.fromkeys(each.name for each in plan.endpoints()))
    assert list(told.models) == found
    assert (told.tier, told.reason, told.rule) == (plan.decision.tier, plan.decision.reason, plan.decision.rule)
    return found


async def decided(ctx: RequestContext) -> Plan:
    await names(ctx)
    return await choose(ctx)


async def test_a_rule_sends_to_its_model_and_nowhere_else() -> None:
    plan = await decided(Governed(model("m"), rule("r", "m")).request())
    assert [each.id for each in plan.endpoints()] == ["m:1"]
    assert (plan.decision.reason, plan.decision.rule, plan.decision.rule_id) == (Reason.RULE_MATCHED, "r", "r")


async def test_targets_may_be_tiers_and_the_files_names_and_ids() -> None:
    for target, found in (("deep", "large"), ("large", "large"), ("deep/large#1", "large")):
        assert await first(Governed(rule("r", target)).request()) == found


async def test_the_rule_of_the_highest_priority_decides_and_among_equals_the_older() -> None:
    governed = Governed(rule("a", "small", priority=1), rule("b", "middle", priority=2), rule("c", "large", priority=2))
    assert (await decided(governed.request())).decision.rule == "b"


async def test_the_files_rules_and_the_apis_are_one_list_by_priority() -> None:
    own = (
        RuleConfig(name="file-high", tier=Tier.DEEP, priority=9, when=RuleWhen(importance=(Importance.HIGH,))),
        RuleConfig(name="file-low", tier=Tier.BALANCED, priority=1),
    )
    routing = RoutingConfig(strategy=StrategyName.RULE, rules=own)
    governed = Governed(rule("api", "small", priority=5), routing=routing)
    high = governed.request(headers=[(b"x-octoroute-importance", b"high")])
    assert (await decided(high)).decision.rule == "file-high"
    assert (await decided(governed.request())).decision.rule == "api"
    lower = Governed(rule("api", "small", priority=0), routing=routing)
    assert (await decided(lower.request())).decision.rule == "file-low"


async def test_rules_of_the_api_are_asked_whatever_the_strategy_and_rules_of_the_file_are_not() -> None:
    own = (RuleConfig(name="file", tier=Tier.DEEP, priority=9),)
    routing = RoutingConfig(strategy=StrategyName.LLM, rules=own)
    assert (await decided(Governed(rule("api", "small"), routing=routing).request())).decision.rule == "api"


async def test_a_rule_without_an_eligible_target_leaves_the_request_to_the_next() -> None:
    governed = Governed(rule("a", "middle", priority=2), rule("b", "small", priority=1))
    governed.take_out("balanced/middle#1")
    assert (await decided(governed.request())).decision.rule == "b"
    governed.take_out("fast/small#1")
    assert (await decided(governed.request())).decision.rule == "casual_chat"


@pytest.mark.parametrize("status", ModelStatus)
async def test_a_rule_sends_only_to_active_models(status: ModelStatus) -> None:
    governed = Governed(model("m", status=status), rule("r", "m", "small"))
    assert await first(governed.request()) == ("m" if status is ModelStatus.ACTIVE else "small")


@pytest.mark.parametrize("status", ModelStatus)
async def test_a_model_serves_its_tier_when_active_and_by_name_unless_inactive(status: ModelStatus) -> None:
    governed = Governed(model("m", status=status, tier=Tier.FAST))
    in_tier = [each.id for pool in (await choose(governed.request(model="fast"))).pools for each in pool.endpoints]
    assert ("m:1" in in_tier) is (status is ModelStatus.ACTIVE)
    if status is ModelStatus.INACTIVE:
        with pytest.raises(GatewayError) as caught:
            await choose(governed.request(model="m"))
        assert caught.value.status == 404
    else:
        assert await names(governed.request(model="m")) == ["m"]


async def test_a_model_is_known_by_its_id_its_name_and_its_version() -> None:
    governed = Governed(model("m-1", name="Muse", version="7"), endpoint("m-1"), endpoint("m-1", 2))
    for name in ("m-1", "Muse", "Muse/7"):
        assert [each.id for each in (await choose(governed.request(model=name))).endpoints()] == ["m-1:1", "m-1:2"]
    assert [each.id for each in (await choose(governed.request(model="m-1:2"))).endpoints()] == ["m-1:2"]


async def test_a_backup_answers_when_no_primary_can() -> None:
    governed = Governed(model("m"), endpoint("m"), endpoint("m", 2, type=EndpointRole.BACKUP))
    plan = await choose(governed.request(model="m"))
    assert {plan.pools[0].pick(now=0.0).id for _ in range(50)} == {"m:1"}  # type: ignore[union-attr]
    governed.take_out("m:1")
    picked = plan.pools[0].pick(now=0.0)
    assert picked is not None
    assert picked.id == "m:2"


async def test_weights_are_met_by_ten_thousand_requests_and_a_request_id_always_draws_the_same() -> None:
    targets = [RuleTarget(model_id=name, weight=weight) for name, weight in (("small", 7), ("middle", 2), ("large", 1))]
    governed = Governed(rule("r", *targets))
    found = [(await choose(governed.request(request_id=f"req-{n}"))).pools[0] for n in range(10_000)]
    counts = Counter(pool.endpoints[0].name for pool in found)
    assert follows(counts, {"small": 0.7, "middle": 0.2, "large": 0.1})
    assert len({await first(governed.request(request_id="one")) for _ in range(20)}) == 1


@pytest.mark.parametrize("known_by", ["session", "user", "key"])
async def test_a_split_is_met_by_ten_thousand_callers_and_each_stays(known_by: str) -> None:
    governed = Governed(rule("r", "small", "large", traffic_split=TrafficSplit(primary=75, canary=25)))

    def ask(caller: int, again: str = "") -> RequestContext:
        told: dict[str, Any] = {"request_id": f"req-{caller}-{again}"}
        if known_by == "session":
            told["headers"] = [(b"x-octoroute-session", b"s%d" % caller)]
        elif known_by == "user":
            told["user"] = f"u{caller}"
        else:
            told["key_id"] = f"k{caller}"
        return governed.request(**told)

    found = [(await choose(ask(n))).pools[0].endpoints[0].name for n in range(10_000)]
    assert follows(Counter(found), {"small": 0.75, "large": 0.25})
    for n in range(300):
        assert {(await choose(ask(n, again))).pools[0].endpoints[0].name for again in "abc"} == {found[n]}


async def test_a_split_may_send_to_a_canary_and_nothing_else_does() -> None:
    split = TrafficSplit(primary=0, canary=100)
    governed = Governed(model("m", status=ModelStatus.CANARY), rule("r", "small", "m", traffic_split=split))
    assert await names(governed.request()) == ["m", "small"]


async def test_a_target_that_is_as_busy_as_it_may_be_is_left_out() -> None:
    governed = Governed(rule("r", RuleTarget(model_id="small", max_concurrent_requests=1), "large"))
    assert await names(governed.request()) == ["small", "large"]
    hold = governed.table.by_id["fast/small#1"].begin(0.0)
    assert await names(governed.request()) == ["large"]
    hold.close()
    assert await names(governed.request()) == ["small", "large"]


async def test_who_named_a_tier_or_a_model_is_not_sent_elsewhere_by_rules_or_preferences() -> None:
    governed = Governed(rule("r", "large"), AgentPreferences(agent_type="a", preferred_models=("large",)))
    agent = [(b"x-octoroute-agent-type", b"a")]
    assert await first(governed.request(model="fast", headers=agent)) == "small"
    assert await first(governed.request(model="middle", headers=agent)) == "middle"


async def test_a_rule_cannot_send_where_the_workspace_may_not_go() -> None:
    policies = {"shop": WorkspacePolicy(restrictions=("fast",))}
    governed = Governed(rule("r", "large", "small"), policies=policies)
    assert await names(governed.request(headers=[(b"x-octoroute-workspace", b"shop")])) == ["small"]
    assert await names(governed.request()) == ["large", "small"]


async def test_preferences_come_after_rules_and_before_the_strategy() -> None:
    preferences = AgentPreferences(agent_type="a", preferred_models=("large", "middle"), fallback_models=("small",))
    agent = [(b"x-octoroute-agent-type", b"a")]
    governed = Governed(preferences)
    plan = await decided(governed.request(headers=agent))
    assert plan.decision.reason is Reason.POLICY
    assert [each.name for each in plan.endpoints()] == ["large", "middle", "small"]
    assert (await decided(governed.request())).decision.reason is not Reason.POLICY
    governed.take_out("deep/large#1")
    assert await names(governed.request(headers=agent)) == ["middle", "small"]
    assert await first(Governed(preferences, rule("r", "small")).request(headers=agent)) == "small"


async def test_a_required_capability_holds_however_the_request_is_routed() -> None:
    file = (
        endpoint_config("fast/small#1", capabilities=frozenset({Capability.TOOLS})),
        endpoint_config("deep/large#1", capabilities=frozenset({Capability.IMAGE_INPUT})),
    )
    needs_eyes = AgentPreferences(agent_type="a", required_capabilities=("vision",))
    governed = Governed(needs_eyes, rule("r", "small", "large"), file=file)
    agent = [(b"x-octoroute-agent-type", b"a")]
    assert await names(governed.request(headers=agent)) == ["large"]
    assert await names(governed.request()) == ["small", "large"]
    explicit = await choose(governed.request(model="fast", headers=agent))
    assert (explicit.decision.tier, explicit.decision.reason) == (Tier.DEEP, Reason.CAPABILITY)
    with pytest.raises(GatewayError) as caught:
        await choose(governed.request(model="small", headers=agent))
    assert caught.value.status == 503


async def test_what_is_too_dear_or_too_slow_for_an_agent_type_does_not_answer_it() -> None:
    file = (
        endpoint_config("fast/small#1"),
        endpoint_config("balanced/middle#1", output_cost_per_mtok=1.0),
        endpoint_config("deep/large#1", output_cost_per_mtok=9.0),
    )
    asked = PerformanceRequirements(max_cost_per_token=2e-6, max_latency=500)
    preferences = AgentPreferences(
        agent_type="a", preferred_models=("large", "middle", "small"), performance_requirements=asked
    )
    governed = Governed(preferences, file=file)
    agent = [(b"x-octoroute-agent-type", b"a")]
    assert await names(governed.request(headers=agent)) == ["middle", "small"]
    for _ in range(30):
        hold = governed.table.by_id["balanced/middle#1"].begin(0.0)
        hold.success(0.0, answer_s=2.0)
        hold.close()
    assert await names(governed.request(headers=agent)) == ["small"]


async def test_a_canary_gets_its_share_of_callers_of_a_tier_a_name_and_a_rule_but_not_of_an_id() -> None:
    deployment = CanaryDeployment(
        id="c",
        name="c",
        production_model_id="small",
        canary_model_id="m",
        status=RolloutStatus.ACTIVE,
        traffic_split=Split(production=60, canary=40),
    )
    governed = Governed(model("m", status=ModelStatus.CANARY), deployment, rule("r", "small"))
    for asked in ("auto", "fast", "small"):
        plans = [await choose(governed.request(model=asked, user=f"u{n}")) for n in range(2_000)]
        counts = Counter(plan.pools[0].endpoints[0].name for plan in plans)
        assert follows(counts, {"small": 0.6, "m": 0.4})
        canary = next(plan for plan in plans if plan.pools[0].endpoints[0].name == "m")
        assert canary.decision.reason is Reason.EXPERIMENT
        assert [each.label for each in canary.exposures] == ["canary/c:canary"]
    plans = [await choose(governed.request(model="fast/small#1", user=f"u{n}")) for n in range(200)]
    assert {plan.pools[0].endpoints[0].name for plan in plans} == {"small"}


async def exposed(governed: Governed, caller: int, **told: Any) -> tuple[str, tuple[str, ...]]:
    """What is tried first, and the arms."""
    ctx = governed.request(user=f"u{caller}", request_id=f"req-{caller}", **told)
    plan = await choose(ctx)
    assert (await explain(ctx, ask_judge=False)).arms == tuple(each.label for each in plan.exposures)
    return next(plan.endpoints()).name, tuple(each.label for each in plan.exposures)


async def test_callers_are_shared_out_among_tiers_and_models_by_weight_and_stay() -> None:
    arms = (Arm(name="a", weight=3, tier=Tier.FAST), Arm(name="b", model_id="m"))
    governed = Governed(model("m", status=ModelStatus.TESTING), experiment(*arms), rule("r", "large"))
    found = [await exposed(governed, n) for n in range(4_000)]
    assert set(found) == {("small", ("x:a",)), ("m", ("x:b",))}
    assert follows(Counter(arms[0] for _, arms in found), {"x:a": 0.75, "x:b": 0.25})
    assert [await exposed(governed, n) for n in range(200)] == found[:200]
    plan = await choose(governed.request(user="u1"))
    assert plan.decision.reason is Reason.EXPERIMENT


async def test_an_experiment_is_for_those_who_meet_its_conditions_and_leave_the_choice_to_the_gateway() -> None:
    arms = (Arm(name="a", tier=Tier.FAST), Arm(name="b", tier=Tier.DEEP))
    governed = Governed(experiment(*arms, conditions=Conditions(agent_type=("writer",))))
    writer = [(b"x-octoroute-agent-type", b"writer")]
    assert (await exposed(governed, 1))[1] == ()
    assert (await exposed(governed, 1, headers=writer))[1] != ()
    assert (await exposed(governed, 1, headers=writer, model="deep"))[1] == ()


async def test_an_arm_may_have_rules_of_its_own() -> None:
    arms = (Arm(name="usual"), Arm(name="other", rule_set="set"))
    governed = Governed(experiment(*arms), rule("r", "small"), rule("s", "large", rule_set="set", priority=1))
    found = {await exposed(governed, n) for n in range(50)}
    assert found == {("small", ("x:usual",)), ("large", ("x:other",))}


async def test_between_strategies_only_those_count_whom_no_rule_decided_about() -> None:
    arms = (Arm(name="a"), Arm(name="b", strategy=ArmStrategy.RULE))
    governed = Governed(
        experiment(*arms),
        rule("r", "large", conditions={"agent_type": ("writer",)}),
        routing=RoutingConfig(strategy=StrategyName.RULE, default_tier=Tier.BALANCED),
    )
    assert {arms for _, arms in [await exposed(governed, n) for n in range(50)]} == {("x:a",), ("x:b",)}
    writer = [(b"x-octoroute-agent-type", b"writer")]
    assert await exposed(governed, 1, headers=writer) == ("large", ())


async def test_an_arm_that_cannot_be_given_changes_nothing_and_counts_for_nothing() -> None:
    arms = (Arm(name="a", strategy=ArmStrategy.NEURAL), Arm(name="b", model_id="gone"))
    governed = Governed(experiment(*arms), rule("r", "small"))
    assert {await exposed(governed, n) for n in range(50)} == {("small", ())}


@pytest.mark.parametrize("other", [Arm(name="b", model_id="gone"), Arm(name="b", strategy=ArmStrategy.NEURAL)])
async def test_where_one_arm_cannot_be_given_none_is(other: Arm) -> None:
    governed = Governed(experiment(Arm(name="a", tier=Tier.DEEP), other), rule("r", "small"))
    assert {await exposed(governed, n) for n in range(50)} == {("small", ())}


async def test_requests_that_an_arms_model_may_not_answer_are_in_no_arm() -> None:
    arms = (Arm(name="a", tier=Tier.DEEP), Arm(name="b", model_id="m"))
    governed = Governed(model("m", capabilities=("json",)), experiment(*arms), rule("r", "small"))
    tools = [{"type": "function", "function": {"name": "f"}}]
    assert {await exposed(governed, n) for n in range(50)} == {("large", ("x:a",)), ("m", ("x:b",))}
    assert {await exposed(governed, n, tools=tools) for n in range(50)} == {("small", ())}


@pytest.mark.parametrize("status", [each for each in ExperimentStatus if each is not ExperimentStatus.RUNNING])
async def test_only_a_running_experiment_has_callers(status: ExperimentStatus) -> None:
    arms = (Arm(name="a", tier=Tier.FAST), Arm(name="b", tier=Tier.DEEP))
    assert (await exposed(Governed(experiment(*arms, status=status)), 1))[1] == ()


async def test_a_canary_that_the_workspace_may_not_use_leaves_its_requests_to_the_production_model() -> None:
    deployment = CanaryDeployment(
        id="c",
        name="c",
        production_model_id="small",
        canary_model_id="m",
        status=RolloutStatus.ACTIVE,
        traffic_split=Split(production=0, canary=100),
    )
    policies = {"shop": WorkspacePolicy(restrictions=("small", "deep"))}
    governed = Governed(model("m", status=ModelStatus.CANARY), deployment, policies=policies)
    shop = [(b"x-octoroute-workspace", b"shop")]
    assert await names(governed.request(model="small", headers=shop)) == ["small"]
    assert set(await names(governed.request(model="fast", headers=shop))) == {"small", "large"}
    assert await first(governed.request(model="fast")) == "m"
