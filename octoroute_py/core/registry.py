"""Everything that operators set over the API and that decides where requests go, as it was at one moment."""

import enum
from collections.abc import Mapping

import msgspec

from octoroute_py.core.catalog import Model, ModelEndpoint
from octoroute_py.core.experiment import Experiment
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import AgentPreferences, RoutingRule
from octoroute_py.core.settings import NO_SETTINGS, Settings


class Kind(enum.StrEnum):
    """What a document of the registry is."""

    MODEL = "model"
    ENDPOINT = "endpoint"
    HEALTH = "health"
    RULE = "rule"
    PREFERENCES = "preferences"
    CANARY = "canary"
    EXPERIMENT = "experiment"
    SETTINGS = "settings"


class Registry(msgspec.Struct, frozen=True, kw_only=True):
    """The documents in force, each kind in the order they were made; `version` grows with every change.

    `endpoints` are by the id of their model, preferences by agent type, all else by id. `settings` lie over values
    of the configuration file.
    """

    version: int = 0
    models: Mapping[str, Model] = {}
    endpoints: Mapping[str, tuple[ModelEndpoint, ...]] = {}
    rules: Mapping[str, RoutingRule] = {}
    preferences: Mapping[str, AgentPreferences] = {}
    canaries: Mapping[str, CanaryDeployment] = {}
    experiments: Mapping[str, Experiment] = {}
    settings: Settings = NO_SETTINGS


EMPTY_REGISTRY = Registry()
