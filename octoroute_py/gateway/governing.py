"""Where operators send a request that leaves the choice to the gateway: by rules, then by its agent type's preferences.

Both may leave it to the configured strategy. The same functions answer live requests and dry runs.
"""

import msgspec

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.decision import Decision
from octoroute_py.core.rules import AgentPreferences, RuleTarget
from octoroute_py.core.words import Reason, Strategy
from octoroute_py.features.facts import Facts
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.plan import Needs, Plan, fitted, plan_tiers
from octoroute_py.gateway.targets import able, in_flight
from octoroute_py.routing.rulebook import Rule, Rulebook
from octoroute_py.routing.sticky import fraction, share_of
from octoroute_py.routing.targets import ordered
from octoroute_py.tiers.pool import Pool

_CANARY = (ModelStatus.CANARY,)


class Case(msgspec.Struct, frozen=True):
    """A request that somebody decides about: what is known of it, and what it needs of an endpoint."""

    ctx: RequestContext
    facts: Facts
    needs: Needs


def by_rules(case: Case, book: Rulebook) -> Plan | None:
    """The plan of the first rule that matches and has an eligible target; None when there is none.

    A rule of the file names a tier, which always counts as eligible. Raises as `plan_tiers`.
    """
    for rule in book.matching(case.facts, case.ctx.wall()):
        plan = plan_of(case, rule)
        if plan is not None:
            return plan
    return None


def plan_of(case: Case, rule: Rule) -> Plan | None:
    """Where a rule that matches sends the request; None when none of its targets is eligible."""
    snapshot = case.ctx.snapshot
    if rule.decision is not None:
        return plan_tiers(rule.decision, case.needs, snapshot.table, snapshot.config.routing.tier_fallback)
    pools = tuple(pool for _, pool in eligible_targets(case, rule))
    if not pools:
        return None
    decision = Decision(pools[0].tier, Strategy.RULE, Reason.RULE_MATCHED, rule=rule.name, rule_id=rule.id)
    return fitted(decision, pools, case.needs)


def eligible_targets(case: Case, rule: Rule) -> tuple[tuple[str, Pool], ...]:
    """The targets of a rule that can answer now, by name and in the order they are tried for this request."""
    ctx = case.ctx
    found: dict[str, Pool] = {}
    now = ctx.monotonic()

    def eligible(target: RuleTarget, canary: bool) -> bool:
        pool = ctx.snapshot.targets.pool(target.model_id, also=_CANARY if canary else ())
        if pool is None or not able(pool, case.needs, stream=ctx.stream, now=now):
            return False
        most = target.max_concurrent_requests
        if most is not None and in_flight(pool) >= most:
            return False
        found[target.model_id] = pool
        return True

    split, draw, share = rule.split, 0.0, 0.0
    if split is not None:
        share = share_of(f"rule:{rule.id}", ctx.stable_id() or ctx.request_id)
    elif len(rule.targets) > 1:
        draw = fraction(f"rule:{rule.id}", ctx.request_id)
    order = ordered(rule.targets, split, eligible=eligible, draw=draw, share=share)
    return tuple((target.model_id, found[target.model_id]) for target in order)


def by_preferences(case: Case) -> Plan | None:
    """The models that the request's agent type prefers, then those it falls back to; None when none of them is able."""
    preferences = case.ctx.preferences
    if preferences is None:
        return None
    pools = tuple(pool for _, pool in preferred(case, preferences))
    if not pools:
        return None
    return fitted(Decision(pools[0].tier, Strategy.RULE, Reason.POLICY), pools, case.needs)


def preferred(case: Case, preferences: AgentPreferences) -> list[tuple[str, Pool]]:
    """Preferred models in their order, then fallbacks, as far as they are able to take the request now."""
    ctx = case.ctx
    now = ctx.monotonic()
    named = dict.fromkeys((*preferences.preferred_models, *preferences.fallback_models))
    found = [(name, ctx.snapshot.targets.pool(name)) for name in named]
    return [
        (name, pool) for name, pool in found if pool is not None and able(pool, case.needs, stream=ctx.stream, now=now)
    ]
