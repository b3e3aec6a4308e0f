"""A canary deployment's moves from one status to the next, each inside one transaction of the registry.

    preparing ──start──▶ active ◀──pause, resume──▶ paused
                         active, paused ──▶ completed | rolledback | failed

Every move raises BadRequest 409 `conflict` where it is not allowed.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.catalog import HealthReport, Model, ModelStatus
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryBody, CanaryDeployment, RolloutStatus, Split
from octoroute_py.manage.documents import Desk
from octoroute_py.manage.model_health import score
from octoroute_py.routing.rollout import next_share
from octoroute_py.storage.registry import Document

LEAST_HEALTH: Final = 80.0
"""Where a health score was reported, a canary is started with no lower one."""
_BACK: Final = Split(production=100.0, canary=0.0)
_LONGEST_REASON: Final = 2000


class Place(msgspec.Struct, frozen=True):
    """Where a move takes place: the time in Unix ms, and the endpoints that are in force."""

    at_ms: int
    endpoints: Sequence[EndpointConfig]

    def from_file(self, model: str) -> bool:
        """Whether the configuration file names this model."""
        return any(each.name == model and each.registered is None for each in self.endpoints)


def found(desk: Desk, id_: str) -> CanaryDeployment:
    """The deployment as it stands. Raises NotFound."""
    return desk.needed(Kind.CANARY, id_).read(CanaryDeployment)


def start(desk: Desk, id_: str, place: Place) -> Document:
    """From preparing to active: its canary gets the first share."""
    deployment = _in(found(desk, id_), RolloutStatus.PREPARING)
    whole = desk.whole()
    check_models(deployment, whole, place)
    _check_free(deployment, whole)
    _check_canary(desk, deployment, whole, place)
    canary = whole.models.get(deployment.canary_model_id)
    if canary is not None and canary.status in (ModelStatus.ACTIVE, ModelStatus.TESTING):
        _set_status(desk, deployment.canary_model_id, ModelStatus.CANARY, place)
    share = deployment.traffic_split.canary or next_share(deployment.rollout_strategy, 0.0)
    running = msgspec.structs.replace(
        _with_share(deployment, share), status=RolloutStatus.ACTIVE, step=1, started_ms=place.at_ms, reason="Started."
    )
    return _keep(desk, msgspec.structs.replace(running, step_since_ms=place.at_ms), "canary.start")


def pause(desk: Desk, id_: str) -> Document:
    """From active to paused: the share stays as it is."""
    deployment = _in(found(desk, id_), RolloutStatus.ACTIVE)
    return _keep(desk, _now(deployment, RolloutStatus.PAUSED, "Paused."), "canary.pause")


def resume(desk: Desk, id_: str) -> Document:
    """From paused to active, where it was."""
    deployment = _in(found(desk, id_), RolloutStatus.PAUSED)
    return _keep(desk, _now(deployment, RolloutStatus.ACTIVE, "Resumed."), "canary.resume")


def widen(desk: Desk, id_: str, share: float, place: Place, *, reason: str) -> Document:
    """The next step, with this share."""
    deployment = _with_share(_in(found(desk, id_), RolloutStatus.ACTIVE), share)
    after = msgspec.structs.replace(
        deployment, step=deployment.step + 1, step_since_ms=place.at_ms, reason=_cut(reason)
    )
    return _keep(desk, after, "canary.proceed")


def roll_back(desk: Desk, id_: str, *, reason: str, status: RolloutStatus = RolloutStatus.ROLLED_BACK) -> Document:
    """Back to production for everybody, because of what `reason` says; `failed` where the canary is gone."""
    deployment = _in(found(desk, id_), RolloutStatus.ACTIVE, RolloutStatus.PAUSED)
    after = msgspec.structs.replace(_now(deployment, status, reason), traffic_split=_BACK)
    return _keep(desk, after, "canary.rollback" if status is RolloutStatus.ROLLED_BACK else "canary.fail")


def complete(desk: Desk, id_: str, place: Place, *, reason: str) -> tuple[Document, list[str]]:
    """The canary becomes active and production deprecated; what could not be done of that, in words."""
    deployment = _in(found(desk, id_), RolloutStatus.ACTIVE, RolloutStatus.PAUSED)
    warnings = []
    for model, status in (
        (deployment.canary_model_id, ModelStatus.ACTIVE),
        (deployment.production_model_id, ModelStatus.DEPRECATED),
    ):
        if place.from_file(model) or not _set_status(desk, model, status, place):
            warnings.append(f"'{model}' is not {status.value} now: the configuration file decides about it.")
    return _keep(desk, _now(deployment, RolloutStatus.COMPLETED, reason), "canary.complete"), warnings


def check_models(deployment: CanaryBody, whole: Registry, place: Place) -> None:
    """Raises BadRequest for a name that no model has."""
    named = {each.name for each in place.endpoints} | whole.models.keys()
    for field, model in (
        ("productionModelId", deployment.production_model_id),
        ("canaryModelId", deployment.canary_model_id),
    ):
        if model not in named:
            raise BadRequest("It names no model: neither a registered id nor a configured name.", param=field)


def conflict(message: str) -> BadRequest:
    """What the deployment's status, or another deployment, does not allow."""
    return BadRequest(message, status=409, code="conflict")


def _check_free(deployment: CanaryDeployment, whole: Registry) -> None:
    """No other deployment that runs has a part in either model."""
    ours = {deployment.production_model_id, deployment.canary_model_id}
    for other in whole.canaries.values():
        if other.status.is_live and other.id != deployment.id:
            shared = sorted(ours & {other.production_model_id, other.canary_model_id})
            if shared:
                raise conflict(f"'{shared[0]}' is part of the deployment '{other.id}', which runs.")


def _check_canary(desk: Desk, deployment: CanaryDeployment, whole: Registry, place: Place) -> None:
    """Both can serve, and nobody reported the canary to be ill."""
    production = whole.models.get(deployment.production_model_id)
    if production is not None and production.status is not ModelStatus.ACTIVE and not place.from_file(production.id):
        raise conflict(f"The production model is {production.status.value}, not active.")
    model = deployment.canary_model_id
    registered = whole.models.get(model)
    if not place.from_file(model) and registered is not None:
        if registered.status in (ModelStatus.INACTIVE, ModelStatus.DEPRECATED):
            raise conflict(f"The canary's model is {registered.status.value}.")
        if not whole.endpoints.get(model):
            raise conflict("The canary's model has no endpoint.")
    report = desk.get(Kind.HEALTH, model)
    points = None if report is None else score(report.read(HealthReport))
    if points is not None and points < LEAST_HEALTH:
        raise conflict(f"The canary's health score is {points:.1f}, less than {LEAST_HEALTH:g}.")


def _set_status(desk: Desk, id_: str, status: ModelStatus, place: Place) -> bool:
    """Give a registered model its status; whether there is one that is in force."""
    document = desk.get(Kind.MODEL, id_)
    if document is None or place.from_file(id_):
        return False
    model = document.read(Model)
    if model.status is not status:
        desk.put(Kind.MODEL, id_, msgspec.structs.replace(model, status=status), action="model.status")
    return True


def _in(deployment: CanaryDeployment, *allowed: RolloutStatus) -> CanaryDeployment:
    if deployment.status not in allowed:
        wanted = " or ".join(status.value for status in allowed)
        raise conflict(f"The deployment is {deployment.status.value}, not {wanted}.")
    return deployment


def _now(deployment: CanaryDeployment, status: RolloutStatus, reason: str) -> CanaryDeployment:
    return msgspec.structs.replace(deployment, status=status, reason=_cut(reason))


def _with_share(deployment: CanaryDeployment, share: float) -> CanaryDeployment:
    split = Split(production=round(100.0 - share, 6), canary=share)
    return msgspec.structs.replace(deployment, traffic_split=split)


def _cut(reason: str) -> str:
    return reason[:_LONGEST_REASON]


def _keep(desk: Desk, deployment: CanaryDeployment, action: str) -> Document:
    return desk.put(Kind.CANARY, deployment.id, deployment, action=action)
