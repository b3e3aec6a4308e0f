"""What a scrape reads of the running gateway: it asks, and changes nothing."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from octoroute_py.app.governing import Governing
from octoroute_py.app.ledger import Ledger
from octoroute_py.core.clock import Monotonic
from octoroute_py.core.rollout import RolloutStatus
from octoroute_py.core.words import TIERS
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.model_health import known_scores
from octoroute_py.telemetry.live_rows import BreakerRow, CanaryRow, LiveRows
from octoroute_py.telemetry.model_counts import GATEWAY_POOL
from octoroute_py.tiers.endpoint import Endpoint

SAME_SCRAPE_S: Final = 0.5
"""Whoever scrapes this soon after somebody else is told the same uptime, so that scrapes at once are the same."""
LONGEST_S: Final = 5.0
"""And how long that may go on."""


class Uptime:
    """Whole seconds since the start, the same for all who ask at about the same time."""

    def __init__(self, monotonic: Monotonic) -> None:
        self._monotonic = monotonic
        self._started = self._asked = self._told = monotonic()

    def read(self) -> float:
        """The seconds."""
        now = self._monotonic()
        if now - self._asked >= SAME_SCRAPE_S or now - self._told >= LONGEST_S:
            self._told = now
        self._asked = now
        return float(int(self._told - self._started))


class ScrapeView:
    """Reads it, from whatever thread."""

    def __init__(
        self,
        gateway: Callable[[], Gateway],
        *,
        governing: Governing,
        ledger: Ledger,
        monotonic: Monotonic,
    ) -> None:
        self._gateway = gateway
        self._governing = governing
        self._ledger = ledger
        self._monotonic = monotonic
        self._uptime = Uptime(monotonic)

    def read(self) -> LiveRows:
        """Everything as it is now."""
        now, gateway = self._monotonic(), self._gateway()
        table, registry = gateway.snapshot.table, gateway.snapshot.registry
        names = {*(each.name for each in table.endpoints), *registry.models}
        live = [each for each in registry.canaries.values() if each.status.is_live]
        states = Counter(each.status.value for each in registry.canaries.values())
        return LiveRows(
            breakers=self._breakers(now),
            available=[(each.id, each.unavailable(now) is None) for each in table.endpoints],
            up=[(each.id, each.out(now) is None) for each in table.endpoints],
            health=known_scores(self._governing.health.current, names),
            pools=_pools(gateway, table.endpoints),
            drained=sum(each.live.drained for each in table.endpoints),
            models=_models(gateway),
            rules=_rules(gateway),
            canary_states={status.value: states[status.value] for status in RolloutStatus},
            canaries=[
                CanaryRow(
                    each.id, each.production_model_id, each.canary_model_id, float(self._governing.shares.of(each.id))
                )
                for each in live
            ],
            budgets=self._ledger.budgets(gateway.policies),
            keeping=self._ledger.keeping(),
            uptime_s=self._uptime.read(),
        )

    def _breakers(self, now: float) -> list[BreakerRow]:
        table = self._gateway().snapshot.table
        rows = [
            BreakerRow("endpoint", e.id, e.breaker.state(now), e.breaker.trips, e.breaker.failures)
            for e in table.endpoints
        ]
        rows += [BreakerRow("tier", t.value, table.tier_state(t, now), table.tier_trips(t)) for t in TIERS]
        judge = self._gateway().snapshot.router.judge
        if judge is not None:
            own = judge.breaker
            rows.append(BreakerRow("judge", "judge", own.state(now), own.trips, own.failures))
        return rows


def _pools(gateway: Gateway, endpoints: tuple[Endpoint, ...]) -> list[tuple[str, float]]:
    """The share in use, for whatever has a limit on its requests at once."""
    pools = [
        (each.id, each.in_flight / each.config.max_in_flight)
        for each in endpoints
        if each.config.max_in_flight is not None
    ]
    whole = gateway.config.limits.max_in_flight
    return pools if whole is None else [*pools, (GATEWAY_POOL, gateway.in_flight / whole)]


def _models(gateway: Gateway) -> dict[str, int]:
    """How many models have which status; those of the file are active."""
    counts = Counter(each.status.value for each in gateway.snapshot.registry.models.values())
    written = {each.name for each in gateway.config.endpoints if each.registered is None}
    counts["active"] += len(written)
    return dict(sorted(counts.items()))


def _rules(gateway: Gateway) -> dict[str, int]:
    """How many rules of operators are asked, and how many are switched off."""
    written = [rule.enabled for rule in gateway.config.routing.rules]
    enabled = written + [rule.enabled for rule in gateway.snapshot.registry.rules.values()]
    return {"true": sum(enabled), "false": len(enabled) - sum(enabled)}
