"""How the gateway is doing, in one look: endpoints by health, rules, and the last hour."""

import enum
from collections.abc import Iterable, Sequence

import msgspec

from octoroute_py.config.schema import RuleConfig
from octoroute_py.core.rules import RoutingRule
from octoroute_py.core.words import BreakerState
from octoroute_py.manage.reports import Figures
from octoroute_py.tiers.endpoint import Endpoint


class Health(enum.StrEnum):
    """How an endpoint is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class ModelCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Configured endpoints; `active` ones are those that are not out."""

    total: int
    active: int
    healthy: int
    degraded: int
    unhealthy: int


class RuleCounts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The rules of operators, of the file and of the API; the built-in ones come after them and are not counted."""

    total_rules: int
    enabled_rules: int


class Performance(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last hour: milliseconds, and 0 to 100; None where nothing was measured."""

    requests_last_hour: int
    average_latency: float | None
    success_rate: float | None


class Overview(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """`GET /api/health/overview`; the lists hold endpoint ids. `performance` is None while nothing is kept."""

    models: ModelCounts
    routing: RuleCounts
    performance: Performance | None
    healthy_models: list[str]
    degraded_models: list[str]
    unhealthy_models: list[str]


def health_of(endpoint: Endpoint, now: float) -> Health:
    """UNHEALTHY: out, whatever the cause. DEGRADED: it may be tried, but has not proved itself since its last trouble.

    That is a breaker that is half open, a cool-down or failed credential that ran out without an answer since, or a
    probe that failed, though not often enough to take it out.
    """
    if endpoint.out(now) is not None:
        return Health.UNHEALTHY
    live = endpoint.live
    if endpoint.breaker.state(now) is BreakerState.HALF_OPEN or live.penalised or live.probe_failures:
        return Health.DEGRADED
    return Health.HEALTHY


def overview(
    endpoints: Iterable[Endpoint], *, rules: Sequence[RuleConfig | RoutingRule], last_hour: Figures | None, now: float
) -> Overview:
    """Everything in one look; `now` is monotonic."""
    ids: dict[Health, list[str]] = {health: [] for health in Health}
    for endpoint in endpoints:
        ids[health_of(endpoint, now)].append(endpoint.id)
    healthy, degraded, unhealthy = (len(ids[health]) for health in Health)
    return Overview(
        models=ModelCounts(
            total=healthy + degraded + unhealthy,
            active=healthy + degraded,
            healthy=healthy,
            degraded=degraded,
            unhealthy=unhealthy,
        ),
        routing=RuleCounts(total_rules=len(rules), enabled_rules=sum(rule.enabled for rule in rules)),
        performance=None if last_hour is None else _performance(last_hour),
        healthy_models=ids[Health.HEALTHY],
        degraded_models=ids[Health.DEGRADED],
        unhealthy_models=ids[Health.UNHEALTHY],
    )


def _performance(figures: Figures) -> Performance:
    return Performance(
        requests_last_hour=figures.total_requests,
        average_latency=figures.average_latency,
        success_rate=figures.success_rate,
    )
