"""From a request to its plan, for live requests and for explanations alike: what both ask is asked here."""

import math
from typing import Final

import msgspec

from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.rules import RequestType
from octoroute_py.core.words import Reason, Surface
from octoroute_py.features.facts import About, Facts, read_facts
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.governing import Case, by_preferences, by_rules, eligible_targets, preferred
from octoroute_py.gateway.plan import Needs, Plan, narrowed, plan_exact, plan_tiers
from octoroute_py.gateway.ways import Way, way_of
from octoroute_py.routing.explain import Decider, Explanation, RuleTrial, Trail, seen, walk
from octoroute_py.routing.intent import Auto, Exact, Intent, TierIntent, read_intent, tier_decision
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.rulebook import Rulebook

_OF_A_JUDGE: Final = frozenset({Reason.LLM_JUDGED, Reason.JUDGE_FAILED})


async def choose(ctx: RequestContext) -> Plan:
    """Where a request that has been read may go. Raises the GatewayError the client is to get."""
    snapshot = ctx.snapshot
    intent = _intent(ctx)
    if not isinstance(intent, Auto):
        facts = _facts(ctx, words=False) if snapshot.gated else None
        needs = _needs(ctx, facts)
        return narrowed(_rolled_out(ctx, _named(ctx, intent, needs), needs), needs)
    facts = _facts(ctx, words=snapshot.reads_words)
    case = Case(ctx, facts, _needs(ctx, facts))
    way = way_of(case)
    plan = _governed(case, way)
    if plan is None:
        ctx.judged = way.router.judge is not None  # whoever leaves or fails now may have had it asked
        decision = await way.router.route(_inquiry(ctx, facts))
        ctx.judged = decision.reason in _OF_A_JUDGE
        plan = _by_tier(ctx, decision, case.needs)
        plan = _exposed(plan, way)
    return narrowed(_rolled_out(ctx, plan, case.needs), case.needs)


async def explain(ctx: RequestContext, *, ask_judge: bool) -> Explanation:
    """Why the request would go where `choose` sends it; no tier is called, and the judge only when asked for.

    Raises as `choose`.
    """
    snapshot = ctx.snapshot
    intent = _intent(ctx)
    facts = _facts(ctx, words=snapshot.reads_words)
    case = Case(ctx, facts, _needs(ctx, facts))
    way = way_of(case) if isinstance(intent, Auto) else Way(book=snapshot.rulebook, router=snapshot.router)
    trail, decider = Trail(), Decider.CLIENT
    if isinstance(intent, Auto):
        governed = _governed(case, way)
        decider = _decider(governed, way)
        trail = await walk(
            way.router,
            _inquiry(ctx, facts),
            book=way.book,
            decided=None if governed is None else governed.decision,
            judge_tier=snapshot.config.routing.router_tier,
            now=ctx.wall(),
            ask_judge=ask_judge,
        )
        plan = governed or _exposed(_by_tier(ctx, trail.decision or way.router.otherwise, case.needs), way)
    else:
        plan = _named(ctx, intent, case.needs)
    plan = _rolled_out(ctx, plan, case.needs)
    carried_out = narrowed(plan, case.needs)
    misfits = {endpoint.id: case.needs.misfit(endpoint.config) for endpoint in plan.pools[0].endpoints}
    return Explanation(
        tier=plan.decision.tier,
        strategy=plan.decision.strategy,
        reason=plan.decision.reason,
        rule=plan.decision.rule,
        confidence=plan.decision.confidence,
        next_step="judge" if isinstance(intent, Auto) and trail.decision is None else None,
        default_tier=way.router.otherwise.tier,
        rules=_with_eligible(case, way.book, trail.rules),
        scorer=trail.scorer,
        judge=trail.judge,
        candidates=tuple(each for each, found in misfits.items() if found is None),
        unfit={each: found for each, found in misfits.items() if found is not None},
        facts=seen(facts),
        models=tuple(dict.fromkeys(endpoint.name for endpoint in carried_out.endpoints())),
        rule_id=plan.decision.rule_id,
        arms=tuple(exposure.label for exposure in plan.exposures),
        decided_by=decider,
        preferred=_preferred(case) if isinstance(intent, Auto) else None,
        first=_drawn_first(ctx, carried_out),
    )


def _governed(case: Case, way: Way) -> Plan | None:
    """Where operators send a request that leaves the choice to the gateway; None where they leave it open."""
    plan = way.plan or by_rules(case, way.book) or by_preferences(case)
    return None if plan is None else plan if way.by_router else _exposed(plan, way)


def _decider(governed: Plan | None, way: Way) -> Decider:
    """Who made the plan of a request that leaves the choice to the gateway."""
    if governed is None:
        return Decider.STRATEGY
    if way.plan is not None:
        return Decider.EXPERIMENT
    return Decider.PREFERENCES if governed.decision.rule is None else Decider.RULE


def _preferred(case: Case) -> tuple[str, ...] | None:
    """The models that the agent type prefers and that can answer now; None for one without preferences."""
    preferences = case.ctx.snapshot.registry.preferences.get(case.ctx.hints.agent_type or "")
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


def _exposed(plan: Plan, way: Way) -> Plan:
    return plan if way.exposure is None else msgspec.structs.replace(plan, exposures=(*plan.exposures, way.exposure))


def _rolled_out(ctx: RequestContext, plan: Plan, needs: Needs) -> Plan:
    """The plan with canaries where the caller meets their production models; an endpoint's id means that one."""
    rollouts, table, model = ctx.snapshot.rollouts, ctx.snapshot.table, ctx.envelope.model
    if not rollouts or (model in table.by_id and model not in table.by_name):
        return plan
    return rollouts.applied(plan, needs, caller=ctx.stable_id() or ctx.request_id)


def _with_eligible(case: Case, book: Rulebook, trials: tuple[RuleTrial, ...]) -> tuple[RuleTrial, ...]:
    """The trials, and for each rule of the API that matched which of its targets can answer now."""
    rules = {rule.id: rule for rule in book.rules if rule.targets}
    return tuple(
        msgspec.structs.replace(trial, eligible=tuple(name for name, _ in eligible_targets(case, rules[trial.id])))
        if trial.matched and trial.targets
        else trial
        for trial in trials
    )


def _intent(ctx: RequestContext) -> Intent:
    intent = read_intent(ctx.envelope.model, ctx.snapshot.catalog)
    if isinstance(intent, Auto) and ctx.surface is Surface.EMBEDDINGS:
        raise BadRequest("Embeddings need a tier or a model by name, not 'auto'.", param="model")
    return intent


def _named(ctx: RequestContext, intent: TierIntent | Exact, needs: Needs) -> Plan:
    """The plan for what the client named."""
    snapshot = ctx.snapshot
    if isinstance(intent, Exact):
        return plan_exact(snapshot.table.pool_of(intent.ids), needs)
    return _by_tier(ctx, tier_decision(intent), needs)


def _by_tier(ctx: RequestContext, decision: Decision, needs: Needs) -> Plan:
    return plan_tiers(decision, needs, ctx.snapshot.table, ctx.snapshot.config.routing.tier_fallback)


def _needs(ctx: RequestContext, facts: Facts | None) -> Needs:
    demands, agent_type = ctx.snapshot.demands, ctx.hints.agent_type
    demand = demands.get(agent_type) if demands and agent_type is not None else None
    if facts is None or not ctx.snapshot.gated:
        return Needs(None, ctx.envelope.token_limit, ctx.hints.local_only, ctx.scope, demand)
    if facts.conversation is not None:  # needs live as long as the answer does, and the words need not
        facts = msgspec.structs.replace(facts, conversation=None)
    return Needs(facts, ctx.envelope.token_limit, ctx.hints.local_only, ctx.scope, demand)


def _inquiry(ctx: RequestContext, facts: Facts) -> Inquiry:
    hints, policy = ctx.hints, ctx.policy
    if hints.timeout_s is None and policy is None:
        return Inquiry(facts, hints)
    by_s = math.inf if hints.timeout_s is None else ctx.started_s + hints.timeout_s
    return Inquiry(facts, hints, by_s, () if policy is None else policy.compliance)


def _facts(ctx: RequestContext, *, words: bool) -> Facts:
    hints = ctx.hints
    return read_facts(
        ctx.surface,
        ctx.envelope.fields,
        importance=hints.importance or ctx.snapshot.config.routing.default_importance,
        task_type=hints.task_type,
        model=ctx.envelope.model,
        headers=ctx.rule_headers(),
        stream=ctx.stream,
        words=words,
        about=About(
            agent_type=hints.agent_type or "",
            workspace=ctx.workspace,
            request_type=None if ctx.request_type is None else RequestType(ctx.request_type),
            user_tier=hints.user_tier,
            metadata=ctx.rule_metadata(),
        ),
    )
