"""Lays what was set over the API over the file's values, by the rules that hold for the file."""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from octoroute_py.config.endpoints import read_weight
from octoroute_py.config.fields import Table
from octoroute_py.config.problems import Problem, Problems, did_you_mean, dotted, quoted
from octoroute_py.config.schema import Config, EndpointConfig
from octoroute_py.config.sections import read_choices, read_switch, read_thresholds
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.settings import Settings, SettingsPatch

PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "confidence_threshold": ("routing", "neural", "confidence_threshold"),
    "max_uncertainty": ("routing", "neural", "max_uncertainty"),
    "max_quality_loss": ("routing", "neural", "max_quality_loss"),
    "enable_circuit_breaker": ("breaker", "enabled"),
    "circuit_breaker_threshold": ("breaker", "failure_threshold"),
    "strategy": ("routing", "strategy"),
    "default_tier": ("routing", "default_tier"),
    "tier_fallback": ("routing", "tier_fallback"),
    "balancer": ("routing", "balancer"),
}
"""Where in the file a setting stands; `weights` are those of the endpoints."""
_WEIGHTS: Final = "weights"
_NAMES: Final = {dotted(where): name for name, where in PLACES.items()}


class WrongSettings(ConfigError):
    """Settings that may not be; `names` are those to blame, and the message has a line for each."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        found = [(_NAMES.get(each.path, each.path), each) for each in problems]
        self.names = frozenset(name for name, _ in found)
        super().__init__("\n".join(_told(name, each) for name, each in found))


def overlaid(config: Config, values: Mapping[str, object]) -> Config:
    """The configuration with these settings, by name as in `Settings`, in the place of the file's own values.

    Raises WrongSettings for one that nobody knows, of a wrong type, out of range, or of an endpoint that is not there.
    """
    problems = Problems({})
    for name in values.keys() - PLACES.keys() - {_WEIGHTS}:
        problems.add((name[:64],), "is no setting that can be changed", hint=did_you_mean(name, (*PLACES, _WEIGHTS)))
    root = Table(_document(values), (), problems)
    routing, breaker = config.routing, config.breaker
    table = root.table("routing")
    routing = read_choices(table, routing)
    neural = read_thresholds(table.table("neural"), routing.neural)
    breaker = read_switch(root.table("breaker"), breaker)
    endpoints = _weighted(config.endpoints, values.get(_WEIGHTS, {}), problems)
    found = problems.sorted()
    if found:
        raise WrongSettings(found)
    routing = msgspec.structs.replace(routing, neural=neural)
    return msgspec.structs.replace(config, routing=routing, breaker=breaker, endpoints=endpoints)


def read_patch(config: Config, values: Mapping[str, object]) -> SettingsPatch:
    """A change of settings as somebody wrote it, where None takes one away. Raises as `overlaid`."""
    dropped = {name for name, value in values.items() if value is None}
    weights = values.get(_WEIGHTS)
    given = {name: value for name, value in values.items() if value is not None}
    gone = frozenset[str]()
    if isinstance(weights, dict):
        gone = frozenset(id_ for id_, weight in weights.items() if weight is None)
        given[_WEIGHTS] = {id_: weight for id_, weight in weights.items() if weight is not None}
    # who takes away what nobody knows has misspelled it; a weight may belong to an endpoint that is gone
    misspelled = dict.fromkeys(dropped - PLACES.keys() - {_WEIGHTS}, "")
    overlaid(config, {**given, **misspelled})
    return SettingsPatch(given=msgspec.convert(given, Settings), dropped=frozenset(dropped), dropped_weights=gone)


def usable(config: Config, settings: Settings) -> tuple[Settings, str | None]:
    """What of settings that were kept still fits this configuration, and what is wrong with the rest.

    A weight of an endpoint that the file no longer has is no fault, and waits for its return.
    """
    known = {each.id for each in config.endpoints}
    there = {id_: weight for id_, weight in settings.weights.items() if id_ in known}
    settings = msgspec.structs.replace(settings, weights=there)
    try:
        overlaid(config, settings.plain())
    except WrongSettings as wrong:
        good = {name: value for name, value in settings.plain().items() if name not in wrong.names}
        weights = {id_: weight for id_, weight in there.items() if dotted((_WEIGHTS, id_)) not in wrong.names}
        return msgspec.convert({**good, _WEIGHTS: weights}, Settings), str(wrong)
    return settings, None


def _document(values: Mapping[str, object]) -> dict[str, object]:
    """The values where the file has them."""
    neural: dict[str, object] = {}
    document: dict[str, dict[str, object]] = {"routing": {"neural": neural}, "breaker": {}}
    for name, value in values.items():
        where = PLACES.get(name)
        if where is not None:
            (neural if len(where) > 2 else document[where[0]])[where[-1]] = value
    return {**document}


def _weighted(endpoints: tuple[EndpointConfig, ...], weights: object, problems: Problems) -> tuple[EndpointConfig, ...]:
    if not isinstance(weights, dict):
        problems.add((_WEIGHTS,), "must be an object of weights by endpoint id")
        return endpoints
    known = [each.id for each in endpoints]
    for id_ in weights.keys() - {*known}:
        problems.add((_WEIGHTS,), f"the file has no endpoint with the id {quoted(id_)}", hint=did_you_mean(id_, known))
    table = Table(weights, (_WEIGHTS,), problems)
    return tuple(
        msgspec.structs.replace(each, weight=read_weight(table, each.id, each.weight)) if each.id in weights else each
        for each in endpoints
    )


def _told(name: str, problem: Problem) -> str:
    return f"{name}: {problem.message}" + (f"; {problem.hint}" if problem.hint else "")
