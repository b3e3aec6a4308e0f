"""What documents may name, a tier, an endpoint of the configuration or a registered model, and where they do."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from octoroute_py.config.problems import did_you_mean
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.experiment import Experiment, ExperimentStatus
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import AgentPreferences, RoutingRule
from octoroute_py.core.words import TIERS
from octoroute_py.manage.documents import Desk

TIER_NAMES: Final = frozenset(tier.value for tier in TIERS)
_SHOWN: Final = 128
_WHY_NOT: Final = {
    ModelStatus.INACTIVE: "is inactive: it serves nobody",
    ModelStatus.DEPRECATED: "is deprecated: it serves only who asks for it by name",
    ModelStatus.TESTING: "is only tested: it serves who asks for it by name, and experiments",
}

Named = tuple[str, str]
"""The field that holds a name, and the name."""


def meant(name: str) -> str:
    """The name as it is kept: tiers in lower case, all else as it is."""
    lower = name.strip().lower()
    return lower if lower in TIER_NAMES else name


def rule_as_meant(rule: RoutingRule) -> RoutingRule:
    """The rule as it is kept."""
    targets = (msgspec.structs.replace(each, model_id=meant(each.model_id)) for each in rule.targets)
    return msgspec.structs.replace(rule, targets=tuple(targets))


def preferences_as_meant(preferences: AgentPreferences) -> AgentPreferences:
    """The preferences as they are kept: every name once."""
    return msgspec.structs.replace(
        preferences,
        preferred_models=tuple(dict.fromkeys(map(meant, preferences.preferred_models))),
        fallback_models=tuple(dict.fromkeys(map(meant, preferences.fallback_models))),
        required_capabilities=tuple(dict.fromkeys(preferences.required_capabilities)),
    )


def experiment_as_meant(experiment: Experiment) -> Experiment:
    """The experiment as it is kept."""
    arms = (
        arm if arm.model_id is None else msgspec.structs.replace(arm, model_id=meant(arm.model_id))
        for arm in experiment.arms
    )
    return msgspec.structs.replace(experiment, arms=tuple(arms))


def named(document: object) -> Iterator[Named]:
    """Where a document names what requests go to; what is over names nothing any more."""
    if isinstance(document, RoutingRule):
        yield from ((f"targets[{at}].modelId", target.model_id) for at, target in enumerate(document.targets))
    elif isinstance(document, AgentPreferences):
        yield from ((f"preferredModels[{at}]", name) for at, name in enumerate(document.preferred_models))
        yield from ((f"fallbackModels[{at}]", name) for at, name in enumerate(document.fallback_models))
    elif isinstance(document, CanaryDeployment) and not document.status.is_over:
        yield "productionModelId", document.production_model_id
        yield "canaryModelId", document.canary_model_id
    elif isinstance(document, Experiment) and document.status is not ExperimentStatus.STOPPED:
        yield from ((f"arms[{at}].modelId", arm.model_id) for at, arm in enumerate(document.arms) if arm.model_id)


def refuse_strange(names: Iterable[Named], desk: Desk, endpoints: Sequence[EndpointConfig]) -> None:
    """Raises BadRequest with the first field that names nothing, and what it may have been meant to be."""
    written = _written(endpoints)
    for param, name in names:
        if name in TIER_NAMES or name in written or desk.get(Kind.MODEL, name) is not None:
            continue
        known = (*TIER_NAMES, *written, *(document.id for document in desk.every(Kind.MODEL)))
        hint = did_you_mean(name, known)
        raise BadRequest(f"{no_such(name)}; {hint}" if hint else f"{no_such(name)}.", param=param)


def no_such(name: str) -> str:
    """What is said of a name that nothing has; its end is still to come."""
    shown = "".join(char if char.isprintable() else "?" for char in name[:_SHOWN])
    return f"'{shown}' is no tier, no endpoint of the configuration and no registered model"


def doubts(
    names: Iterable[str],
    registry: Registry,
    endpoints: Sequence[EndpointConfig],
    *,
    split: bool = False,
    experiment: bool = False,
) -> Iterator[str]:
    """Why some of the names will not serve now, in words.

    `split` says that one of them takes a canary's share, `experiment` that they are an experiment's, which may test.
    """
    written = _written(endpoints)
    for name in dict.fromkeys(names):
        if name in TIER_NAMES or name in written:
            continue
        model = registry.models.get(name)
        if model is None:
            yield f"'{name}' names what there is no more."
        elif model.status in _WHY_NOT and not (experiment and model.status is ModelStatus.TESTING):
            yield f"'{name}' {_WHY_NOT[model.status]}."
        elif model.status is ModelStatus.CANARY and not split:
            yield f"'{name}' is a canary: it serves who asks for it by name, and the share that a split gives it."
        elif not registry.endpoints.get(name):
            yield f"'{name}' has no endpoint."


def _written(endpoints: Sequence[EndpointConfig]) -> frozenset[str]:
    """What the file's own endpoints can be named by."""
    return frozenset(word for each in endpoints if each.registered is None for word in (each.name, each.id))
