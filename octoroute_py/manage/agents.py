"""What each agent type wants to be answered by: kept, told and forgotten, and what comes of it at this moment."""

import enum
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.clock import Monotonic
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rules import AgentPreferences
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.references import TIER_NAMES, doubts, named, preferences_as_meant, refuse_strange
from octoroute_py.storage.registry import Document
from octoroute_py.tiers.demands import Demand, demand_of, has_capability
from octoroute_py.tiers.eligibility import Shortfall
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.table import TierTable

MOST_TYPES: Final = 2_000
"""So many agent types can have preferences."""
_NOTHING_ASKED: Final = Demand()
_TOO_BAD: Final = {
    Shortfall.MAX_LATENCY: "its answers took longer than maxLatency in the last minutes",
    Shortfall.MIN_SUCCESS_RATE: "it succeeded less often than minSuccessRate in the last minutes",
}


class Part(enum.StrEnum):
    """What a model is to an agent type."""

    PREFERRED = "preferred"
    FALLBACK = "fallback"


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A model that an agent type may be answered by; `id` is what a client asks for.

    `registered` tells models of the API from those of the configuration; `left_out` says in words why requests of the
    agent type do not go there now, if they do not.
    """

    id: str
    tier: Tier
    registered: bool
    status: ModelStatus
    part: Part | None = None
    endpoints: tuple[Endpoint, ...] = ()
    left_out: str | None = None


class Now(NamedTuple):
    """What is in force: the endpoints as they serve, and what is registered."""

    table: TierTable
    registry: Registry


class Agents:
    """The preferences of a registry. Everything that is kept raises Refused 503 when the database cannot be used."""

    def __init__(
        self, documents: Documents, *, now: Callable[[], Now], monotonic: Monotonic, most: int = MOST_TYPES
    ) -> None:
        self._documents = documents
        self._now = now
        self._monotonic = monotonic
        self._most = most

    async def every(self) -> list[Document]:
        """All preferences, in the order they were made."""
        return await self._documents.every(Kind.PREFERENCES)

    async def get(self, agent_type: str) -> Document:
        """The preferences of an agent type. Raises NotFound for one without."""
        return await self._documents.get(Kind.PREFERENCES, agent_type)

    async def put(self, preferences: AgentPreferences, *, expect: int | None, by: Principal) -> Document:
        """Put the preferences in the place of whatever the agent type had, at revision `expect` (None: whichever).

        Raises BadRequest: 400 for a name that nothing has, 409 `limit_reached`, 412; NotFound for a revision of
        nothing.
        """
        preferences = preferences_as_meant(preferences)
        id_ = preferences.agent_type

        def work(desk: Desk) -> Document:
            if expect is not None:
                desk.expected(Kind.PREFERENCES, id_, expect)
            elif desk.count(Kind.PREFERENCES) >= self._most and desk.get(Kind.PREFERENCES, id_) is None:
                raise BadRequest(
                    f"{self._most} agent types have preferences already.", status=409, code="limit_reached"
                )
            refuse_strange(named(preferences), desk, [each.config for each in self._now().table.endpoints])
            return desk.put(Kind.PREFERENCES, id_, preferences, action="preferences.set")

        return await self._documents.change(work, by=by)

    async def remove(self, agent_type: str, *, expect: int | None, by: Principal) -> None:
        """Forget the preferences of an agent type. Raises NotFound, BadRequest 412."""
        await self._documents.change(
            lambda desk: desk.remove(Kind.PREFERENCES, agent_type, action="preferences.forget", expect=expect), by=by
        )

    def warnings(self, preferences: AgentPreferences) -> list[str]:
        """What whoever wrote these preferences may not expect of them, as things are now."""
        table, registry = self._now()
        endpoints = [each.config for each in table.endpoints]
        found = list(doubts((name for _, name in named(preferences)), registry, endpoints))
        found.extend(
            f"No model has the capability '{word}': every request of this agent type is refused."
            for word in preferences.required_capabilities
            if not any(has_capability(each, word.lower()) for each in endpoints)
        )
        if preferences.performance_requirements.min_quality is not None:
            found.append("minQuality is kept and told back; the gateway cannot enforce it.")
        return found

    def models(self, agent_type: str, *, stream: bool, every: bool) -> list[Candidate]:
        """Who answers requests of the agent type at this moment, in the order of its preferences.

        `stream` says which latency counts; with `every` those are told too that are left out. Health is not looked at.
        """
        table, registry = self._now()
        preferences = registry.preferences.get(agent_type, AgentPreferences(agent_type=agent_type))
        demand = demand_of(preferences) or _NOTHING_ASKED
        now = self._monotonic()
        known = _known(table, registry)
        chosen = list(_chosen(preferences, known)) or known
        chosen += (_unwanted(each) for each in known if not _among(each, chosen))
        judged = [_judged(each, demand, stream=stream, now=now) for each in chosen]
        return [each for each in judged if every or each.left_out is None]


def _known(table: TierTable, registry: Registry) -> list[Candidate]:
    """Every model there is, cheapest tier first: those that serve, then registered ones that nothing serves for."""
    found = [
        _candidate(name, [each for each in endpoints if each.tier is tier])
        for tier in TIERS
        for name, endpoints in table.by_name.items()
        if any(each.tier is tier for each in endpoints)
    ]
    return found + [
        Candidate(id=model.id, tier=model.tier, registered=True, status=model.status)
        for model in registry.models.values()
        if model.id not in table.by_name
    ]


def _candidate(id_: str, endpoints: Sequence[Endpoint]) -> Candidate:
    registered = endpoints[0].config.registered
    return Candidate(
        id=id_,
        tier=endpoints[0].tier,
        registered=registered is not None,
        status=ModelStatus.ACTIVE if registered is None else registered.status,
        endpoints=tuple(endpoints),
    )


def _chosen(preferences: AgentPreferences, known: Sequence[Candidate]) -> Iterator[Candidate]:
    """What the preferences name, each once; a tier stands for its active models."""
    told: list[Candidate] = []
    for part, names in (
        (Part.PREFERRED, preferences.preferred_models),
        (Part.FALLBACK, preferences.fallback_models),
    ):
        for name in names:
            for each in _meaning(name, known):
                if not _among(each, told):
                    told.append(each)
                    yield msgspec.structs.replace(each, part=part)


def _meaning(name: str, known: Sequence[Candidate]) -> Sequence[Candidate]:
    """The models that a name stands for, as for clients: a name in several tiers means the cheapest of them."""
    if name in TIER_NAMES:
        return [each for each in known if each.tier.value == name and each.status is ModelStatus.ACTIVE]
    named = [each for each in known if each.id == name]
    if named:
        return named[:1]
    endpoint = next((endpoint for each in known for endpoint in each.endpoints if endpoint.id == name), None)
    return () if endpoint is None else (_candidate(name, [endpoint]),)


def _among(one: Candidate, others: Iterable[Candidate]) -> bool:
    return any((one.id, one.tier) == (other.id, other.tier) for other in others)


def _unwanted(candidate: Candidate) -> Candidate:
    return msgspec.structs.replace(candidate, left_out="it is neither preferred nor a fallback")


def _judged(candidate: Candidate, demand: Demand, *, stream: bool, now: float) -> Candidate:
    """The candidate, with why it is left out if none of its endpoints may answer."""
    if candidate.left_out is not None:
        return candidate
    if candidate.status is not ModelStatus.ACTIVE:
        return msgspec.structs.replace(candidate, left_out=f"its status is {candidate.status}")
    against = [_against(each, demand, stream=stream, now=now) for each in candidate.endpoints]
    if None in against:
        return candidate
    return msgspec.structs.replace(candidate, left_out=against[0] if against else "it has no endpoint")


def _against(endpoint: Endpoint, demand: Demand, *, stream: bool, now: float) -> str | None:
    """What an endpoint lacks, in words."""
    for word in demand.capabilities:
        if not has_capability(endpoint.config, word):
            return f"it has not the capability '{word}'"
    if not demand.cheap_enough(endpoint.config):
        return "its tokens cost more than maxCostPerToken"
    short = None if demand.quality is None else demand.quality.shortfall(endpoint.live.recent, stream=stream, now=now)
    return None if short is None else _TOO_BAD[short]
