from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import EndpointConfig, TierFallback
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import Denied, GatewayError
from octoroute_py.core.words import Capability, Importance, Location, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.gateway.plan import Needs, Plan, narrowed, plan_exact, plan_tiers
from octoroute_py.gateway.scope import Scope, Scopes
from octoroute_py.tiers.demands import Demand
from octoroute_py.tiers.eligibility import Quality
from octoroute_py.tiers.pool import Pool
from octoroute_py.tiers.table import TierTable
from tests.fakes.endpoints import endpoint_config, table

TOOLS = frozenset({Capability.TOOLS})
FAST = Decision(Tier.FAST, Strategy.RULE, Reason.RULE_MATCHED, rule="casual")


def needs(*, tokens: int = 10, what: frozenset[Capability] = frozenset(), local_only: bool = False) -> Needs:
    facts = Facts(tokens=tokens, importance=Importance.NORMAL, task_type=TaskType.QUESTION_ANSWER, needs=what)
    return Needs(facts, None, local_only)


def fleet(fast: dict[str, Any], balanced: dict[str, Any], deep: dict[str, Any]) -> TierTable:
    given = {"fast/a#1": fast, "balanced/a#1": balanced, "deep/a#1": deep}
    return table(*(endpoint_config(id_, **fields) for id_, fields in given.items()))


def planned(wants: Needs, tiers: TierTable, fallback: TierFallback = TierFallback.UP) -> Plan:
    return plan_tiers(FAST, wants, tiers, fallback)


def ids(plan: Plan, wants: Needs) -> list[str]:
    """Who may answer, in the order of the pools."""
    return [endpoint.id for endpoint in narrowed(plan, wants).endpoints()]


NO_TOOLS: dict[str, Any] = {"capabilities": frozenset({Capability.CHAT})}
SMALL: dict[str, Any] = {"context_window": 100}
LOCAL: dict[str, Any] = {"location": Location.LOCAL}
CLOUD: dict[str, Any] = {"location": Location.CLOUD}


def test_a_request_that_needs_nothing_special_keeps_its_decision_and_the_order_of_the_fallback() -> None:
    plan = plan_tiers(FAST, Needs(None, None, False), fleet({}, {}, {}), TierFallback.UP)
    assert (plan.decision, plan.tiers) == (FAST, (Tier.FAST, Tier.BALANCED, Tier.DEEP))
    assert ids(plan, Needs(None, None, False)) == ["fast/a#1", "balanced/a#1", "deep/a#1"]


@pytest.mark.parametrize(
    ("wants", "lacking", "having", "reason"),
    [
        (needs(what=TOOLS), NO_TOOLS, {}, Reason.CAPABILITY),
        (needs(tokens=200), SMALL, {}, Reason.CONTEXT_OVERFLOW),
        (needs(local_only=True), CLOUD, LOCAL, Reason.LOCAL_ONLY),
    ],
)
def test_the_next_tier_up_that_fits_is_taken_and_the_reason_says_why(
    wants: Needs, lacking: dict[str, Any], having: dict[str, Any], reason: Reason
) -> None:
    plan = planned(wants, fleet(lacking, lacking, having))
    assert plan.decision == Decision(Tier.DEEP, Strategy.RULE, reason, rule="casual")
    assert plan.tiers == (Tier.DEEP,)


def test_the_tier_below_the_decided_one_is_not_a_way_out_of_a_misfit() -> None:
    decided = Decision(Tier.BALANCED, Strategy.RULE, Reason.DEFAULT_TIER)
    with pytest.raises(GatewayError) as caught:
        plan_tiers(decided, needs(what=TOOLS), fleet({}, NO_TOOLS, NO_TOOLS), TierFallback.UP)
    assert (caught.value.status, caught.value.code) == (503, "no_endpoint_available")


def test_going_up_for_a_misfit_is_no_fallback_and_happens_without_one_too() -> None:
    assert planned(needs(what=TOOLS), fleet(NO_TOOLS, {}, {}), TierFallback.NONE).tiers == (Tier.BALANCED,)


def test_inside_a_tier_only_the_endpoints_that_fit_are_candidates() -> None:
    tiers = table(endpoint_config("fast/a#1", **SMALL), endpoint_config("fast/b#1"), endpoint_config("deep/a#1"))
    plan = planned(needs(tokens=200), tiers)
    assert plan.decision == FAST
    assert ids(plan, needs(tokens=200)) == ["fast/b#1", "deep/a#1"]


def test_privacy_is_the_cause_told_before_capability_and_context() -> None:
    worst: dict[str, Any] = {**CLOUD, **NO_TOOLS, **SMALL}
    plan = planned(needs(tokens=200, what=TOOLS, local_only=True), fleet(worst, LOCAL, {}))
    assert plan.decision.reason is Reason.LOCAL_ONLY


def test_a_prompt_longer_than_every_window_is_the_clients_mistake() -> None:
    with pytest.raises(GatewayError) as caught:
        planned(needs(tokens=200), fleet(SMALL, SMALL, SMALL))
    error = caught.value
    assert (error.status, error.code, error.param) == (400, "context_length_exceeded", "messages")


@pytest.mark.parametrize("wants", [needs(what=TOOLS), needs(local_only=True)])
def test_nothing_that_fits_anywhere_is_503_with_a_time_to_come_back(wants: Needs) -> None:
    cloud_without_tools: dict[str, Any] = {**CLOUD, **NO_TOOLS}
    with pytest.raises(GatewayError) as caught:
        planned(wants, fleet(cloud_without_tools, cloud_without_tools, cloud_without_tools))
    error = caught.value
    assert (error.status, error.code) == (503, "no_endpoint_available")
    assert error.retry_after_s is not None


def test_the_clients_own_token_limit_counts_against_the_window() -> None:
    facts = needs(tokens=60).facts
    plan = planned(Needs(facts, 50, False), fleet(SMALL, {}, {}))
    assert plan.decision.reason is Reason.CONTEXT_OVERFLOW


def named(*endpoints: EndpointConfig) -> TierTable:
    return table(*endpoints)


def test_a_named_endpoint_has_its_replicas_and_no_other_tier() -> None:
    tiers = named(endpoint_config("deep/a#1"), endpoint_config("deep/a#2"), endpoint_config("deep/b#1"))
    plan = plan_exact(pool(tiers, "a"), needs())
    assert plan.decision == Decision(Tier.DEEP, Strategy.RULE, Reason.EXPLICIT_ENDPOINT)
    assert plan.tiers == (Tier.DEEP,)
    assert [each.id for each in plan.endpoints()] == ["deep/a#1", "deep/a#2"]


@pytest.mark.parametrize(("wants", "status"), [(needs(local_only=True), 503), (needs(tokens=200), 400)])
def test_a_named_endpoint_that_does_not_fit_is_not_replaced(wants: Needs, status: int) -> None:
    tiers = named(endpoint_config("fast/a#1", **SMALL), endpoint_config("deep/b#1", **LOCAL))
    with pytest.raises(GatewayError) as caught:
        plan_exact(pool(tiers, "a"), wants)
    assert caught.value.status == status


def pool(tiers: TierTable, name: str) -> Pool:
    return tiers.pool_of(tuple(each.id for each in tiers.named(name)))


def within(*words: str, deny: bool = False, **more: Any) -> Needs:
    """A plain request of a workspace that is restricted to these names."""
    scope = Scopes(ALL).of(WorkspacePolicy(restrictions=words, deny=deny, **more), None)
    assert scope is not None
    return Needs(None, None, False, scope)


ALL = tuple(endpoint_config(id_) for id_ in ("fast/a#1", "fast/b#1", "balanced/m#1", "deep/z#1"))


def decided(tier: Tier, reason: Reason = Reason.RULE_MATCHED) -> Decision:
    return Decision(tier, Strategy.RULE, reason)


def test_a_scope_that_leaves_the_decision_as_it_is_changes_only_who_may_answer() -> None:
    plan = plan_tiers(decided(Tier.FAST), within("b", "deep"), table(*ALL), TierFallback.UP)
    assert (plan.decision, plan.tiers) == (decided(Tier.FAST), (Tier.FAST, Tier.BALANCED, Tier.DEEP))
    assert ids(plan, within("b", "deep")) == ["fast/b#1", "deep/z#1"]


@pytest.mark.parametrize(
    ("words", "tier", "home"),
    [
        (("deep",), Tier.FAST, Tier.DEEP),
        (("m", "z"), Tier.FAST, Tier.BALANCED),
        (("fast", "m"), Tier.DEEP, Tier.BALANCED),
        (("fast",), Tier.DEEP, Tier.FAST),
        (("fast", "z"), Tier.BALANCED, Tier.DEEP),
    ],
)
def test_a_decision_that_may_not_be_followed_goes_to_the_next_tier_up_else_to_the_nearest_below(
    words: tuple[str, ...], tier: Tier, home: Tier
) -> None:
    plan = plan_tiers(decided(tier), within(*words), table(*ALL), TierFallback.NONE)
    assert plan.decision == decided(home, Reason.POLICY)
    assert plan.tiers == (home,)


def test_a_cap_looks_further_down_for_what_fits() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("balanced/m#1", **SMALL), endpoint_config("deep/z#1"))
    wants = msgspec.structs.replace(needs(tokens=200), scope=within("deep", deny=True).scope)
    assert plan_tiers(decided(Tier.DEEP), wants, tiers, TierFallback.UP).decision == decided(Tier.FAST, Reason.POLICY)


def test_what_is_lacking_is_told_of_those_that_may_be_used() -> None:
    tiers = table(
        endpoint_config("fast/a#1", **SMALL), endpoint_config("fast/b#1"), endpoint_config("balanced/m#1", **SMALL)
    )
    wants = msgspec.structs.replace(needs(tokens=200), scope=within("b", deny=True).scope)
    with pytest.raises(GatewayError) as caught:
        plan_tiers(FAST, wants, tiers, TierFallback.UP)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.parametrize("wants", [within("gone"), within(), within("a", "fast/a#1")], ids=["gone", "none", "other"])
def test_an_explicit_tier_that_may_not_be_used_is_403_and_is_not_replaced(wants: Needs) -> None:
    with pytest.raises(GatewayError) as caught:
        plan_tiers(decided(Tier.DEEP, Reason.EXPLICIT_TIER), wants, table(*ALL), TierFallback.BOTH)
    error = caught.value
    assert (error.status, error.code) == (403, "permission_denied")
    assert error.client_message == "This workspace may not use the tier 'deep'."


def test_an_explicit_tier_falls_back_only_to_what_may_be_used() -> None:
    plan = plan_tiers(decided(Tier.FAST, Reason.EXPLICIT_TIER), within("fast", "z"), table(*ALL), TierFallback.UP)
    assert plan.decision.reason is Reason.EXPLICIT_TIER
    assert ids(plan, within("fast", "z")) == ["fast/a#1", "fast/b#1", "deep/z#1"]


def test_where_nothing_may_be_used_every_decision_is_403() -> None:
    with pytest.raises(GatewayError) as caught:
        plan_tiers(decided(Tier.FAST), within(), table(*ALL), TierFallback.BOTH)
    assert (caught.value.status, caught.value.client_message) == (403, "This workspace may not use any model.")


def test_of_a_name_the_replicas_that_may_be_used_answer_and_none_is_403() -> None:
    tiers = table(endpoint_config("fast/a#1"), endpoint_config("fast/a#2"))
    scope = Scopes([each.config for each in tiers.endpoints]).of(WorkspacePolicy(restrictions=("fast/a#2",)), None)
    plan = plan_exact(pool(tiers, "a"), Needs(None, None, False, scope))
    assert ids(plan, Needs(None, None, False, scope)) == ["fast/a#2"]
    with pytest.raises(GatewayError) as caught:
        plan_exact(pool(tiers, "fast/a#1"), Needs(None, None, False, scope))
    assert (caught.value.status, caught.value.code) == (403, "permission_denied")


def test_a_workspaces_requirements_go_with_the_plan() -> None:
    wants = within("fast", max_latency_ms=100.0)
    assert plan_tiers(FAST, wants, table(*ALL), TierFallback.UP).quality == Quality(max_latency_s=0.1)
    assert plan_exact(pool(table(*ALL), "a"), wants).quality == Quality(max_latency_s=0.1)


def configs() -> st.SearchStrategy[tuple[EndpointConfig, ...]]:
    """Endpoints of one tier with some of all that keeps a request from them."""
    some: dict[str, st.SearchStrategy[Any]] = {
        "capabilities": st.none() | st.frozensets(st.sampled_from(Capability), max_size=3),
        "context_window": st.none() | st.integers(1, 30),
        "max_tokens": st.none() | st.integers(1, 10),
        "location": st.sampled_from(Location),
        "input_cost_per_mtok": st.none() | st.sampled_from([1.0, 3.0]),
    }
    one = st.fixed_dictionaries(some)
    return st.lists(one, min_size=1, max_size=12).map(
        lambda all_: tuple(endpoint_config(f"fast/a#{at}", **fields) for at, fields in enumerate(all_))
    )


@given(
    fleet=configs(),
    asked=st.lists(
        st.tuples(
            st.none() | st.tuples(st.integers(0, 30), st.frozensets(st.sampled_from(Capability), max_size=2)),
            st.none() | st.integers(0, 15),
            st.booleans(),
            st.none() | st.frozensets(st.integers(0, 11).map(lambda at: f"fast/a#{at}")),
            st.none()
            | st.builds(Demand, capabilities=st.sampled_from([(), ("tools",)]), max_cost_per_mtok=st.just(2.0)),
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_a_part_of_a_pool_holds_exactly_those_that_nothing_keeps_from_the_request(
    fleet: tuple[EndpointConfig, ...], asked: list[Any]
) -> None:
    whole = table(*fleet).pool(Tier.FAST)
    for facts, output, local_only, allowed, demand in asked:
        scope = None if allowed is None else Scope(allowed, allowed)
        known = None if facts is None else needs(tokens=facts[0], what=facts[1]).facts
        wants = Needs(known, output, local_only, scope, demand)
        part = wants.part_of(whole)
        assert list(part.endpoints) == [each for each in whole.endpoints if wants.misfit(each.config) is None]
        assert wants.part_of(whole) is part


def test_pools_that_nobody_is_left_in_are_not_tried() -> None:
    tiers = table(*ALL)
    plan = narrowed(plan_tiers(FAST, within("b", "z"), tiers, TierFallback.UP), within("b", "z"))
    assert plan.tiers == (Tier.FAST, Tier.DEEP)
    assert plan.decision == FAST


TIER_WORDS = ("fast", "balanced", "deep", "a", "b", "m", "z")


@given(
    tier=st.sampled_from(Tier),
    words=st.sets(st.sampled_from(TIER_WORDS)),
    deny=st.booleans(),
    fallback=st.sampled_from(TierFallback),
    explicit=st.booleans(),
)
def test_no_plan_lets_anything_through_that_its_scope_does_not(
    tier: Tier, words: set[str], deny: bool, fallback: TierFallback, explicit: bool
) -> None:
    scope = Scopes(ALL).of(WorkspacePolicy(restrictions=tuple(words), deny=deny), None)
    decision = decided(tier, Reason.EXPLICIT_TIER if explicit else Reason.RULE_MATCHED)
    tiers = table(*ALL)
    may = {each.id for each in ALL if scope is None or scope.allows(each)}
    asked = Needs(None, None, False, scope)
    if not may or (explicit and not any(each.id in may for each in tiers.of(tier))):
        with pytest.raises(Denied):
            plan_tiers(decision, asked, tiers, fallback)
        return
    plan = plan_tiers(decision, asked, tiers, fallback)
    assert set(ids(plan, asked)) == {each.id for pool in plan.pools for each in tiers.of(pool.tier) if each.id in may}
    assert any(each.id in may for each in tiers.of(plan.decision.tier))
    assert (plan.decision.tier is tier) == any(each.id in may for each in tiers.of(tier))
    assert plan.decision.reason is (decision.reason if plan.decision.tier is tier else Reason.POLICY)
