"""From the names in rules, preferences and deployments to the endpoints that answer for them in a snapshot."""

from collections.abc import Container

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.words import TIERS
from octoroute_py.gateway.plan import Needs
from octoroute_py.routing.intent import Catalog
from octoroute_py.tiers.pool import Pool
from octoroute_py.tiers.table import TierTable

_TIERS = {tier.value: tier for tier in TIERS}


class Targets:
    """What each name leads to; the configured names win, as for clients."""

    __slots__ = ("_catalog", "_table")

    def __init__(self, catalog: Catalog, table: TierTable) -> None:
        self._catalog = catalog
        self._table = table

    def pool(self, name: str, *, also: Container[ModelStatus] = ()) -> Pool | None:
        """The endpoints of a tier, a name, an id or a registered model, as far as it may be sent to.

        None for a name that nothing has and for a model that is neither active nor of a status in `also`.
        """
        tier = _TIERS.get(name)
        if tier is not None:
            return self._table.pool(tier)
        found = self._catalog.find(name)
        if found is None:
            return None
        pool = self._table.pool_of(found.ids)
        registered = pool.endpoints[0].config.registered
        if registered is None or registered.status is ModelStatus.ACTIVE or registered.status in also:
            return pool
        return None


def able(pool: Pool, needs: Needs, *, stream: bool, now: float) -> bool:
    """Whether an endpoint of the pool could take the request at this moment."""
    quality = needs.quality
    if quality is None:
        return needs.part_of(pool).has_any(now=now)
    return needs.part_of(pool).has_any(
        now=now, fits=lambda each: quality.shortfall(each.live.recent, stream=stream, now=now) is None
    )


def in_flight(pool: Pool) -> int:
    """Attempts under way at all endpoints of the pool."""
    return sum([endpoint.live.in_flight for endpoint in pool.endpoints])
