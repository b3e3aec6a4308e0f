"""What rules and preferences may name: a tier, an endpoint of the configuration, or a registered model."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from octoroute_py.config.problems import did_you_mean
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.words import TIERS
from octoroute_py.manage.documents import Desk

_TIERS: Final = frozenset(tier.value for tier in TIERS)
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
    return lower if lower in _TIERS else name


def refuse_strange(names: Iterable[Named], desk: Desk, endpoints: Sequence[EndpointConfig]) -> None:
    """Raises BadRequest with the first field that names nothing, and what it may have been meant to be."""
    written = _written(endpoints)
    for param, name in names:
        if name in _TIERS or name in written or desk.get(Kind.MODEL, name) is not None:
            continue
        known = (*_TIERS, *written, *(document.id for document in desk.every(Kind.MODEL)))
        hint = did_you_mean(name, known)
        shown = "".join(char if char.isprintable() else "?" for char in name[:_SHOWN])
        told = f"'{shown}' is no tier, no endpoint of the configuration and no registered model"
        raise BadRequest(f"{told}; {hint}" if hint else f"{told}.", param=param)


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
        if name in _TIERS or name in written:
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
