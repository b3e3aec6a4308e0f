"""What operators have set as one JSON document: told with ids, order and times, never with a secret, and read again.

Values keep the spelling they are kept in. Money is USD; times are ISO 8601 with a time zone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, Meta, UnsetType

from octoroute_py.core.catalog import HealthReport, Label, Model, ModelEndpoint
from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.experiment import Experiment
from octoroute_py.core.registry import Kind
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import AgentPreferences, RoutingRule
from octoroute_py.edge.api.wire import decode
from octoroute_py.edge.api.workspace_config import WorkspaceConfig, read_policy, shown_policy
from octoroute_py.edge.api.workspaces import checked_id
from octoroute_py.manage.transfer import Faulty
from octoroute_py.manage.transfer_check import Fault
from octoroute_py.manage.transfer_plan import Mode, State, Wish, WishedWorkspace, Wishes
from octoroute_py.storage.registry import Document

VERSION: Final = 1
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_TIMES: Final = ("createdAt", "updatedAt")

T = TypeVar("T", bound=msgspec.Struct)
Time = Annotated[datetime, Meta(tz=True)]
Members = dict[str, msgspec.Raw]


class ExportedEndpoint(ModelEndpoint, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An endpoint of a model; `model_id` may be left out."""

    model_id: str = ""
    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedHealth(HealthReport, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What was reported of a model."""

    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedModel(Model, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A registered model with its endpoints and what was reported of it."""

    endpoints: tuple[ExportedEndpoint, ...] = ()
    health: ExportedHealth | None = None
    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedRule(RoutingRule, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A rule of an operator."""

    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedPreferences(AgentPreferences, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The preferences of an agent type, whose name may be left out: it is the member's."""

    agent_type: Label | None = None  # type: ignore[assignment]
    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedWorkspace(WorkspaceConfig, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The configuration of a workspace, as it is documented."""

    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedCanary(CanaryDeployment, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A canary deployment, where it stands included."""

    created_at: Time | None = None
    updated_at: Time | None = None


class ExportedExperiment(Experiment, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An experiment, where it stands included."""

    created_at: Time | None = None
    updated_at: Time | None = None


class Export(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Everything that operators have set; a section that is not there says nothing of what it is about."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    exported_at: Time | None = None
    models: tuple[ExportedModel, ...] | UnsetType = UNSET
    routing_rules: tuple[ExportedRule, ...] | UnsetType = UNSET
    agent_preferences: dict[Label, ExportedPreferences] | UnsetType = UNSET
    workspace_configs: dict[str, ExportedWorkspace] | UnsetType = UNSET
    canary_deployments: tuple[ExportedCanary, ...] | UnsetType = UNSET
    experiments: tuple[ExportedExperiment, ...] | UnsetType = UNSET


class ImportOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to bring in, and how; `mode` and `dryRun` may stand in the query instead."""

    config: Export
    mode: Mode | None = None
    dry_run: bool | None = None


class _Sections(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An export whose documents are not looked at yet, so that each can be blamed for itself."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    exported_at: Time | None = None
    models: list[msgspec.Raw] | None = None
    routing_rules: list[msgspec.Raw] | None = None
    agent_preferences: Members | None = None
    workspace_configs: Members | None = None
    canary_deployments: list[msgspec.Raw] | None = None
    experiments: list[msgspec.Raw] | None = None


class RawOrder(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """An ImportOrder whose documents are not looked at yet."""

    config: _Sections
    mode: Mode | None = None
    dry_run: bool | None = None


# Telling


def exported(state: State, *, at_ms: int) -> bytes:
    """The document of everything, as JSON."""
    endpoints: dict[str, list[Members]] = {}
    for document in state.documents.get(Kind.ENDPOINT, ()):
        members = _shown(document)
        endpoints.setdefault(msgspec.json.decode(members["modelId"], type=str), []).append(members)
    health = {each.id: _shown(each) for each in state.documents.get(Kind.HEALTH, ())}
    models = [
        {
            **_body(each),
            "endpoints": _raw(endpoints.get(each.id, [])),
            "health": _raw(health.get(each.id)),
            **_shown_times(each),
        }
        for each in state.documents.get(Kind.MODEL, ())
    ]
    workspaces = {
        row.id: {**shown_policy(row.policy), "createdAt": iso(row.created_ms), "updatedAt": iso(row.updated_ms)}
        for row in state.workspaces
    }
    return msgspec.json.encode(
        {
            "version": VERSION,
            "exportedAt": iso(at_ms),
            "models": models,
            "routingRules": [_shown(each) for each in state.documents.get(Kind.RULE, ())],
            "agentPreferences": {each.id: _shown(each) for each in state.documents.get(Kind.PREFERENCES, ())},
            "workspaceConfigs": workspaces,
            "canaryDeployments": [_shown(each) for each in state.documents.get(Kind.CANARY, ())],
            "experiments": [_shown(each) for each in state.documents.get(Kind.EXPERIMENT, ())],
        }
    )


def _shown(document: Document) -> Members:
    return {**_body(document), **_shown_times(document)}


def _body(document: Document) -> Members:
    return msgspec.json.decode(document.body, type=Members)


def _shown_times(document: Document) -> Members:
    return {"createdAt": _raw(iso(document.created_ms)), "updatedAt": _raw(iso(document.updated_ms))}


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


# Reading


def read_order(body: bytes) -> tuple[RawOrder, Wishes]:
    """What is to be brought in. Raises BadRequest for what is no such thing, Faulty for documents that are wrong."""
    order = decode(body, RawOrder)
    reading = _Reading()
    wishes = reading.wishes(order.config)
    if reading.faults:
        raise Faulty(reading.faults)
    return order, wishes


class _Reading:
    """Reads every document, and goes on when one is wrong."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._seen: set[tuple[Kind, str]] = set()

    def wishes(self, given: _Sections) -> Wishes:
        documents: dict[Kind, list[Wish]] = {}
        if given.models is not None:
            documents |= {Kind.MODEL: [], Kind.ENDPOINT: [], Kind.HEALTH: []}
            for at, raw in enumerate(given.models):
                self._model(raw, f"config.models[{at}]", documents)
        for kind, section, name, shape, plain in (
            (Kind.RULE, given.routing_rules, "routingRules", ExportedRule, RoutingRule),
            (Kind.CANARY, given.canary_deployments, "canaryDeployments", ExportedCanary, CanaryDeployment),
            (Kind.EXPERIMENT, given.experiments, "experiments", ExportedExperiment, Experiment),
        ):
            if section is not None:
                places = ((f"config.{name}[{at}]", raw) for at, raw in enumerate(section))
                documents[kind] = list(self._all(kind, places, shape, plain))
        if given.agent_preferences is not None:
            documents[Kind.PREFERENCES] = list(self._preferences(given.agent_preferences))
        workspaces = given.workspace_configs
        return Wishes(
            documents=documents, workspaces=None if workspaces is None else list(self._workspaces(workspaces))
        )

    def _model(self, raw: msgspec.Raw, at: str, into: Mapping[Kind, list[Wish]]) -> None:
        found = self._read(raw, ExportedModel, at)
        if found is None:
            return
        into[Kind.MODEL] += self._wish(Kind.MODEL, found, _plain(found, Model), at)
        if found.health is not None:
            report = _plain(found.health, HealthReport)
            into[Kind.HEALTH] += self._wish(Kind.HEALTH, found.health, report, f"{at}.health", id_=found.id)
        for number, endpoint in enumerate(found.endpoints):
            place = f"{at}.endpoints[{number}]"
            if endpoint.model_id not in ("", found.id):
                self._blame(f"{place}.modelId", endpoint.id, "It is another model's.")
                continue
            value = msgspec.structs.replace(_plain(endpoint, ModelEndpoint), model_id=found.id)
            into[Kind.ENDPOINT] += self._wish(Kind.ENDPOINT, endpoint, value, place)

    def _all(
        self, kind: Kind, places: Iterable[tuple[str, msgspec.Raw]], shape: type[T], plain: type[msgspec.Struct]
    ) -> Iterator[Wish]:
        for at, raw in places:
            found = self._read(raw, shape, at)
            if found is not None:
                yield from self._wish(kind, found, _plain(found, plain), at)

    def _preferences(self, given: Members) -> Iterator[Wish]:
        for agent_type, raw in given.items():
            at = f"config.agentPreferences.{agent_type[:128]}"
            found = self._read(raw, ExportedPreferences, at)
            if found is None:
                continue
            if found.agent_type not in (None, agent_type):
                self._blame(f"{at}.agentType", agent_type, "It is another agent type's.")
                continue
            value = msgspec.structs.replace(_plain(found, AgentPreferences), agent_type=agent_type)
            checked = self._read(msgspec.Raw(msgspec.json.encode(value)), AgentPreferences, at)  # the name, too
            if checked is not None:
                yield from self._wish(Kind.PREFERENCES, found, checked, at, id_=agent_type)

    def _workspaces(self, given: Members) -> Iterator[WishedWorkspace]:
        for workspace, raw in given.items():
            at = f"config.workspaceConfigs.{workspace[:128]}"
            members = self._read(raw, Members, at)
            if members is None:
                continue
            times = {name: members.pop(name, msgspec.Raw(b"null")) for name in _TIMES}
            try:
                checked_id(workspace)
                policy = read_policy(msgspec.json.encode(members), workspace)
                created, updated = (decode(bytes(raw), Time | None) for raw in times.values())  # type: ignore[arg-type]
            except BadRequest as error:
                self._blame(_within(at, error), workspace, error.client_message)
                continue
            yield WishedWorkspace(id=workspace, policy=policy, created_ms=_ms(created), updated_ms=_ms(updated), at=at)

    def _wish(self, kind: Kind, told: Any, value: msgspec.Struct, at: str, *, id_: str = "") -> list[Wish]:
        id_ = id_ or told.id
        if (kind, id_) in self._seen:
            self._blame(f"{at}.id", id_, "It stands there twice.")
            return []
        self._seen.add((kind, id_))
        created_ms, updated_ms = _ms(told.created_at), _ms(told.updated_at)
        return [Wish(kind=kind, id=id_, value=value, created_ms=created_ms, updated_ms=updated_ms, at=at)]

    def _read(self, raw: msgspec.Raw, shape: type[Any], at: str) -> Any:
        try:
            return decode(bytes(raw), shape)
        except BadRequest as error:
            self._blame(_within(at, error), _id_in(raw), error.client_message)
            return None

    def _blame(self, field: str, id_: str, message: str) -> None:
        self.faults.append(Fault(field=field, id=id_[:128], message=message))


def _within(at: str, error: BadRequest) -> str:
    return f"{at}.{error.param}" if error.param else at


def _id_in(raw: msgspec.Raw) -> str:
    """The id of a document that cannot be read, if it has one."""
    try:
        return msgspec.json.decode(raw, type=_Named).id
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return ""


class _Named(msgspec.Struct):
    id: str = ""


def _plain(told: msgspec.Struct, shape: type[T]) -> T:
    return shape(**{name: getattr(told, name) for name in shape.__struct_fields__})


def _ms(at: datetime | None) -> int | None:
    """Unix milliseconds; times before 1970 are as that."""
    return None if at is None else max(0, (at - _EPOCH) // _MILLISECOND)


def shown_faults(found: Sequence[Fault]) -> list[dict[str, str]]:
    """What is wrong, as it is told."""
    return [{"field": each.field, "id": each.id, "message": each.message} for each in found]
