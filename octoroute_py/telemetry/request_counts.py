"""The requests of `model_router_*`: by route, status and tenant, and what became of canary deployments."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric

from octoroute_py.core.allowance import DEFAULT_WORKSPACE
from octoroute_py.core.rollout import Side, arm_of
from octoroute_py.core.words import Surface
from octoroute_py.telemetry.bounded import Bounded
from octoroute_py.telemetry.families import counter, gauge, histogram
from octoroute_py.telemetry.labels import CODES, OTHER
from octoroute_py.telemetry.live_rows import CanaryRow, LiveRows
from octoroute_py.telemetry.samples import Histogram
from octoroute_py.telemetry.served import tenant_of

ROUTES = {
    Surface.CHAT: "/v1/chat/completions",
    Surface.COMPLETIONS: "/v1/completions",
    Surface.EMBEDDINGS: "/v1/embeddings",
    Surface.RESPONSES: "/v1/responses",
}
"""What `route` says; a request in one of the older bodies counts for the operation it stands for."""
MAX_TENANTS = 50
"""Workspaces with a label of their own, if that many requests, errors or costs are told apart."""

_REQUEST_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_USUAL = (200, 400, 403, 404, 429, 499, 500, 502, 503, 504)
_STATUSES = frozenset((*_USUAL, 401, 402, 408, 409, 411, 413, 415, 422, 431, 508))
_USUAL_CODES = ("model_not_found", "invalid_request_error", "upstream_error", "upstream_timeout")
_MORE_REQUESTS = 40
_MORE_ERRORS = 30

_Request = tuple[str, int, str]
_Error = tuple[str, str, str]


class Tenants:
    """Hashes of the workspaces that are configured; all others are `other`."""

    __slots__ = ("_known", "default")

    def __init__(self) -> None:
        self.default = tenant_of(DEFAULT_WORKSPACE)
        self._known = {DEFAULT_WORKSPACE: self.default}

    def bind(self, workspaces: Iterable[str]) -> None:
        """Take these workspaces as the known ones."""
        names = sorted(set(workspaces) - {DEFAULT_WORKSPACE})[:MAX_TENANTS]
        self._known = {DEFAULT_WORKSPACE: self.default, **{name: tenant_of(name) for name in names}}

    def of(self, workspace: str) -> str:
        """What stands for a workspace."""
        return self._known.get(workspace, OTHER) if workspace else self.default


CANARY_ERRORS = ("error", "timeout", "rate_limited")
"""How a request may end badly (`core.ending`); of one whose client left nobody knows."""


class CanaryCounts:
    """What the two sides of a deployment that runs came to."""

    __slots__ = ("errors", "requests")

    def __init__(self) -> None:
        self.requests = dict.fromkeys(Side, 0)
        self.errors = {(side, error): 0 for side in Side for error in CANARY_ERRORS}


class RequestCounts:
    """For the event loop's thread to count in, and for any to read."""

    __slots__ = ("_arms", "_canaries", "_durations", "_errors", "_requests")

    def __init__(self, tenants: Tenants) -> None:
        chat = ROUTES[Surface.CHAT]
        both = (tenants.default, OTHER)
        usual = [(chat, status, tenant) for status in _USUAL for tenant in both]
        rest = [(route, 200, tenants.default) for route in ROUTES.values() if route != chat]
        codes = [(chat, code, tenant) for code in _USUAL_CODES for tenant in both]
        self._requests: Bounded[_Request] = Bounded([*usual, *rest], more=_MORE_REQUESTS, fold=_any_request)
        self._errors: Bounded[_Error] = Bounded(codes, more=_MORE_ERRORS, fold=_any_error)
        self._durations = {surface: Histogram(_REQUEST_S) for surface in ROUTES}
        self._canaries: dict[str, CanaryCounts] = {}
        self._arms: dict[str, tuple[CanaryCounts, Side]] = {}

    def bind_canaries(self, ids: Iterable[str]) -> None:
        """Take these deployments as those that run: counts of those that stay go on."""
        self._canaries = {each: self._canaries.get(each) or CanaryCounts() for each in ids}
        self._arms = {arm_of(each, side): (counts, side) for each, counts in self._canaries.items() for side in Side}

    def ended(self, surface: Surface, status: int, *, tenant: str, seconds: float, error: str | None) -> None:
        """A client's request ended with this status; `error` is our code, None if its answer was whole."""
        route = ROUTES[surface]
        self._requests.add((route, status if status in _STATUSES else 0, tenant))
        self._durations[surface].observe(seconds)
        if error is not None:
            self._errors.add((route, error if error in CODES else OTHER, tenant))

    def decided(self, arms: str, ending: str) -> None:
        """Arms decided about a request that ended so; those that are no canary's, or unknown, do not count."""
        for arm in arms.split(","):
            found = self._arms.get(arm)
            if found is not None:
                counts, side = found
                counts.requests[side] += 1
                if (side, ending) in counts.errors:
                    counts.errors[side, ending] += 1

    def collect(self, live: LiveRows) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        yield counter(
            "model_router_requests_total",
            "Requests to models that have ended",
            ("method", "route", "status_code", "tenant_id_hash"),
            (
                (("POST", route, str(status) if status else OTHER, tenant), count)
                for (route, status, tenant), count in sorted(self._requests.counts.copy().items())
            ),
        )
        yield histogram(
            "model_router_request_duration_seconds",
            "Time from a request's arrival to its end",
            ("method", "route"),
            ((("POST", ROUTES[surface]), samples) for surface, samples in self._durations.items()),
        )
        yield counter(
            "model_router_errors_total",
            "Requests to models whose answer was not whole, by error code",
            ("method", "route", "error_type", "tenant_id_hash"),
            (
                (("POST", route, code, tenant), count)
                for (route, code, tenant), count in sorted(self._errors.counts.copy().items())
            ),
        )
        yield from self._canary_families(live.canaries)

    def _canary_families(self, rows: Iterable[CanaryRow]) -> Iterator[Metric]:
        known = [(row, self._canaries[row.id]) for row in rows if row.id in self._canaries]
        sides = [(row, counts, side) for row, counts in known for side in Side]
        yield counter(
            "model_router_canary_requests_total",
            "Requests that a running canary deployment decided about",
            ("deployment_id", "is_canary", "model_id"),
            ((_canary_labels(row, side), counts.requests[side]) for row, counts, side in sides),
        )
        yield counter(
            "model_router_canary_errors_total",
            "Those of them that ended otherwise than well",
            ("deployment_id", "is_canary", "model_id", "error_type"),
            (
                ((*_canary_labels(row, side), error), counts.errors[side, error])
                for row, counts, side in sides
                for error in CANARY_ERRORS
            ),
        )
        yield gauge(
            "model_router_canary_traffic_split_production",
            "Percentage of the callers that the production model has",
            ("deployment_id",),
            (((row.id,), 100.0 - row.share) for row, _ in known),
        )
        yield gauge(
            "model_router_canary_traffic_split_canary",
            "Percentage of the callers that the canary has",
            ("deployment_id",),
            (((row.id,), row.share) for row, _ in known),
        )


def _canary_labels(row: CanaryRow, side: Side) -> tuple[str, str, str]:
    canary = side is Side.CANARY
    return row.id, "true" if canary else "false", row.canary if canary else row.production


def _any_request(key: _Request) -> _Request:
    return key[0], 0, OTHER


def _any_error(key: _Error) -> _Error:
    return key[0], OTHER, OTHER
