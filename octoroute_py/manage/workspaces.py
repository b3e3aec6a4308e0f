"""The configuration of workspaces: kept, told and forgotten, with a row in the audit for every change."""

from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.problems import did_you_mean
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.allowance import NO_BUDGETS, WorkspacePolicy
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.core.words import TIERS
from octoroute_py.ledger.pricing import has_prices
from octoroute_py.manage.audit import actor_of
from octoroute_py.manage.store import Store
from octoroute_py.storage import workspaces
from octoroute_py.storage.workspaces import WorkspaceRow
from octoroute_py.tiers.eligibility import complies, permitted

_MOST_LISTED = 20


class Workspaces:
    """The workspaces of a store.

    `endpoints` gives those of the configuration in force, `models` the ids of registered models, whether they serve now
    or not; `changed` is awaited after every change, so that it is in force before whoever made it hears of it.
    Everything raises Refused 503 when the database cannot be used.
    """

    def __init__(
        self,
        store: Store,
        *,
        endpoints: Callable[[], Sequence[EndpointConfig]],
        wall: Wall,
        changed: Callable[[], Awaitable[None]],
        models: Callable[[], Collection[str]] = tuple,
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._models = models
        self._wall = wall
        self._changed = changed

    async def put(self, workspace: str, policy: WorkspacePolicy, *, by: Principal) -> WorkspaceRow:
        """Put the policy in the place of whatever the workspace had.

        Raises BadRequest for a restriction that names nothing there is.
        """
        policy = self._meant(policy)
        at_ms, actor = self._now_ms(), actor_of(by)
        row = await self._store.write(
            lambda transaction: workspaces.put(transaction, workspace, policy, at_ms=at_ms, actor=actor)
        )
        await self._changed()
        return row

    async def get(self, workspace: str) -> WorkspaceRow:
        """The workspace's configuration. Raises NotFound for one without."""
        row = await self._store.read(lambda transaction: workspaces.get(transaction, workspace))
        if row is None:
            raise _unknown()
        return row

    async def page(
        self, *, among: Collection[str] | None, limit: int, offset: int
    ) -> tuple[Sequence[WorkspaceRow], int]:
        """Configured workspaces by id, those of `among` only unless that is None, and how many there are."""
        return await self._store.read(
            lambda transaction: workspaces.page(transaction, among=among, limit=limit, offset=offset)
        )

    async def remove(self, workspace: str, *, by: Principal) -> None:
        """Forget the workspace's configuration: nothing limits it any more. Raises NotFound for one without."""
        at_ms, actor = self._now_ms(), actor_of(by)
        existed = await self._store.write(
            lambda transaction: workspaces.remove(transaction, workspace, at_ms=at_ms, actor=actor)
        )
        if not existed:
            raise _unknown()
        await self._changed()

    def warnings(self, policy: WorkspacePolicy) -> list[str]:
        """What whoever wrote this policy may not expect of it."""
        endpoints = self._endpoints()
        found = [
            f"{name} is kept and told back; the gateway cannot enforce it."
            for name, given in (
                ("minQualityScore", policy.min_quality_score is not None),
                ("requireHumanReview", policy.require_human_review),
            )
            if given
        ]
        gone = self._strange(policy)
        if gone:
            found.append(f"modelRestrictions names what there is no more: {_listed(gone)}.")
        allowed = [endpoint for endpoint in endpoints if permitted(policy, endpoint)]
        if not allowed:
            found.append("No model may serve this workspace: every request of it is refused.")
        tagless = [tag for tag in policy.compliance if not any(complies((tag,), endpoint) for endpoint in endpoints)]
        if tagless:
            found.append(f"No model has, as its 'compliance' in the configuration, {_listed(tagless)}.")
        unpriced = [endpoint.id for endpoint in allowed if not has_prices(endpoint)]
        if unpriced and policy.budgets != NO_BUDGETS:
            found.append(f"budgetLimits do not count what has no price in the configuration: {_listed(unpriced)}.")
        return found

    def _meant(self, policy: WorkspacePolicy) -> WorkspacePolicy:
        """The policy with tiers written as they are named. Raises BadRequest for a name that nothing has."""
        if policy.restrictions is None:
            return policy
        tiers = {tier.value for tier in TIERS}
        words = (word.lower() if word.lower() in tiers else word for word in policy.restrictions)
        policy = msgspec.structs.replace(policy, restrictions=tuple(dict.fromkeys(words)))
        strange = self._strange(policy)
        if strange:
            hint = did_you_mean(strange[0], self._names()) if len(strange) == 1 else None
            told = f"modelRestrictions names no tier and no model: {_listed(strange)}"
            raise BadRequest(f"{told}; {hint}" if hint else f"{told}.", param="modelRestrictions")
        return policy

    def _names(self) -> dict[str, None]:
        words = [word for endpoint in self._endpoints() for word in (endpoint.name, endpoint.id)]
        return dict.fromkeys((*(tier.value for tier in TIERS), *words, *self._models()))

    def _strange(self, policy: WorkspacePolicy) -> list[str]:
        known = self._names()
        return [word for word in policy.restrictions or () if word not in known]

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)


def _listed(words: Sequence[str]) -> str:
    told = ", ".join(f"'{word}'" for word in words[:_MOST_LISTED])
    return told if len(words) <= _MOST_LISTED else f"{told} and {len(words) - _MOST_LISTED} more"


def _unknown() -> NotFound:
    return NotFound("There is no such workspace.", code="not_found")
