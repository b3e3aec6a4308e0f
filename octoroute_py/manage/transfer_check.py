"""Whether what an import would make of the registry holds together: names that mean something, ids that are free."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from octoroute_py.config.schema import Config
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.experiment import Experiment, ExperimentStatus
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryDeployment, RolloutStatus
from octoroute_py.core.rules import AgentPreferences, RoutingRule
from octoroute_py.core.words import TIERS
from octoroute_py.manage.agents import MOST_TYPES
from octoroute_py.manage.rules import MOST_RULES
from octoroute_py.manage.transfer_plan import WORKSPACE, Plan, Wishes

Problem: TypeAlias = tuple[str, str]
"""The field to blame, and why."""

Check: TypeAlias = Callable[[Any, "World"], Iterable[Problem]]
"""What is wrong with a document of one kind, in the world it is to stand in."""

MOST: Final[Mapping[Kind, int]] = {
    Kind.MODEL: 2000,
    Kind.ENDPOINT: 2000,
    Kind.RULE: MOST_RULES,
    Kind.PREFERENCES: MOST_TYPES,
    Kind.CANARY: 2000,
    Kind.EXPERIMENT: 2000,
}
"""How many documents of a kind there may be."""

_SHOWN: Final = 128
_ENDED: Final = frozenset({RolloutStatus.COMPLETED, RolloutStatus.FAILED, RolloutStatus.ROLLED_BACK})
_TIERS: Final = frozenset(tier.value for tier in TIERS)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong: `field` is where it stands in the import, `id` what it is about."""

    field: str
    id: str
    message: str


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything as it would be: the registry, the workspaces, and the file without what is registered."""

    registry: Registry
    policies: Mapping[str, WorkspacePolicy]
    file: Config
    written: frozenset[str]
    """Names and ids of the file's endpoints."""
    owners: Mapping[str, str]
    """The models that endpoints belonged to before, by the endpoints' ids."""

    @property
    def targets(self) -> frozenset[str]:
        """What rules and the like may name."""
        return self.written | _TIERS | self.registry.models.keys()


def faults(plan: Plan, wishes: Wishes, world: World, *, checks: Mapping[Kind, Check]) -> Iterator[Fault]:
    """What keeps the plan from being carried out; `checks` look at every document that would be new or changed."""
    yield from _too_many(world)
    targets = world.targets
    places = world.targets | {each.id for group in world.registry.endpoints.values() for each in group}
    for kind, wished in wishes.documents.items():
        for wish in wished:
            if (kind.value, wish.id) not in plan.changes:
                continue
            problems = [
                *_strangers(kind, wish.value, targets),
                *_OWN.get(kind, _nothing)(wish.value, world),
                *checks.get(kind, _nothing)(wish.value, world),
            ]
            for field, message in problems:
                yield Fault(field=f"{wish.at}.{field}", id=wish.id, message=message)
    for each in wishes.workspaces or ():
        strange = [word for word in each.policy.restrictions or () if word not in places]
        if (WORKSPACE, each.id) in plan.changes and strange:
            told = f"'{strange[0][:_SHOWN]}' is no tier and no model."
            yield Fault(field=f"{each.at}.modelRestrictions", id=each.id, message=told)
    yield from _left_behind(plan, world, places)


def _too_many(world: World) -> Iterator[Fault]:
    registry = world.registry
    counts = {
        Kind.MODEL: len(registry.models),
        Kind.ENDPOINT: sum(map(len, registry.endpoints.values())),
        Kind.RULE: len(registry.rules),
        Kind.PREFERENCES: len(registry.preferences),
        Kind.CANARY: len(registry.canaries),
        Kind.EXPERIMENT: len(registry.experiments),
    }
    for kind, count in counts.items():
        if count > MOST[kind]:
            yield Fault(
                field="config", id=kind.value, message=f"There would be {count}; at most {MOST[kind]} are kept."
            )


def _strangers(kind: Kind, value: object, targets: frozenset[str]) -> Iterator[Problem]:
    for field, name in named(kind, value):
        if name not in targets:
            shown = "".join(char if char.isprintable() else "?" for char in name[:_SHOWN])
            yield field, f"'{shown}' is no tier, no endpoint of the configuration and no registered model."


def _left_behind(plan: Plan, world: World, places: frozenset[str]) -> Iterator[Fault]:
    """What would name a model that the import takes away, and is not in the import itself."""
    gone = {id_ for kind, id_ in plan.deleted if kind in (Kind.MODEL.value, Kind.ENDPOINT.value)} - places
    if not gone:
        return
    registry = world.registry
    holders: tuple[tuple[Kind, Mapping[str, object]], ...] = (
        (Kind.RULE, registry.rules),
        (Kind.PREFERENCES, registry.preferences),
        (Kind.CANARY, registry.canaries),
        (Kind.EXPERIMENT, registry.experiments),
    )
    for kind, values in holders:
        for id_, value in values.items():
            lost = next((name for _, name in named(kind, value) if name in gone), None)
            if lost is not None and (kind.value, id_) not in plan.changes:
                yield _lost(lost, f"the {kind.value} '{id_}'")
    for workspace, policy in world.policies.items():
        lost = next((word for word in policy.restrictions or () if word in gone), None)
        if lost is not None and (WORKSPACE, workspace) not in plan.changes:
            yield _lost(lost, f"the workspace '{workspace}'")


def _lost(name: str, holder: str) -> Fault:
    return Fault(field="config.models", id=name, message=f"It would be gone, and is named by {holder}.")


def named(kind: Kind, value: object) -> Iterator[tuple[str, str]]:
    """The fields of a document that name models, and the names; what is over names nothing any more."""
    if isinstance(value, RoutingRule):
        yield from ((f"targets[{at}].modelId", target.model_id) for at, target in enumerate(value.targets))
    elif isinstance(value, AgentPreferences):
        yield from ((f"preferredModels[{at}]", name) for at, name in enumerate(value.preferred_models))
        yield from ((f"fallbackModels[{at}]", name) for at, name in enumerate(value.fallback_models))
    elif isinstance(value, CanaryDeployment) and value.status not in _ENDED:
        yield "productionModelId", value.production_model_id
        yield "canaryModelId", value.canary_model_id
    elif isinstance(value, Experiment) and value.status is not ExperimentStatus.STOPPED:
        yield from ((f"arms[{at}].modelId", arm.model_id) for at, arm in enumerate(value.arms) if arm.model_id)


def _nothing(value: object, world: World) -> Iterator[Problem]:
    return iter(())


def _model(model: Model, world: World) -> Iterator[Problem]:
    if model.id in world.written:
        yield "id", "The configuration file has this name or id."
    endpoints = world.registry.endpoints.get(model.id, ())
    twice = [id_ for id_, count in Counter(each.id for each in endpoints).items() if count > 1]
    if twice or any(each.id in world.registry.models for each in endpoints):
        yield "endpoints", "An id is another model's or endpoint's."


def _endpoint(endpoint: ModelEndpoint, world: World) -> Iterator[Problem]:
    if endpoint.id in world.written:
        yield "id", "The configuration file has this name or id."
    if endpoint.model_id not in world.registry.models:
        yield "modelId", "There is no such model."
    owner = world.owners.get(endpoint.id, endpoint.model_id)
    if owner != endpoint.model_id and owner in world.registry.models:
        yield "id", f"It is an endpoint of the model '{owner}'."


def _rule(rule: RoutingRule, world: World) -> Iterator[Problem]:
    if rule.id.startswith(("config:", "built_in:")):
        yield "id", "An id that begins so belongs to what is not of the API."


def _canary(canary: CanaryDeployment, world: World) -> Iterator[Problem]:
    split = canary.traffic_split
    if abs(split.production + split.canary - 100) > 1e-6:
        yield "trafficSplit", "production and canary must sum to 100."
    models = {canary.production_model_id, canary.canary_model_id}
    if len(models) < 2:
        yield "canaryModelId", "It is the production model itself."
    if canary.status not in (RolloutStatus.ACTIVE, RolloutStatus.PAUSED):
        return
    for other in world.registry.canaries.values():
        under_way = other.status in (RolloutStatus.ACTIVE, RolloutStatus.PAUSED) and other.id != canary.id
        if under_way and models & {other.production_model_id, other.canary_model_id}:
            yield "status", f"The deployment '{other.id}' is under way with the same model."


def _experiment(experiment: Experiment, world: World) -> Iterator[Problem]:
    if len({arm.name for arm in experiment.arms}) < len(experiment.arms):
        yield "arms", "Two arms have the same name."
    for at, arm in enumerate(experiment.arms):
        ways = [arm.tier, arm.model_id, arm.strategy, arm.rule_set]
        if sum(way is not None for way in ways) > 1:
            yield f"arms[{at}]", "An arm has at most one of tier, modelId, strategy and ruleSet."


_OWN: Final[Mapping[Kind, Check]] = {
    Kind.MODEL: _model,
    Kind.ENDPOINT: _endpoint,
    Kind.RULE: _rule,
    Kind.CANARY: _canary,
    Kind.EXPERIMENT: _experiment,
}
