"""Where a request may go: its tier, the order of the others, and which endpoints could serve it at all (contract §4).

Pure but for the router's own decision; health is not looked at here.
"""

from collections.abc import Callable, Iterable

import msgspec

from octoroute_py.config.schema import EndpointConfig, TierFallback
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import BadRequest, GatewayError, Refused
from octoroute_py.core.words import TIERS, Reason, Strategy, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.tiers.eligibility import Misfit, misfit
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.table import TierTable, plan

Fits = Callable[[Endpoint], bool]

_REASON = {
    Misfit.LOCATION: Reason.LOCAL_ONLY,
    Misfit.CAPABILITY: Reason.CAPABILITY,
    Misfit.CONTEXT_WINDOW: Reason.CONTEXT_OVERFLOW,
}
_NO_FIT_RETRY_S = 60.0


class Plan(msgspec.Struct, frozen=True):
    """Tiers in the order they are tried, or the exact endpoints; `fits` None means every endpoint could serve it."""

    decision: Decision
    tiers: tuple[Tier, ...]
    exact: tuple[Endpoint, ...] | None = None
    fits: Fits | None = None


class Needs(msgspec.Struct, frozen=True):
    """What a request asks of an endpoint. `output_tokens` is the client's own token limit."""

    facts: Facts | None
    output_tokens: int | None
    local_only: bool

    def misfit(self, config: EndpointConfig) -> Misfit | None:
        """What keeps this endpoint from serving the request, or None."""
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


def plan_tiers(decision: Decision, needs: Needs, table: TierTable, fallback: TierFallback) -> Plan:
    """The decided tier, or the next one up where something fits, and the tiers to fall back to.

    Raises 400 `context_length_exceeded` when only context windows stand in the way everywhere, else 503.
    """
    if needs.facts is None and not needs.local_only:
        return Plan(decision, plan(decision.tier, fallback))
    first: Misfit | None = None
    for tier in TIERS[TIERS.index(decision.tier) :]:
        misfits = {needs.misfit(endpoint.config) for endpoint in table.of(tier)}
        if None in misfits:
            if first is not None:
                decision = msgspec.structs.replace(decision, tier=tier, reason=_REASON[first])
            return Plan(decision, plan(tier, fallback), fits=_fits(needs))
        first = first or _worst(misfits)
    raise _nothing_fits(needs, (e for tier in TIERS for e in table.of(tier)))


def plan_exact(endpoints: tuple[Endpoint, ...], needs: Needs) -> Plan:
    """The named endpoint and its replicas, no other."""
    decision = Decision(endpoints[0].tier, Strategy.RULE, Reason.EXPLICIT_ENDPOINT)
    if all(needs.misfit(endpoint.config) is not None for endpoint in endpoints):
        raise _nothing_fits(needs, endpoints)
    return Plan(decision, (endpoints[0].tier,), exact=endpoints, fits=_fits(needs))


def _fits(needs: Needs) -> Fits:
    return lambda endpoint: needs.misfit(endpoint.config) is None


def _worst(misfits: Iterable[Misfit | None]) -> Misfit:
    found = set(misfits)
    return next(m for m in (Misfit.LOCATION, Misfit.CAPABILITY, Misfit.CONTEXT_WINDOW) if m in found)


def _nothing_fits(needs: Needs, endpoints: Iterable[Endpoint]) -> GatewayError:
    found = {needs.misfit(endpoint.config) for endpoint in endpoints}
    if found == {Misfit.CONTEXT_WINDOW}:
        return BadRequest(
            "The prompt and the asked output are longer than the context window of every model that may answer.",
            code="context_length_exceeded",
            param="messages",
        )
    why = "is local" if _worst(found) is Misfit.LOCATION else "has what this request needs"
    return Refused(f"No model that may answer {why}.", code="no_endpoint_available", retry_after_s=_NO_FIT_RETRY_S)
