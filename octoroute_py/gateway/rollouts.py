"""Canary deployments on live requests: for its share of callers the canary takes its production model's place.

Whatever led a request to the production model, rule, tier, preference or name, leads canary callers to the canary, and
to the production model when that fails before it has answered. Endpoint ids mean those endpoints and nothing else.
"""

from collections.abc import Callable

import msgspec

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.registry import Registry
from octoroute_py.core.rollout import CanaryDeployment, Side, arm_of
from octoroute_py.core.words import Reason
from octoroute_py.gateway.exposure import Exposure
from octoroute_py.gateway.plan import Needs, Plan
from octoroute_py.gateway.targets import Targets
from octoroute_py.routing.sticky import share_of
from octoroute_py.tiers.pool import Pool
from octoroute_py.tiers.table import TierTable

ShareOf = Callable[[str], float]
"""The percentage of callers that a deployment's canary gets now, by the deployment's id."""
_CANARY = (ModelStatus.CANARY,)


class Rollouts:
    """The active deployments of a snapshot; one whose models are not there does nothing."""

    __slots__ = ("_active", "_share_now")

    def __init__(self, registry: Registry, targets: Targets, table: TierTable, *, share_now: ShareOf) -> None:
        found = (_Rollout.of(each, targets, table) for each in registry.canaries.values())
        self._active = tuple(each for each in found if each is not None)
        self._share_now = share_now

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self._active)

    def applied(self, plan: Plan, needs: Needs, *, caller: str) -> Plan:
        """The plan with canaries where this caller, by its stable id, meets their production models."""
        for rollout in self._active:
            plan = rollout.applied(plan, needs, caller=caller, share=self._share_now(rollout.id))
        return plan


class _Rollout:
    """One deployment; the pools with the canary in them are made when they are first needed."""

    __slots__ = ("_among", "_canary", "_mixed", "_production", "_replaced", "_table", "id")

    def __init__(self, id_: str, production: Pool, canary: Pool, table: TierTable) -> None:
        self.id = id_
        self._production = production
        self._canary = canary
        self._table = table
        self._mixed: dict[Pool, Pool | None] = {}
        self._replaced = frozenset(endpoint.id for endpoint in production.endpoints)
        self._among = self._replaced.union(endpoint.id for endpoint in canary.endpoints)

    @classmethod
    def of(cls, deployment: CanaryDeployment, targets: Targets, table: TierTable) -> "_Rollout | None":
        if not deployment.status.is_live:
            return None
        production = targets.pool(deployment.production_model_id)
        canary = targets.pool(deployment.canary_model_id, also=_CANARY)
        return None if production is None or canary is None else cls(deployment.id, production, canary, table)

    def applied(self, plan: Plan, needs: Needs, *, caller: str, share: float) -> Plan:
        mixed = [self._mixed_of(pool) for pool in plan.pools]
        if not any(mixed) or not needs.part_of(self._canary).endpoints:
            return plan
        if share_of(f"canary:{self.id}", caller) >= share:
            exposure = Exposure(arm_of(self.id, Side.PRODUCTION), self._among)
            return msgspec.structs.replace(plan, exposures=(*plan.exposures, exposure))
        pools = [other or pool for pool, other in zip(plan.pools, mixed, strict=True)]
        decision, first = plan.decision, mixed[0]
        if first is not None:
            only = all(endpoint.tier is self._canary.tier for endpoint in first.endpoints)
            tier = self._canary.tier if only else decision.tier
            decision = msgspec.structs.replace(decision, tier=tier, reason=Reason.EXPERIMENT)
        return msgspec.structs.replace(
            plan,
            decision=decision,
            pools=(*pools, self._production),
            exposures=(*plan.exposures, Exposure(arm_of(self.id, Side.CANARY), self._among)),
        )

    def _mixed_of(self, pool: Pool) -> Pool | None:
        """What canary callers get instead of a pool that the production model is in; None for every other."""
        if pool not in self._mixed:
            self._mixed[pool] = None
            if any(endpoint.id in self._replaced for endpoint in pool.endpoints):
                replaced = [endpoint for endpoint in pool.endpoints if endpoint.id in self._replaced]
                self._mixed[pool] = self._table.substituted(pool, replaced, self._canary.endpoints)
        return self._mixed[pool]
