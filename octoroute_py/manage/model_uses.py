"""Who counts on a model: it cannot be removed while something that is in force names it."""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.manage.references import named

_MOST_TOLD: Final = 10


class Use(NamedTuple):
    """A document that names models: its kind and id, the names, and how people are told of it."""

    kind: Kind
    id: str
    names: tuple[str, ...]
    told: str


def uses_of(registry: Registry) -> Iterator[Use]:
    """All documents that name models as long as they are in force."""
    holders: tuple[tuple[Kind, str, Mapping[str, object]], ...] = (
        (Kind.RULE, "the rule", registry.rules),
        (Kind.PREFERENCES, "the preferences of", registry.preferences),
        (Kind.CANARY, "the canary deployment", registry.canaries),
        (Kind.EXPERIMENT, "the experiment", registry.experiments),
    )
    for kind, what, documents in holders:
        for id_, document in documents.items():
            yield Use(kind, id_, tuple(name for _, name in named(document)), f"{what} '{id_}'")


def refuse_in_use(names: frozenset[str], registry: Registry, policies: Mapping[str, WorkspacePolicy]) -> None:
    """Raises BadRequest 409 `in_use` that tells what names one of these: a model's id, or those of its endpoints."""
    found = [use.told for use in uses_of(registry) if not names.isdisjoint(use.names)]
    found += (
        f"the workspace '{workspace}'"
        for workspace, policy in policies.items()
        if not names.isdisjoint(policy.restrictions or ())
    )
    if found:
        more = f" and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        raise BadRequest(f"It is named by {', '.join(found[:_MOST_TOLD])}{more}.", status=409, code="in_use")
