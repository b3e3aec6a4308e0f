"""Who counts on a model: it cannot be removed while something that is in force names it."""

from collections.abc import Iterator, Mapping
from typing import Final

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.experiment import ExperimentStatus
from octoroute_py.core.registry import Registry
from octoroute_py.core.rollout import RolloutStatus

_MOST_TOLD: Final = 10
_ENDED: Final = frozenset({RolloutStatus.COMPLETED, RolloutStatus.FAILED, RolloutStatus.ROLLED_BACK})


def refuse_in_use(names: frozenset[str], registry: Registry, policies: Mapping[str, WorkspacePolicy]) -> None:
    """Raises BadRequest 409 `in_use` that tells what names one of these: a model's id, or those of its endpoints."""
    found = list(_uses(names, registry, policies))
    if found:
        more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        raise BadRequest(f"It is named by {', '.join(found[:_MOST_TOLD])}{more}.", status=409, code="in_use")


def _uses(names: frozenset[str], registry: Registry, policies: Mapping[str, WorkspacePolicy]) -> Iterator[str]:
    for rule in registry.rules.values():
        if any(target.model_id in names for target in rule.targets):
            yield f"the rule '{rule.id}'"
    for agent_type, preferences in registry.preferences.items():
        if names.intersection((*preferences.preferred_models, *preferences.fallback_models)):
            yield f"the preferences of '{agent_type}'"
    for canary in registry.canaries.values():
        if canary.status not in _ENDED and names & {canary.production_model_id, canary.canary_model_id}:
            yield f"the canary deployment '{canary.id}'"
    for experiment in registry.experiments.values():
        over = experiment.status is ExperimentStatus.STOPPED
        if not over and any(arm.model_id in names for arm in experiment.arms):
            yield f"the experiment '{experiment.id}'"
    for workspace, policy in policies.items():
        if names.intersection(policy.restrictions or ()):
            yield f"the workspace '{workspace}'"
