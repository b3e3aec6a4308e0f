"""Why a request would go where it would go: the same questions as for a live one, with what was said kept."""

import msgspec

from octoroute_py.gateway.choosing import (
    exposed,
    facts_of,
    governed_plan,
    inquiry_of,
    intent_of,
    named_plan,
    needs_of,
    rolled_out,
    tier_plan,
)
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.governing import Case, eligible_targets, preferred
from octoroute_py.gateway.plan import Plan, narrowed
from octoroute_py.gateway.ways import Way, way_of
from octoroute_py.routing.explain import Decider, Explanation, RuleTrial, Walk, seen, walk
from octoroute_py.routing.intent import Auto, Intent
from octoroute_py.routing.rulebook import Rulebook


async def explain(ctx: RequestContext, *, ask_judge: bool) -> Explanation:
    """Why the request would go where `choose` sends it; no tier is called, and the judge only when asked for.

    Raises as `choose`.
    """
    snapshot = ctx.snapshot
    intent = intent_of(ctx)
    facts = facts_of(ctx, words=snapshot.reads_words)
    case = Case(ctx, facts, needs_of(ctx, facts))
    way = way_of(case) if isinstance(intent, Auto) else Way(book=snapshot.rulebook, router=snapshot.router)
    walked, decider = Walk(), Decider.CLIENT
    if isinstance(intent, Auto):
        governed = governed_plan(case, way)
        decider = decider_of(governed, way)
        walked = await walk(
            way.router,
            inquiry_of(ctx, facts),
            book=way.book,
            decided=None if governed is None else governed.decision,
            judge_tier=snapshot.config.routing.router_tier,
            now=ctx.wall(),
            ask_judge=ask_judge,
        )
        plan = governed or exposed(tier_plan(ctx, walked.decision or way.router.otherwise, case.needs), way)
    else:
        plan = named_plan(ctx, intent, case.needs)
    plan = rolled_out(ctx, plan, case.needs)
    return _told(case, way, walked, intent=intent, decider=decider, plan=plan)


def _told(case: Case, way: Way, walked: Walk, *, intent: Intent, decider: Decider, plan: Plan) -> Explanation:
    decision, carried_out = plan.decision, narrowed(plan, case.needs)
    left_to_us = isinstance(intent, Auto)
    misfits = {endpoint.id: case.needs.misfit(endpoint.config) for endpoint in plan.pools[0].endpoints}
    return Explanation(
        tier=decision.tier,
        strategy=decision.strategy,
        reason=decision.reason,
        rule=decision.rule,
        confidence=decision.confidence,
        next_step="judge" if left_to_us and walked.decision is None else None,
        default_tier=way.router.otherwise.tier,
        rules=_with_eligible(case, way.book, walked.rules),
        scorer=walked.scorer,
        judge=walked.judge,
        candidates=tuple(each for each, found in misfits.items() if found is None),
        unfit={each: found for each, found in misfits.items() if found is not None},
        facts=seen(case.facts, has_code=case.facts.has_code),
        models=tuple(dict.fromkeys(endpoint.name for endpoint in carried_out.endpoints())),
        rule_id=decision.rule_id,
        arms=tuple(exposure.label for exposure in plan.exposures),
        decided_by=decider,
        preferred=_preferred(case) if left_to_us else None,
        first=_drawn_first(case.ctx, carried_out),
    )


def decider_of(governed: Plan | None, way: Way) -> Decider:
    """Who made the plan of a request that leaves the choice to the gateway."""
    if governed is None:
        return Decider.STRATEGY
    if way.plan is not None:
        return Decider.EXPERIMENT
    return Decider.PREFERENCES if governed.decision.rule is None else Decider.RULE


def _preferred(case: Case) -> tuple[str, ...] | None:
    """The models that the agent type prefers and that can answer now; None for one without preferences."""
    preferences = case.ctx.preferences
    return None if preferences is None else tuple(name for name, _ in preferred(case, preferences))


def _drawn_first(ctx: RequestContext, plan: Plan) -> tuple[str, ...]:
    """The names among whom the first attempt is drawn at this moment; none when nobody can take it."""
    now, quality = ctx.monotonic(), plan.quality
    for pool in plan.pools:
        found = [
            each
            for each in pool.endpoints
            if each.unavailable(now) is None
            and (quality is None or quality.shortfall(each.live.recent, stream=ctx.stream, now=now) is None)
        ]
        highest = max((each.priority for each in found), default=None)
        if highest is not None:
            return tuple(dict.fromkeys(each.name for each in found if each.priority == highest))
    return ()


def _with_eligible(case: Case, book: Rulebook, trials: tuple[RuleTrial, ...]) -> tuple[RuleTrial, ...]:
    """The trials, and for each rule of the API that matched which of its targets can answer now."""
    rules = {rule.id: rule for rule in book.rules if rule.targets}
    return tuple(
        msgspec.structs.replace(trial, eligible=tuple(name for name, _ in eligible_targets(case, rules[trial.id])))
        if trial.matched and trial.targets
        else trial
        for trial in trials
    )
