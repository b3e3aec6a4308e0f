"""From a request to its plan, for live requests and for explanations alike: what both ask is asked here."""

import math
from typing import Final

import msgspec

from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Reason, Surface
from octoroute_py.features.facts import Facts, read_facts
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.plan import Needs, Plan, plan_exact, plan_tiers
from octoroute_py.routing.explain import Explanation, Trail, seen, walk
from octoroute_py.routing.intent import Auto, Exact, Intent, explicit_decision, read_intent
from octoroute_py.routing.router import Inquiry

_OF_A_JUDGE: Final = frozenset({Reason.LLM_JUDGED, Reason.JUDGE_FAILED})


async def choose(ctx: RequestContext) -> Plan:
    """Where a request that has been read may go. Raises the GatewayError the client is to get."""
    snapshot = ctx.snapshot
    intent = _intent(ctx)
    if isinstance(intent, Auto):
        facts = _facts(ctx, words=snapshot.router.reads_words)
        ctx.judged = snapshot.router.judge is not None  # whoever leaves or fails now may have had it asked
        decision = await snapshot.router.route(_inquiry(ctx, facts))
        ctx.judged = decision.reason in _OF_A_JUDGE
        return plan_tiers(decision, _needs(ctx, facts), snapshot.table, snapshot.config.routing.tier_fallback)
    return _plan(ctx, intent, None, _facts(ctx, words=False) if snapshot.gated else None)


async def explain(ctx: RequestContext, *, ask_judge: bool) -> Explanation:
    """Why the request would go where `choose` sends it; no tier is called, and the judge only when asked for.

    Raises as `choose`.
    """
    snapshot = ctx.snapshot
    routing = snapshot.config.routing
    intent = _intent(ctx)
    facts = _facts(ctx, words=snapshot.router.reads_words)
    trail = Trail()
    if isinstance(intent, Auto):
        trail = await walk(
            snapshot.router,
            _inquiry(ctx, facts),
            own=routing.rules,
            judge_tier=routing.router_tier,
            now=ctx.wall(),
            ask_judge=ask_judge,
        )
    plan = _plan(ctx, intent, trail.decision or snapshot.router.otherwise, facts)
    needs = _needs(ctx, facts)
    misfits = {endpoint.id: needs.misfit(endpoint.config) for endpoint in plan.pools[0].whole.endpoints}
    return Explanation(
        tier=plan.decision.tier,
        strategy=plan.decision.strategy,
        reason=plan.decision.reason,
        rule=plan.decision.rule,
        confidence=plan.decision.confidence,
        next_step="judge" if isinstance(intent, Auto) and trail.decision is None else None,
        default_tier=snapshot.router.otherwise.tier,
        rules=trail.rules,
        scorer=trail.scorer,
        judge=trail.judge,
        candidates=tuple(each for each, found in misfits.items() if found is None),
        unfit={each: found for each, found in misfits.items() if found is not None},
        facts=seen(facts),
    )


def _intent(ctx: RequestContext) -> Intent:
    intent = read_intent(ctx.envelope.model, ctx.snapshot.catalog)
    if isinstance(intent, Auto) and ctx.surface is Surface.EMBEDDINGS:
        raise BadRequest("Embeddings need a tier or a model by name, not 'auto'.", param="model")
    return intent


def _plan(ctx: RequestContext, intent: Intent, decided: Decision | None, facts: Facts | None) -> Plan:
    """The plan for what the client named, or else for what was decided."""
    snapshot = ctx.snapshot
    needs = _needs(ctx, facts)
    if isinstance(intent, Exact):
        return plan_exact(snapshot.table.pool_of(intent.ids), needs)
    decision = explicit_decision(intent, snapshot.catalog) or decided or snapshot.router.otherwise
    return plan_tiers(decision, needs, snapshot.table, snapshot.config.routing.tier_fallback)


def _needs(ctx: RequestContext, facts: Facts | None) -> Needs:
    if facts is None or not ctx.snapshot.gated:
        return Needs(None, ctx.envelope.token_limit, ctx.hints.local_only, ctx.scope)
    if facts.conversation is not None:  # needs live as long as the answer does, and the words need not
        facts = msgspec.structs.replace(facts, conversation=None)
    return Needs(facts, ctx.envelope.token_limit, ctx.hints.local_only, ctx.scope)


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
    )
