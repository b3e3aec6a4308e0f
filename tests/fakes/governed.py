"""A gateway's choice alone: a file's endpoints, a registry, and requests that are only decided about."""

import random
from collections.abc import Mapping
from typing import Any

import msgspec

from octoroute_py.admission.principal import ANONYMOUS, Principal
from octoroute_py.config.schema import Config, EndpointConfig, RoutingConfig, StrategyName
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.catalog import Model, ModelEndpoint, Provider
from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus
from octoroute_py.core.registry import Registry
from octoroute_py.core.rollout import CanaryDeployment
from octoroute_py.core.rules import AgentPreferences, Conditions, RoutingRule, RuleTarget
from octoroute_py.core.words import Role, Surface
from octoroute_py.gateway.context import RawHeaders, RequestContext
from octoroute_py.gateway.snapshot import make_snapshot
from octoroute_py.routing.strategies import make_router
from octoroute_py.tiers.registered import with_registry
from octoroute_py.tiers.table import TierTable
from octoroute_py.transport.openai import parse_body
from tests.fakes.endpoints import config, endpoint_config
from tests.fakes.silent_transport import SilentTransport

Document = Model | ModelEndpoint | RoutingRule | AgentPreferences | CanaryDeployment | Experiment
WALL_S = 1_700_000_000.0  # Tuesday 2023-11-14, 22:13:20 UTC
FILE = ("fast/small#1", "balanced/middle#1", "deep/large#1")


def model(id_: str, **fields: Any) -> Model:
    """A registered model of that id."""
    return Model(id=id_, **{"name": id_, "provider": Provider.CUSTOM, **fields})


def endpoint(model_id: str, number: int = 1, **fields: Any) -> ModelEndpoint:
    """An endpoint of a registered model."""
    url = f"http://127.0.0.1:1/{model_id}/{number}"
    return ModelEndpoint(id=f"{model_id}:{number}", model_id=model_id, url=url, **fields)


def rule(id_: str, *targets: RuleTarget | str, **fields: Any) -> RoutingRule:
    """A rule that sends to these."""
    found = tuple(each if isinstance(each, RuleTarget) else RuleTarget(model_id=each) for each in targets)
    fields["conditions"] = Conditions(**fields.get("conditions", {}))
    return RoutingRule(**{"id": id_, "name": id_, "targets": found, **fields})


def experiment(*arms: Arm, **fields: Any) -> Experiment:
    """An experiment that runs, over these arms."""
    return Experiment(**{"id": "x", "name": "x", "arms": arms, "status": ExperimentStatus.RUNNING, **fields})


def registry(*documents: Document, version: int = 1) -> Registry:
    """These documents as one registry; a model without endpoints gets one."""
    models = {each.id: each for each in documents if isinstance(each, Model)}
    given = [each for each in documents if isinstance(each, ModelEndpoint)]
    endpoints = {id_: tuple(each for each in given if each.model_id == id_) or (endpoint(id_),) for id_ in models}
    return Registry(
        version=version,
        models=models,
        endpoints=endpoints,
        rules={each.id: each for each in documents if isinstance(each, RoutingRule)},
        preferences={each.agent_type: each for each in documents if isinstance(each, AgentPreferences)},
        experiments={each.id: each for each in documents if isinstance(each, Experiment)},
        canaries={each.id: each for each in documents if isinstance(each, CanaryDeployment)},
    )


class Governed:
    """A snapshot of the file's endpoints and a registry; time stands still at `now` and WALL_S."""

    def __init__(
        self,
        *documents: Document,
        file: tuple[EndpointConfig, ...] | None = None,
        routing: RoutingConfig | None = None,
        policies: Mapping[str, WorkspacePolicy] | None = None,
    ) -> None:
        self.now = 0.0
        self.policies = policies or {}
        kept = registry(*documents)
        routing = routing or RoutingConfig(strategy=StrategyName.RULE)
        whole: Config = with_registry(config(*(file or map(endpoint_config, FILE)), routing=routing), kept)
        self.table = TierTable.build(whole, lambda _: SilentTransport(), rng=random.Random(3), now=0.0)
        router = make_router(whole, lambda: WALL_S)
        self.snapshot = make_snapshot(whole, self.table, router, generation=1, registry=kept)

    def request(
        self,
        *,
        request_id: str = "req-1",
        key_id: str = ANONYMOUS,
        headers: RawHeaders | None = None,
        surface: Surface = Surface.CHAT,
        **body: Any,
    ) -> RequestContext:
        """A request that has been read and has entered; the choice is the gateway's unless `model` says otherwise."""
        ctx = RequestContext(
            request_id=request_id,
            surface=surface,
            snapshot=self.snapshot,
            principal=Principal(key_id, Role.INFERENCE, key_id),
            raw_headers=headers or [],
            monotonic=lambda: self.now,
            wall=lambda: WALL_S,
        )
        sent = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **body}
        ctx.read(parse_body(msgspec.json.encode(sent), surface))
        ctx.enter(self.policies)
        return ctx

    def take_out(self, endpoint_id: str) -> None:
        """Nobody is to be sent there for now."""
        self.table.by_id[endpoint_id].cool_down(self.now, 60.0)
