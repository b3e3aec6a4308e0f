"""Where a request may go: its tier, the order of the others, and which endpoints could serve it at all (contract §4).

Pure but for the router's own decision; health is not looked at here.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import msgspec

from octoroute_py.config.schema import EndpointConfig, TierFallback
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import BadRequest, GatewayError, Refused
from octoroute_py.core.words import TIERS, Capability, Reason, Strategy, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.gateway.exposure import Exposure
from octoroute_py.gateway.scope import Scope
from octoroute_py.tiers.demands import Demand, strictest
from octoroute_py.tiers.eligibility import Misfit, Quality, misfit
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.pool import Pool
from octoroute_py.tiers.table import TierTable

_REASON = {
    Misfit.POLICY: Reason.POLICY,
    Misfit.LOCATION: Reason.LOCAL_ONLY,
    Misfit.CAPABILITY: Reason.CAPABILITY,
    Misfit.CONTEXT_WINDOW: Reason.CONTEXT_OVERFLOW,
    Misfit.PRICE: Reason.POLICY,
}
_GRAVEST_FIRST = (Misfit.LOCATION, Misfit.CAPABILITY, Misfit.CONTEXT_WINDOW, Misfit.PRICE, Misfit.POLICY)
"""What is told of several: an endpoint that may not be used at all says the least of the request."""
_NO_FIT_RETRY_S = 60.0
_NONE: frozenset[Capability] = frozenset()


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Pools in the order they are tried, nothing else.

    `quality` is asked of an endpoint at the moment it is picked. `exposures` are the experiments and canary deployments
    that have a part in it.
    """

    decision: Decision
    pools: tuple[Pool, ...]
    quality: Quality | None = None
    exposures: tuple[Exposure, ...] = ()

    @property
    def tiers(self) -> tuple[Tier, ...]:
        """The tier of each pool."""
        return tuple(pool.tier for pool in self.pools)

    def endpoints(self) -> Iterator[Endpoint]:
        """Every endpoint that may be tried, in order of their pools."""
        return chain.from_iterable(pool.endpoints for pool in self.pools)


class Needs(msgspec.Struct, frozen=True, gc=False):
    """What a request asks of an endpoint.

    `output_tokens` is the client's own token limit, `scope` where it may go, `demand` what its agent type asks for.
    """

    facts: Facts | None
    output_tokens: int | None
    local_only: bool
    scope: Scope | None = None
    demand: Demand | None = None

    @property
    def nothing(self) -> bool:
        """Whether every endpoint will do."""
        return self.facts is None and not self.local_only and self.scope is None and self.demand is None

    @property
    def quality(self) -> Quality | None:
        """What is asked of an endpoint as measured lately."""
        of_scope = None if self.scope is None else self.scope.quality
        return of_scope if self.demand is None else strictest(of_scope, self.demand.quality)

    def misfit(self, config: EndpointConfig) -> Misfit | None:
        """What keeps this endpoint from serving the request, or None."""
        if self.scope is not None and not self.scope.allows(config):
            return Misfit.POLICY
        if self.demand is not None and not self.demand.able(config):
            return Misfit.CAPABILITY
        if self.demand is not None and not self.demand.cheap_enough(config):
            return Misfit.PRICE
        facts = self.facts
        if facts is None and not self.local_only:
            return None
        return misfit(
            config,
            needs=facts.needs if facts is not None else frozenset(),
            tokens=facts.tokens if facts is not None else 0,
            output_tokens=self.output_tokens,
            local_only=self.local_only,
        )

    def part_of(self, pool: Pool) -> Pool:
        """Those of a pool that could serve the request: whom nothing keeps from it by `misfit`."""
        if self.scope is not None:
            pool = pool.within(self.scope.allowed)
        if self.demand is not None:
            pool = pool.meeting(self.demand)
        facts = self.facts
        if facts is None:
            return pool.able(_NONE, local_only=True).with_room(0, self.output_tokens) if self.local_only else pool
        return pool.able(facts.needs, local_only=self.local_only).with_room(facts.tokens, self.output_tokens)


def plan_tiers(decision: Decision, needs: Needs, table: TierTable, fallback: TierFallback) -> Plan:
    """The decided tier, or the next one up where something fits, and the tiers to fall back to.

    Where the request may not go that far up it is capped: the nearest tier below takes it, unless the client itself
    chose the tier. Raises 403 `permission_denied` when it may not go anywhere, 400 `context_length_exceeded` when only
    context windows stand in the way everywhere it may go, else 503.
    """
    if needs.nothing:
        return Plan(decision, table.pools(decision.tier, fallback))
    tiers = _where_to_look(decision, needs.scope, table)
    first = None if tiers[0] is decision.tier else Misfit.POLICY
    for tier in tiers:
        if needs.part_of(table.pool(tier)).endpoints:
            if first is not None:
                decision = msgspec.structs.replace(decision, tier=tier, reason=_REASON[first])
            return fitted(decision, table.pools(tier, fallback), needs)
        first = first or _worst(needs.misfit(endpoint.config) for endpoint in table.of(tier))
    raise _nothing_fits(needs, (e for tier in TIERS for e in table.of(tier)))


def plan_exact(pool: Pool, needs: Needs) -> Plan:
    """The named endpoint and its replicas, no other. Raises as `plan_tiers`."""
    endpoints = pool.endpoints
    decision = Decision(pool.tier, Strategy.RULE, Reason.EXPLICIT_ENDPOINT)
    scope = needs.scope
    if scope is not None and not pool.within(scope.allowed).endpoints:
        raise scope.denied((endpoint.config for endpoint in endpoints), "the model it asks for")
    if not needs.part_of(pool).endpoints:
        raise _nothing_fits(needs, endpoints)
    return fitted(decision, (pool,), needs)


def _where_to_look(decision: Decision, scope: Scope | None, table: TierTable) -> Sequence[Tier]:
    """The decided tier and those above it, or those below it where nothing above may be used."""
    at = TIERS.index(decision.tier)
    up = TIERS[at:]
    if scope is None:
        return up
    if decision.reason is Reason.EXPLICIT_TIER and not _may_use(scope, decision.tier, table):
        raise scope.denied((each.config for each in table.of(decision.tier)), f"the tier '{decision.tier}'")
    if any(_may_use(scope, tier, table) for tier in up):
        return up
    down = TIERS[:at][::-1]
    if any(_may_use(scope, tier, table) for tier in down):
        return down
    raise scope.denied((each.config for each in table.endpoints), "any model")


def _may_use(scope: Scope, tier: Tier, table: TierTable) -> bool:
    return bool(table.pool(tier).within(scope.allowed).endpoints)


def fitted(decision: Decision, pools: tuple[Pool, ...], needs: Needs) -> Plan:
    """The plan for these pools, of which only what the request needs is to be used (`narrowed`)."""
    return Plan(decision, pools, needs.quality)


def narrowed(plan: Plan, needs: Needs) -> Plan:
    """The plan as it is carried out: nobody is left in its pools but those that could serve the request."""
    if needs.nothing:
        return plan
    parts = [needs.part_of(pool) for pool in plan.pools]
    pools = tuple([part for part in parts if part.endpoints] or parts)
    return Plan(plan.decision, pools, plan.quality, plan.exposures)


def _worst(misfits: Iterable[Misfit | None]) -> Misfit:
    found = set(misfits)
    return next(m for m in _GRAVEST_FIRST if m in found)


def _nothing_fits(needs: Needs, endpoints: Iterable[Endpoint]) -> GatewayError:
    found = {needs.misfit(endpoint.config) for endpoint in endpoints} - {Misfit.POLICY}
    if found == {Misfit.CONTEXT_WINDOW}:
        return BadRequest(
            "The prompt and the asked output are longer than the context window of every model that may answer.",
            code="context_length_exceeded",
            param="messages",
        )
    why = "is local" if _worst(found) is Misfit.LOCATION else "has what this request needs"
    return Refused(f"No model that may answer {why}.", code="no_endpoint_available", retry_after_s=_NO_FIT_RETRY_S)
