"""The router as JSON, camelCase: a request body in, a status and a body out; errors as `{error, code, details?}`."""

import math
from typing import NamedTuple

import msgspec

from octoroute_py.neural.body import RouteBody, RoutingResponse
from octoroute_py.neural.candidate import Candidate, RoutingRequest
from octoroute_py.neural.errors import CircuitOpen, InferenceFailed, InvalidInput, RouterError, StorageProblem
from octoroute_py.neural.router import Router
from octoroute_py.telemetry.dancer_counts import Ranked

INVALID = "invalid_request"


class Reply(NamedTuple):
    """What a client is to get; `retry_after_s` where trying again makes sense, else 0; `ranked` for metrics."""

    status: int
    body: bytes
    retry_after_s: int = 0
    ranked: Ranked | None = None


_decode = msgspec.json.Decoder(RouteBody).decode


def answer(router: Router, body: bytes) -> Reply:
    """What POST /api/neural/route says to this body."""
    try:
        response = router.route(read_request(body))
        return Reply(200, msgspec.json.encode(response), ranked=_ranked(response))
    except InvalidInput as error:
        return refusal(400, str(error), code=INVALID, field=error.field)
    except CircuitOpen as error:
        return refusal(503, str(error), code="circuit_open", retry_after_s=max(1, math.ceil(error.retry_in_s)))
    except StorageProblem:
        return refusal(503, "the stored candidates cannot be read now", code="storage_failed", retry_after_s=5)
    except InferenceFailed as error:
        return refusal(500, str(error), code="inference_failed")
    except RouterError as error:
        return refusal(500, str(error), code="router_failed")


def _ranked(response: RoutingResponse) -> Ranked:
    """What metrics count of a response: the work, and the leading decision."""
    leading = response.decisions[0] if response.decisions else None
    return Ranked(
        None if leading is None else leading.use_lightweight,
        0.0 if leading is None else leading.confidence,
        0.0 if leading is None else leading.uncertainty,
        response.candidates_processed,
        response.feature_time_us / 1e6,
        max(0, response.inference_time_us - response.feature_time_us) / 1e6,
    )


def read_request(body: bytes) -> RoutingRequest:
    """The request of a body; raises InvalidInput."""
    try:
        given = _decode(body)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$")
        raise InvalidInput(_sentence(message), field=where.rstrip("`").lstrip(".") or None) from None
    except (msgspec.DecodeError, RecursionError, ValueError):
        raise InvalidInput("the body is not valid JSON") from None
    candidates = tuple(
        Candidate(
            id=each.id,
            embedding=each.embedding,
            metadata=each.metadata,
            created_at=each.created_at,
            access_count=each.access_count,
            success_rate=each.success_rate,
        )
        for each in given.candidates
    )
    return RoutingRequest(
        query_embedding=given.query_embedding, candidates=candidates, metadata=given.metadata, top_k=given.top_k
    )


def refusal(status: int, message: str, *, code: str, field: str | None = None, retry_after_s: int = 0) -> Reply:
    """An error in the shape of /api."""
    body: dict[str, object] = {"error": message, "code": code}
    if field is not None:
        body["details"] = {"field": field}
    return Reply(status, msgspec.json.encode(body), retry_after_s)


def _sentence(message: str) -> str:
    """The decoder's words for a wrong type, in the tone of the other messages."""
    return message[:1].lower() + message[1:]
