"""`/api/agents`: what each agent type wants to be answered by, and by whom it is."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.types import Receive, Scope

from octoroute_py.core.catalog import ModelStatus, Words
from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.rules import AgentPreferences, ModelRef, PerformanceRequirements, Share
from octoroute_py.core.words import Role, Tier
from octoroute_py.edge.api.answer import Ready, add_routes
from octoroute_py.edge.api.documents import expected, tagged
from octoroute_py.edge.api.wire import principal_of, query, read_json, yes_or_no
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.manage.agents import Agents, Candidate, Part
from octoroute_py.manage.model_view import ModelSource
from octoroute_py.storage.registry import Document

PREFERENCES: Final = "/api/agents/{type:path}/preferences"
MODELS: Final = "/api/agents/{type:path}/models"
LONGEST_TYPE: Final = 128

Cost = Annotated[float, Meta(ge=0, le=1)]


class RequirementsOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """`performanceRequirements` in both documented spellings: `maxCost` is `maxCostPerToken`."""

    max_latency: Annotated[float, Meta(gt=0, le=86_400_000)] | None = None
    min_success_rate: Share | None = None
    max_cost_per_token: Cost | None = None
    max_cost: Cost | None = None
    min_quality: Annotated[float, Meta(ge=0, le=1000)] | None = None


class PreferencesOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What is to hold for an agent type; `agentType` may be there if it is the path's."""

    agent_type: str | None = None
    preferred_models: Annotated[tuple[ModelRef, ...], Meta(max_length=100)] = ()
    fallback_models: Annotated[tuple[ModelRef, ...], Meta(max_length=100)] = ()
    required_capabilities: Words = ()
    performance_requirements: RequirementsOrder | None = None


class RequirementsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is asked for; what is not there is not asked."""

    max_latency: float | UnsetType = UNSET
    min_success_rate: float | UnsetType = UNSET
    max_cost_per_token: float | UnsetType = UNSET
    min_quality: float | UnsetType = UNSET


class PreferencesView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The preferences; sent back they mean the same."""

    preferred_models: tuple[str, ...]
    fallback_models: tuple[str, ...]
    required_capabilities: tuple[str, ...]
    performance_requirements: RequirementsView


class AgentView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An agent type and its preferences."""

    agent_type: str
    preferences: PreferencesView
    created_at: str
    updated_at: str
    warnings: list[str] | UnsetType = UNSET


class AgentSet(AgentView, frozen=True, kw_only=True, rename="camel"):
    """What holds for an agent type from now on."""

    success: bool = True


class AgentList(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The agent types that have preferences."""

    agents: list[AgentView]
    count: int


class AgentRemoved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Whose preferences were forgotten."""

    success: bool
    agent_type: str


class AgentModel(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A model and what it is to the agent type; `id` is what a client asks for."""

    id: str
    tier: Tier
    source: ModelSource
    status: ModelStatus
    preference: Part | UnsetType = UNSET
    endpoints: list[str]
    left_out: str | UnsetType = UNSET


class AgentModels(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Who answers an agent type now, first choice first."""

    agent_type: str
    models: list[AgentModel]
    count: int


class AgentRoutes:
    """The routes of agent types, which belong to the whole gateway."""

    def __init__(self, agents: Agents) -> None:
        self._agents = agents

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(
            table,
            ("GET", "/api/agents", self._list, Role.VIEWER, LIST),
            ("POST", PREFERENCES, self._set, Role.OPERATOR, SET),
            ("PUT", PREFERENCES, self._set, Role.OPERATOR, SET),
            ("GET", PREFERENCES, self._get, Role.VIEWER, READ),
            ("DELETE", PREFERENCES, self._delete, Role.OPERATOR, DELETE),
            ("GET", MODELS, self._models, Role.VIEWER, ACTIVE),
        )

    async def _list(self, scope: Scope, receive: Receive) -> AgentList:
        query(scope)
        found = [self._view(document) for document in await self._agents.every()]
        return AgentList(agents=found, count=len(found))

    async def _set(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        agent_type = _type_of(scope)
        preferences = _preferences(await read_json(scope, receive, PreferencesOrder), agent_type)
        document = await self._agents.put(preferences, expect=expected(scope), by=principal_of(scope))
        return tagged(AgentSet(**msgspec.structs.asdict(self._view(document))), document)

    async def _get(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        document = await self._agents.get(_type_of(scope))
        return tagged(self._view(document), document)

    async def _delete(self, scope: Scope, receive: Receive) -> AgentRemoved:
        query(scope)
        agent_type = _type_of(scope)
        await self._agents.remove(agent_type, expect=expected(scope), by=principal_of(scope))
        return AgentRemoved(success=True, agent_type=agent_type)

    async def _models(self, scope: Scope, receive: Receive) -> AgentModels:
        asked = query(scope, "all", "stream")
        agent_type = _type_of(scope)
        found = self._agents.models(
            agent_type, stream=yes_or_no(asked, "stream") or False, every=yes_or_no(asked, "all") or False
        )
        return AgentModels(agent_type=agent_type, models=[_model(each) for each in found], count=len(found))

    def _view(self, document: Document) -> AgentView:
        preferences = document.read(AgentPreferences)
        return AgentView(
            agent_type=preferences.agent_type,
            preferences=shown_preferences(preferences),
            created_at=iso(document.created_ms),
            updated_at=iso(document.updated_ms),
            warnings=self._agents.warnings(preferences) or UNSET,
        )


def shown_preferences(preferences: AgentPreferences) -> PreferencesView:
    """Preferences as they are told."""
    asked = msgspec.structs.asdict(preferences.performance_requirements)
    return PreferencesView(
        preferred_models=preferences.preferred_models,
        fallback_models=preferences.fallback_models,
        required_capabilities=preferences.required_capabilities,
        performance_requirements=RequirementsView(**{name: each for name, each in asked.items() if each is not None}),
    )


def _preferences(order: PreferencesOrder, agent_type: str) -> AgentPreferences:
    """What is to be kept of an order. Raises BadRequest with the field to blame."""
    if order.agent_type not in (None, agent_type):
        raise BadRequest("The agent type in the body is another one than in the path.", param="agentType")
    for at, word in enumerate(order.required_capabilities):
        if not word.isprintable() or word != word.strip():
            raise BadRequest("A capability is a visible word.", param=f"requiredCapabilities[{at}]")
    asked = order.performance_requirements or RequirementsOrder()
    if asked.max_cost is not None and asked.max_cost_per_token is not None:
        raise BadRequest(
            "'maxCostPerToken' and 'maxCost' mean the same; give one of them.", param="performanceRequirements.maxCost"
        )
    return AgentPreferences(
        agent_type=agent_type,
        preferred_models=order.preferred_models,
        fallback_models=order.fallback_models,
        required_capabilities=order.required_capabilities,
        performance_requirements=PerformanceRequirements(
            max_latency=asked.max_latency,
            min_success_rate=asked.min_success_rate,
            max_cost_per_token=asked.max_cost if asked.max_cost_per_token is None else asked.max_cost_per_token,
            min_quality=asked.min_quality,
        ),
    )


def _model(candidate: Candidate) -> AgentModel:
    return AgentModel(
        id=candidate.id,
        tier=candidate.tier,
        source=ModelSource.API if candidate.registered else ModelSource.CONFIG,
        status=candidate.status,
        preference=candidate.part or UNSET,
        endpoints=[endpoint.id for endpoint in candidate.endpoints],
        left_out=candidate.left_out or UNSET,
    )


def _type_of(scope: Scope) -> str:
    agent_type: str = scope["path_params"]["type"]
    if not 0 < len(agent_type) <= LONGEST_TYPE or not agent_type.isprintable() or agent_type != agent_type.strip():
        raise BadRequest(f"An agent type is 1 to {LONGEST_TYPE} visible characters.", param="type")
    return agent_type


LIST: Final = Operation(summary="The agent types that have preferences", answer=AgentList)
SET: Final = Operation(
    summary="Say what an agent type wants to be answered by, in the place of what was said before",
    body=PreferencesOrder,
    answer=AgentSet,
    errors=(409, 412),
    etag=True,
)
READ: Final = Operation(summary="What an agent type wants to be answered by", answer=AgentView, etag=True)
DELETE: Final = Operation(
    summary="Forget what an agent type wants to be answered by", answer=AgentRemoved, errors=(412,)
)
ACTIVE: Final = Operation(
    summary="Who answers an agent type now, first choice first",
    answer=AgentModels,
    query=(
        Parameter(name="all", description="Tell those too that are left out, and why", shape=bool),
        Parameter(name="stream", description="Whether the latency of streams counts", shape=bool),
    ),
)
