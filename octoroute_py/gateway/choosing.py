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
from octoroute_py.gateway.governing import Case, by_preferences, by_rules
from octoroute_py.gateway.grounds import Grounds, code_in, kept_facts, without_words
from octoroute_py.gateway.plan import Needs, Plan, narrowed, plan_exact, plan_tiers
from octoroute_py.gateway.ways import Way, way_of
from octoroute_py.routing.intent import Auto, Exact, Intent, TierIntent, read_intent, tier_decision
from octoroute_py.routing.router import Inquiry, Notes

_OF_A_JUDGE: Final = frozenset({Reason.LLM_JUDGED, Reason.JUDGE_FAILED})


async def choose(ctx: RequestContext) -> Plan:
    """Where a request that has been read may go. Raises the GatewayError the client is to get."""
    snapshot = ctx.snapshot
    intent = intent_of(ctx)
    if not isinstance(intent, Auto):
        return _named(ctx, intent)
    facts = facts_of(ctx, words=snapshot.reads_words)
    bare, has_code = without_words(facts), code_in(facts)
    case = Case(ctx, facts, needs_of(ctx, bare))
    way = way_of(case)
    governed = plan = governed_plan(case, way)
    decision = notes = None
    if plan is None:
        router = way.router
        notes = Notes() if router.reads_words else None
        ctx.judged = router.judge is not None  # whoever leaves or fails now may have had it asked
        decision = await router.route(inquiry_of(ctx, facts, notes))
        ctx.judged = decision.reason in _OF_A_JUDGE
        plan = exposed(tier_plan(ctx, decision, case.needs), way)
    plan = rolled_out(ctx, plan, case.needs)
    kept = kept_facts(bare, facts, way.book)
    ctx.grounds = Grounds(snapshot, way, decision, governed, plan, case.needs, kept, has_code, notes, ctx.wall())
    return narrowed(plan, case.needs)


def _named(ctx: RequestContext, intent: TierIntent | Exact) -> Plan:
    """The plan for what the client named; looks at the request only where endpoints are not all alike."""
    snapshot, facts, has_code = ctx.snapshot, None, None
    if snapshot.gated:
        read = facts_of(ctx, words=False)
        facts, has_code = without_words(read), code_in(read)
    needs = needs_of(ctx, facts)
    plan = rolled_out(ctx, named_plan(ctx, intent, needs), needs)
    ctx.grounds = Grounds(snapshot, None, None, None, plan, needs, facts, has_code, None, ctx.wall())
    return narrowed(plan, needs)


def governed_plan(case: Case, way: Way) -> Plan | None:
    """Where operators send a request that leaves the choice to the gateway; None where they leave it open."""
    plan = way.plan or by_rules(case, way.book) or by_preferences(case)
    return None if plan is None else plan if way.by_router else exposed(plan, way)


def exposed(plan: Plan, way: Way) -> Plan:
    """The plan with the arm that led to it."""
    return plan if way.exposure is None else msgspec.structs.replace(plan, exposures=(*plan.exposures, way.exposure))


def rolled_out(ctx: RequestContext, plan: Plan, needs: Needs) -> Plan:
    """The plan with canaries where the caller meets their production models; an endpoint's id means that one."""
    rollouts = ctx.snapshot.rollouts
    if not rollouts:
        return plan
    table, model = ctx.snapshot.table, ctx.envelope.model.strip()
    if model in table.by_id and model not in table.by_name:
        return plan
    return rollouts.applied(plan, needs, caller=ctx.stable_id() or ctx.request_id)


def intent_of(ctx: RequestContext) -> Intent:
    """What the client asked for. Raises NotFound, BadRequest."""
    intent = read_intent(ctx.envelope.model, ctx.snapshot.catalog)
    if isinstance(intent, Auto) and ctx.surface is Surface.EMBEDDINGS:
        raise BadRequest("Embeddings need a tier or a model by name, not 'auto'.", param="model")
    return intent


def named_plan(ctx: RequestContext, intent: TierIntent | Exact, needs: Needs) -> Plan:
    """The plan for what the client named."""
    snapshot = ctx.snapshot
    if isinstance(intent, Exact):
        return plan_exact(snapshot.table.pool_of(intent.ids), needs)
    return tier_plan(ctx, tier_decision(intent), needs)


def tier_plan(ctx: RequestContext, decision: Decision, needs: Needs) -> Plan:
    """The plan for a tier that was decided on. Raises as `plan_tiers`."""
    return plan_tiers(decision, needs, ctx.snapshot.table, ctx.snapshot.config.routing.tier_fallback)


def needs_of(ctx: RequestContext, facts: Facts | None) -> Needs:
    """What the request asks of an endpoint."""
    demands, agent_type = ctx.snapshot.demands, ctx.hints.agent_type
    demand = demands.get(agent_type) if demands and agent_type is not None else None
    if facts is None or not ctx.snapshot.gated:
        return Needs(None, ctx.envelope.token_limit, ctx.hints.local_only, ctx.scope, demand)
    if facts.conversation is not None or facts.last_user_text:  # needs outlive the request, which its words must not
        facts = without_words(facts)
    return Needs(facts, ctx.envelope.token_limit, ctx.hints.local_only, ctx.scope, demand)


def inquiry_of(ctx: RequestContext, facts: Facts, notes: Notes | None = None) -> Inquiry:
    """The request as the strategies are asked about it."""
    hints, policy = ctx.hints, ctx.policy
    if hints.timeout_s is None and policy is None:
        return Inquiry(facts, hints, notes=notes, trail=ctx.trail)
    by_s = math.inf if hints.timeout_s is None else ctx.started_s + hints.timeout_s
    return Inquiry(facts, hints, by_s, () if policy is None else policy.compliance, notes, ctx.trail)


def facts_of(ctx: RequestContext, *, words: bool) -> Facts:
    """What is known of the request, with its words if a strategy reads them."""
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
