"""The router's question as a body of JSON, and its answer; here without numpy, for whoever only describes them."""

from typing import Any

import msgspec


class RouterCandidate(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """Something to route to: `embedding` and how it has done; `created_at` is Unix time, absent now.

    `success_rate` from 0 to 1 is the mean of `access_count` uses. `metadata` is compared with the query's.
    """

    id: str
    embedding: list[float]
    metadata: dict[str, Any] | None = None
    created_at: float | None = None
    access_count: int = 0
    success_rate: float = 0.0


class RouteBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A query and who may take it; without candidates the nearest of the database. `top_k`: only so many decisions."""

    query_embedding: list[float]
    candidates: list[RouterCandidate] = []
    metadata: dict[str, Any] | None = None
    top_k: int | None = None


class RoutingDecision(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How sure the router is that the light model does well with this candidate.

    `confidence` is that probability. `uncertainty` is the smallest error level at which one of the two answers can be
    ruled out, 1 where both are. Both lie in 0 to 1.
    """

    candidate_id: str
    confidence: float
    use_lightweight: bool
    uncertainty: float


class RoutingResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Decisions, most confident first; times in microseconds.

    `inference_time_us` is the whole call, the signals' `feature_time_us` included. `routing_id` names the routing in
    the database, for its outcome; None without one.
    """

    decisions: tuple[RoutingDecision, ...]
    inference_time_us: int
    candidates_processed: int
    feature_time_us: int
    routing_id: int | None = None
