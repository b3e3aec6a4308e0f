"""Whether what an import would make of the registry holds together: names that mean something, ids that are free."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias

import msgspec

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import Config
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import RoutingRule
from octoroute_py.manage.agents import MOST_TYPES
from octoroute_py.manage.canaries import MOST_DEPLOYMENTS
from octoroute_py.manage.canaries import problems_of as problems_of_canary
from octoroute_py.manage.endpoint_check import MOST_ENDPOINTS, MOST_MODELS, check_credential, check_name
from octoroute_py.manage.experiments import MOST_EXPERIMENTS
from octoroute_py.manage.experiments import problems_of as problems_of_experiment
from octoroute_py.manage.model_order import check_parameters
from octoroute_py.manage.model_uses import uses_of
from octoroute_py.manage.references import TIER_NAMES, named, no_such
from octoroute_py.manage.rules import MOST_RULE_BYTES, MOST_RULES, Problems, check_rule_id
from octoroute_py.manage.transfer_plan import WORKSPACE, Plan, Wishes

Problem: TypeAlias = tuple[str, str]
"""The field to blame, and why."""

Check: TypeAlias = Callable[[Any, "World"], Iterable[Problem]]
"""What is wrong with a document of one kind, in the world it is to stand in."""

MOST: Final[Mapping[Kind, int]] = {
    Kind.MODEL: MOST_MODELS,
    Kind.ENDPOINT: MOST_ENDPOINTS,
    Kind.RULE: MOST_RULES,
    Kind.PREFERENCES: MOST_TYPES,
    Kind.CANARY: MOST_DEPLOYMENTS,
    Kind.EXPERIMENT: MOST_EXPERIMENTS,
}
"""How many documents of a kind there may be."""


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
    changes: frozenset[tuple[str, str]]
    """Kinds and ids of what is new or says something else than before."""

    @property
    def targets(self) -> frozenset[str]:
        """What rules and the like may name."""
        return self.written | TIER_NAMES | self.registry.models.keys()


def faults(plan: Plan, wishes: Wishes, world: World, *, checks: Mapping[Kind, Check]) -> Iterator[Fault]:
    """What keeps the plan from being carried out; `checks` look at every document that would be new or changed."""
    yield from _too_many(world)
    targets = world.targets
    places = world.targets | {each.id for group in world.registry.endpoints.values() for each in group}
    for kind, wished in wishes.documents.items():
        for wish in wished:
            if (kind.value, wish.id) not in world.changes:
                continue
            problems = [
                *((field, f"{no_such(name)}.") for field, name in named(wish.value) if name not in targets),
                *_OWN.get(kind, _nothing)(wish.value, world),
                *checks.get(kind, _nothing)(wish.value, world),
            ]
            for field, message in problems:
                yield Fault(field=f"{wish.at}.{field}" if field else wish.at, id=wish.id, message=message)
    for each in wishes.workspaces or ():
        strange = [word for word in each.policy.restrictions or () if word not in places]
        if (WORKSPACE, each.id) in world.changes and strange:
            yield Fault(field=f"{each.at}.modelRestrictions", id=each.id, message=f"{no_such(strange[0])}.")
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
    if sum(len(msgspec.json.encode(rule)) for rule in registry.rules.values()) > MOST_RULE_BYTES:
        told = f"All rules together may not have more than {MOST_RULE_BYTES} bytes."
        yield Fault(field="config.routingRules", id=Kind.RULE.value, message=told)


def _left_behind(plan: Plan, world: World, places: frozenset[str]) -> Iterator[Fault]:
    """What would name a model that the import takes away, and is not in the import itself."""
    gone = {id_ for kind, id_ in plan.deleted if kind in (Kind.MODEL.value, Kind.ENDPOINT.value)} - places
    if not gone:
        return
    for use in uses_of(world.registry):
        lost = next((name for name in use.names if name in gone), None)
        if lost is not None and (use.kind.value, use.id) not in world.changes:
            yield _lost(lost, use.told)
    for workspace, policy in world.policies.items():
        lost = next((word for word in policy.restrictions or () if word in gone), None)
        if lost is not None and (WORKSPACE, workspace) not in world.changes:
            yield _lost(lost, f"the workspace '{workspace}'")


def _lost(name: str, holder: str) -> Fault:
    return Fault(field="config.models", id=name, message=f"It would be gone, and is named by {holder}.")


def _nothing(value: object, world: World) -> Iterator[Problem]:
    return iter(())


def _raised(check: Callable[[], None]) -> Iterator[Problem]:
    try:
        check()
    except BadRequest as error:
        yield error.param or "", error.client_message
    except Wrong:
        return  # a URL that whoever admits endpoints has blamed already


def _model(model: Model, world: World) -> Iterator[Problem]:
    endpoints = world.registry.endpoints.get(model.id, ())
    yield from _raised(lambda: check_name(model.id, world.file))
    yield from _raised(lambda: check_parameters(model))
    yield from _raised(lambda: check_credential(model, endpoints, world.file))
    if any(each.id in world.registry.models for each in endpoints):
        yield "endpoints", "An id is that of a model."


def _endpoint(endpoint: ModelEndpoint, world: World) -> Iterator[Problem]:
    yield from _raised(lambda: check_name(endpoint.id, world.file))
    model = world.registry.models.get(endpoint.model_id)
    if model is None:
        yield "modelId", "There is no such model."
    elif (Kind.MODEL.value, model.id) not in world.changes:
        yield from _raised(lambda: check_credential(model, (endpoint,), world.file))
    owner = world.owners.get(endpoint.id, endpoint.model_id)
    if owner != endpoint.model_id and owner in world.registry.models:
        yield "id", f"It is an endpoint of the model '{owner}'."


def _rule(rule: RoutingRule, world: World) -> Iterator[Problem]:
    yield from _raised(lambda: check_rule_id(rule.id))


def _canary(canary: CanaryDeployment, world: World) -> Iterator[Problem]:
    yield from problems_of_canary(canary)
    models = {canary.production_model_id, canary.canary_model_id}
    if not models.isdisjoint(TIER_NAMES):
        yield "productionModelId", "A tier is no model."
    for other in world.registry.canaries.values() if canary.status.is_live else ():
        shared = models & {other.production_model_id, other.canary_model_id}
        if other.status.is_live and other.id != canary.id and shared:
            yield "status", f"The deployment '{other.id}' is under way with the same model."


def checks_by(problems: Problems) -> Mapping[Kind, Check]:
    """The checks of what has conditions, by what is wrong with a rule."""

    return {
        Kind.RULE: lambda rule, world: problems(rule),
        Kind.EXPERIMENT: lambda experiment, world: problems_of_experiment(experiment, problems),
    }


_OWN: Final[Mapping[Kind, Check]] = {
    Kind.MODEL: _model,
    Kind.ENDPOINT: _endpoint,
    Kind.RULE: _rule,
    Kind.CANARY: _canary,
}
