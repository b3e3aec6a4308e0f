"""Why a request goes where it goes: the decision with every rule that was considered."""

import msgspec

from octoroute_py.config.schema import Config, EndpointConfig, RuleConfig
from octoroute_py.core.clock import Wall
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.default import default_tier
from octoroute_py.routing.intent import Auto, Catalog, Exact, Intent, explicit_decision, read_intent
from octoroute_py.routing.rules import Rule, compile_rules
from octoroute_py.routing.strategies import make_router
from octoroute_py.tiers.eligibility import Misfit, misfit


class RuleTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One rule held against the facts; `failed` is the first condition that did not hold, `wanted` what it asks for.

    Several rules may match; the first of them decided.
    """

    name: str
    tier: Tier
    own: bool
    matched: bool
    failed: str | None = None
    wanted: str | None = None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what led to it. `candidates` and `unfit` are endpoint ids; health is not looked at.

    `rules` is empty when the client named a tier or an endpoint: then no rule is asked.
    """

    tier: Tier
    strategy: Strategy
    reason: Reason
    rule: str | None
    confidence: float | None
    default_tier: Tier
    rules: tuple[RuleTrial, ...]
    candidates: tuple[str, ...]
    unfit: dict[str, Misfit]


async def explain(config: Config, facts: Facts, *, wall: Wall, local_only: bool = False) -> Explanation:
    """Decides as for a live request and tells why; no tier is called.

    Raises NotFound when `facts.model` is no known name, ConfigError when the config's strategy cannot be used.
    """
    now = wall()
    catalog = Catalog(config.endpoints)
    intent = read_intent(facts.model, catalog)
    decision = explicit_decision(intent, catalog) or await make_router(config, lambda: now).route(facts)
    eligible = [endpoint for endpoint in config.endpoints if _asked_for(endpoint, intent, tier=decision.tier)]
    misfits = {endpoint.id: _misfit(endpoint, facts, local_only=local_only) for endpoint in eligible}
    return Explanation(
        tier=decision.tier,
        strategy=decision.strategy,
        reason=decision.reason,
        rule=decision.rule,
        confidence=decision.confidence,
        default_tier=default_tier(config.routing, config.endpoints),
        rules=try_rules(config.routing.rules, facts, now=now) if isinstance(intent, Auto) else (),
        candidates=tuple(each for each, found in misfits.items() if found is None),
        unfit={each: found for each, found in misfits.items() if found is not None},
    )


def try_rules(own: tuple[RuleConfig, ...], facts: Facts, *, now: float) -> tuple[RuleTrial, ...]:
    """Every rule held against the facts at wall-clock time `now`, in the order they are asked; disabled ones last."""
    tried = [_try(rule, facts, now=now) for rule in compile_rules(own)]
    disabled = [
        RuleTrial(name=rule.name, tier=rule.tier, own=True, matched=False, failed="enabled", wanted="being enabled")
        for rule in own
        if not rule.enabled
    ]
    return (*tried, *disabled)


def _try(rule: Rule, facts: Facts, *, now: float) -> RuleTrial:
    failed = rule.fails(facts, now)
    return RuleTrial(
        name=rule.name,
        tier=rule.tier,
        own=rule.own,
        matched=failed is None,
        failed=failed.key if failed is not None else None,
        wanted=failed.wants if failed is not None else None,
    )


def _asked_for(endpoint: EndpointConfig, intent: Intent, *, tier: Tier) -> bool:
    return endpoint.id in intent.ids if isinstance(intent, Exact) else endpoint.tier is tier


def _misfit(endpoint: EndpointConfig, facts: Facts, *, local_only: bool) -> Misfit | None:
    return misfit(endpoint, needs=facts.needs, tokens=facts.tokens, output_tokens=None, local_only=local_only)
