"""The models and endpoints of `model_router_*`: requests, time, tokens and money, and how they stand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client.core import Metric

from octoroute_py.core.money import usd
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import BreakerState
from octoroute_py.telemetry.bounded import Bounded
from octoroute_py.telemetry.families import counter, gauge, histogram
from octoroute_py.telemetry.labels import OTHER
from octoroute_py.telemetry.live_rows import LiveRows
from octoroute_py.telemetry.samples import Histogram
from octoroute_py.telemetry.served import Served, first_models

NO_AGENT = "none"
"""Agent type of a request that names none."""

_MODEL_S = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
_ENDPOINT_S = (0.001, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
_STATE = {BreakerState.CLOSED: 0, BreakerState.OPEN: 1, BreakerState.HALF_OPEN: 2}
_MORE_REQUESTS = 40
_MORE_TENANTS = 20

_Called = tuple[str, str, str]


class Spent:
    """Tokens and money of one model for one tenant."""

    __slots__ = ("completion", "cost_uusd", "prompt")

    def __init__(self) -> None:
        self.prompt = self.completion = self.cost_uusd = 0


class _Place:
    """Where an endpoint's requests count: its model, and what it may share with others; `spent` is by tenant."""

    __slots__ = ("endpoint_s", "model", "model_s", "spent")

    def __init__(self, model: str, model_s: Histogram, endpoint_s: Histogram) -> None:
        self.model = model
        self.model_s = model_s
        self.endpoint_s = endpoint_s
        self.spent: dict[str, Spent] = {}


class ModelCounts:
    """For the event loop's thread to count in, and for any to read."""

    __slots__ = ("_agents", "_calls", "_endpoints", "_models", "_other", "_places", "_providers", "_spent", "_tenants")

    def __init__(self, default_tenant: str) -> None:
        self._tenants = (default_tenant, OTHER)
        self._agents: frozenset[str] = frozenset()
        self._models: dict[str, Histogram] = {}
        self._endpoints: dict[str, Histogram] = {}
        self._providers: dict[str, str] = {}
        self._other = _Place(OTHER, Histogram(_MODEL_S), Histogram(_ENDPOINT_S))
        self._places: dict[str, _Place] = {}
        self._calls: Bounded[_Called] = Bounded((), more=0, fold=self._any_call)
        self._spent: dict[tuple[str, str], Spent] = {}

    def bind(
        self, endpoints: Sequence[Served], *, models: int, latencies: int, agent_types: Iterable[str] = ()
    ) -> None:
        """Take these endpoints as the known ones, and the first so many of them, and of their models, for labels."""
        named = first_models(endpoints, models)
        self._agents = frozenset(agent_types)
        self._providers = {OTHER: OTHER} | {name: each.provider for name, each in named.items()}
        self._models = {name: self._models.get(name) or Histogram(_MODEL_S) for name in named}
        first = endpoints[:latencies]
        self._endpoints = {e.endpoint_id: self._endpoints.get(e.endpoint_id) or Histogram(_ENDPOINT_S) for e in first}
        self._places = {each.endpoint_id: self._place(each) for each in endpoints}
        self._keep_counts(named)

    def _place(self, each: Served) -> _Place:
        own = self._models.get(each.model)
        endpoint_s = self._endpoints.get(each.endpoint_id, self._other.endpoint_s)
        return _Place(OTHER if own is None else each.model, own or self._other.model_s, endpoint_s)

    def _keep_counts(self, named: Mapping[str, Served]) -> None:
        """What is still known goes on counting; what is shown from the start is there."""
        names = (*named, OTHER)
        shown = [(name, agent, tenant) for name in named for agent in (NO_AGENT, OTHER) for tenant in self._tenants]
        before = self._calls.counts
        self._calls = Bounded(shown, more=_MORE_REQUESTS, fold=self._any_call)
        self._calls.counts |= {key: count for key, count in before.items() if key[0] in names}
        kept = {key: spent for key, spent in self._spent.items() if key[0] in names}
        self._spent = {(name, tenant): Spent() for name in named for tenant in self._tenants} | kept

    def ended(self, endpoint_id: str, *, agent_type: str, tenant: str, usage: Usage | None, seconds: float) -> None:
        """A request ended that this endpoint answered, or was asked last."""
        place = self._places.get(endpoint_id, self._other)
        agent = agent_type if agent_type in self._agents else (OTHER if agent_type else NO_AGENT)
        self._calls.add((place.model, agent, tenant))
        place.model_s.observe(seconds)
        if usage is not None:
            spent = place.spent.get(tenant) or self._spent_by(place, tenant)
            # A counter never falls, whatever an upstream reports.
            if usage.prompt > 0:
                spent.prompt += usage.prompt
            if usage.completion > 0:
                spent.completion += usage.completion

    def attempted(self, endpoint_id: str, *, tenant: str, seconds: float, cost_uusd: int) -> None:
        """An attempt at an endpoint took so long and cost so much."""
        place = self._places.get(endpoint_id, self._other)
        place.endpoint_s.observe(seconds)
        if cost_uusd > 0:
            spent = place.spent.get(tenant) or self._spent_by(place, tenant)
            spent.cost_uusd += cost_uusd

    def _spent_by(self, place: _Place, tenant: str) -> Spent:
        """Where a place counts what a tenant spends, looked up once."""
        key = (place.model, tenant)
        room = 2 * (len(self._models) + 1) + _MORE_TENANTS
        if key not in self._spent and len(self._spent) >= room:
            key = (place.model, OTHER)
        spent = place.spent[tenant] = self._spent.setdefault(key, Spent())
        return spent

    @staticmethod
    def _any_call(key: _Called) -> _Called:
        return key[0], OTHER, OTHER

    def collect(self, live: LiveRows) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        yield from self._endpoint_families(live)
        providers = self._providers
        yield counter(
            "model_router_model_requests_total",
            "Requests by the model that answered or was tried last",
            ("model_id", "model_provider", "agent_type", "tenant_id_hash"),
            (
                ((model, providers.get(model, OTHER), agent, tenant), count)
                for (model, agent, tenant), count in sorted(self._calls.counts.copy().items())
            ),
        )
        models = list(self._models.items())
        if self._other.model_s.touched:
            models.append((OTHER, self._other.model_s))
        yield histogram(
            "model_router_model_latency_seconds",
            "Time from a request's arrival to its end, by model",
            ("model_id", "model_provider"),
            (((model, providers.get(model, OTHER)), samples) for model, samples in models),
        )
        yield from self._spent_families()

    def _spent_families(self) -> Iterator[Metric]:
        rows = sorted(self._spent.copy().items())
        yield counter(
            "model_router_tokens_total",
            "Tokens by model; total is prompt and completion together",
            ("model_id", "token_type", "tenant_id_hash"),
            (
                ((model, kind, tenant), count)
                for (model, tenant), spent in rows
                for kind, count in (
                    ("prompt", spent.prompt),
                    ("completion", spent.completion),
                    ("total", spent.prompt + spent.completion),
                )
            ),
        )
        yield counter(
            "model_router_cost_usd_total",
            "What attempts at the model cost, in USD",
            ("model_id", "model_provider", "tenant_id_hash"),
            (
                ((model, self._providers.get(model, OTHER), tenant), usd(spent.cost_uusd))
                for (model, tenant), spent in rows
            ),
        )

    def _endpoint_families(self, live: LiveRows) -> Iterator[Metric]:
        places, shown = self._places, self._endpoints
        breakers = [row for row in live.breakers if row.scope == "endpoint" and row.id in shown]
        yield gauge(
            "model_router_circuit_breaker_state",
            "State of an endpoint's breaker: 0 closed, 1 open, 2 half open",
            ("model_id", "circuit_breaker_name"),
            (((places[row.id].model, row.id), _STATE[row.state]) for row in breakers),
        )
        yield counter(
            "model_router_circuit_breaker_failures_total",
            "Failures that the breaker was told of",
            ("model_id", "circuit_breaker_name"),
            (((places[row.id].model, row.id), row.failures) for row in breakers),
        )
        yield gauge(
            "model_router_endpoint_health",
            "Whether the endpoint may be tried: 1, or 0 when it is out for a fault",
            ("endpoint_url", "model_provider"),
            (((id_, self._provider(id_)), float(up)) for id_, up in dict(live.up).items() if id_ in shown),
        )
        latencies = list(shown.items())
        if self._other.endpoint_s.touched:
            latencies.append((OTHER, self._other.endpoint_s))
        yield histogram(
            "model_router_endpoint_latency_seconds",
            "Time of an attempt at the endpoint",
            ("endpoint_url", "model_provider"),
            (((id_, self._provider(id_)), samples) for id_, samples in latencies),
        )
        yield gauge(
            "model_router_bulkhead_pool_usage",
            "Share in use of what may be under way at once",
            ("pool_name",),
            (((name,), share) for name, share in dict(live.pools).items() if name in shown or name == GATEWAY_POOL),
        )

    def _provider(self, endpoint_id: str) -> str:
        place = self._places.get(endpoint_id)
        return OTHER if place is None else self._providers.get(place.model, OTHER)


GATEWAY_POOL = "gateway"
"""The pool of all requests, where `limits.max_in_flight` bounds them."""
