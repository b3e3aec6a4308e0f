"""A/B experiments on live requests: which arm a request gets, and what that changes of its way."""

from typing import Final

import msgspec

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.decision import Decision
from octoroute_py.core.experiment import Arm
from octoroute_py.core.words import Reason, Strategy
from octoroute_py.gateway.exposure import Exposure
from octoroute_py.gateway.governing import Case
from octoroute_py.gateway.plan import Plan, fitted, plan_tiers
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.rulebook import Rulebook

_UNDER_TEST: Final = (ModelStatus.CANARY, ModelStatus.TESTING)


class Way(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How a request is decided about: at once by `plan`, else by the rules in `book`, else by `router`.

    `exposure` is the arm it was given; with `by_router` that counts only where the router came to decide.
    """

    plan: Plan | None = None
    book: Rulebook
    router: Cascade
    exposure: Exposure | None = None
    by_router: bool = False


def way_of(case: Case) -> Way:
    """The way of this request: the usual one, or that of its arm. Raises as `plan_tiers`."""
    ctx = case.ctx
    snapshot = ctx.snapshot
    trials = snapshot.trials
    usual = Way(book=snapshot.rulebook, router=snapshot.router)
    if not trials.running:
        return usual
    given = trials.running.assign(case.facts, ctx.wall(), caller=ctx.stable_id(), request_id=ctx.request_id)
    # Where one arm could not have been given, none is: the arms would answer requests of different kinds.
    if given is None or not all(_can_be_given(case, arm) for arm in given.arms):
        return usual
    arm = given.arm
    exposure = Exposure(given.label)
    by_router = given.experiment_id in trials.between_routers
    if arm.tier is not None or arm.model_id is not None:
        return Way(plan=_plan_of(case, arm), book=usual.book, router=usual.router, exposure=exposure)
    router = usual.router if arm.strategy is None else trials.cascades[arm.strategy]
    book = usual.book if arm.rule_set is None else snapshot.rulebooks.get(arm.rule_set, usual.book)
    return Way(book=book, router=router, exposure=exposure, by_router=by_router)


def _can_be_given(case: Case, arm: Arm) -> bool:
    """Whether the arm's strategy is there, and whether its model may answer the request."""
    snapshot = case.ctx.snapshot
    if arm.model_id is not None:
        pool = snapshot.targets.pool(arm.model_id, also=_UNDER_TEST)
        return pool is not None and bool(case.needs.part_of(pool).endpoints)
    return arm.strategy is None or arm.strategy in snapshot.trials.cascades


def _plan_of(case: Case, arm: Arm) -> Plan:
    """To the tier, or to the model first and then as its tier falls back."""
    snapshot, needs = case.ctx.snapshot, case.needs
    fallback = snapshot.config.routing.tier_fallback
    if arm.tier is not None:
        decision = Decision(arm.tier, Strategy.RULE, Reason.EXPERIMENT)
        return plan_tiers(decision, needs, snapshot.table, fallback)
    pool = snapshot.targets.pool(arm.model_id or "", also=_UNDER_TEST)
    assert pool is not None  # noqa: S101 - the arm can be given
    decision = Decision(pool.tier, Strategy.RULE, Reason.EXPERIMENT)
    return fitted(decision, (pool, *snapshot.table.pools(pool.tier, fallback)), needs)
