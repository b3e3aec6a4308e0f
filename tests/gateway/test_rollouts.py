"""A canary takes its production model's place for its share of callers, wherever that stands in a plan."""

from collections import Counter
from typing import Any

import pytest

from octoroute_py.core.decision import Decision
from octoroute_py.core.registry import Registry
from octoroute_py.core.rollout import CanaryDeployment, RolloutStatus
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.gateway.plan import Needs, Plan
from octoroute_py.gateway.rollouts import Rollouts
from octoroute_py.gateway.targets import Targets
from octoroute_py.routing.intent import Catalog
from tests.fakes.chance import follows
from tests.fakes.endpoints import endpoint_config, table

DECISION = Decision(Tier.FAST, Strategy.RULE, Reason.DEFAULT_TIER)


class Scene:
    """A production model with two endpoints beside another one, and a canary of the next tier."""

    def __init__(self, status: RolloutStatus = RolloutStatus.ACTIVE, **names: str) -> None:
        self.share = 30.0
        self.table = table(
            endpoint_config("fast/old#1", priority=5),
            endpoint_config("fast/old#2", priority=5, weight=2.0),
            endpoint_config("fast/other#1", priority=5),
            endpoint_config("balanced/new#1", weight=0.5),
        )
        fields: dict[str, Any] = {"production_model_id": "old", "canary_model_id": "new", **names}
        deployment = CanaryDeployment(id="c", name="c", status=status, **fields)
        targets = Targets(Catalog([each.config for each in self.table.endpoints]), self.table)
        self.rollouts = Rollouts(
            Registry(canaries={"c": deployment}), targets, self.table, share_now=lambda _: self.share
        )

    def plan(self, *tiers: Tier) -> Plan:
        return Plan(DECISION, tuple(self.table.pool(tier) for tier in tiers or (Tier.FAST, Tier.DEEP)))

    def applied(self, caller: str, plan: Plan | None = None) -> Plan:
        return self.rollouts.applied(plan or self.plan(), Needs(None, None, False), caller=caller)


def arms(scene: Scene, callers: range) -> list[str]:
    return [scene.applied(f"user:{n}").exposures[0].label for n in callers]


def test_the_share_of_callers_is_the_share_that_was_set_and_each_stays_where_it_is() -> None:
    scene = Scene()
    found = arms(scene, range(10_000))
    assert follows(Counter(found), {"canary/c:canary": 0.3, "canary/c:production": 0.7})
    assert arms(scene, range(10_000)) == found
    scene.share = 40.0
    wider = arms(scene, range(10_000))
    assert all(
        now == "canary/c:canary" for before, now in zip(found, wider, strict=True) if before == "canary/c:canary"
    )


def test_a_share_of_nought_is_nobody_and_a_hundred_everybody() -> None:
    scene = Scene()
    scene.share = 0.0
    assert set(arms(scene, range(500))) == {"canary/c:production"}
    scene.share = 100.0
    assert set(arms(scene, range(500))) == {"canary/c:canary"}


def test_the_canary_stands_where_the_production_model_stood_and_that_one_comes_last() -> None:
    scene = Scene()
    scene.share = 100.0
    plan = scene.applied("anybody")
    first = {each.id: (each.priority, each.weight) for each in plan.pools[0].endpoints}
    assert first == {"fast/other#1": (5, 1.0), "balanced/new#1": (5, 3.0)}
    assert [each.id for each in plan.pools[-1].endpoints] == ["fast/old#1", "fast/old#2"]
    assert plan.decision.reason is Reason.EXPERIMENT
    picked = [plan.pools[0].pick(now=0.0) for _ in range(8000)]
    assert follows(Counter(each.id for each in picked if each), {"fast/other#1": 0.25, "balanced/new#1": 0.75})


def test_the_stand_in_shares_its_live_state_with_the_endpoint_itself() -> None:
    scene = Scene()
    scene.share = 100.0
    scene.table.by_id["balanced/new#1"].cool_down(0.0, 9.0)
    picked = scene.applied("anybody").pools[0].pick(now=0.0)
    assert picked is scene.table.by_id["fast/other#1"]


def test_a_plan_without_the_production_model_is_left_as_it_is() -> None:
    scene = Scene()
    scene.share = 100.0
    plan = scene.plan(Tier.BALANCED, Tier.DEEP)
    assert scene.applied("anybody", plan) is plan


@pytest.mark.parametrize(
    ("status", "stands"),
    [(status, status in (RolloutStatus.ACTIVE, RolloutStatus.PAUSED)) for status in RolloutStatus],
)
def test_only_an_active_or_paused_deployment_splits(status: RolloutStatus, stands: bool) -> None:
    scene = Scene(status)
    assert bool(scene.rollouts) is stands
    assert bool(scene.applied("anybody").exposures) is stands


def test_a_deployment_whose_model_is_gone_does_nothing() -> None:
    assert not Scene(canary_model_id="gone").rollouts
    assert not Scene(production_model_id="gone").rollouts


def test_what_falls_back_to_the_production_model_keeps_its_decision() -> None:
    scene = Scene()
    scene.share = 100.0
    plan = scene.applied("anybody", scene.plan(Tier.DEEP, Tier.FAST))
    assert plan.decision == DECISION
    assert [each.id for each in plan.pools[1].endpoints] == ["fast/other#1", "balanced/new#1"]
