"""What people thought of answers: POST /v1/feedback as OpenAI's clients write, /api/feedback as the API does."""

from typing import Annotated, Final

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.clock import iso
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.verdict import Verdict
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import principal_of, query, read_json
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.operation import Operation
from octoroute_py.manage.feedback import Feedback

Rating = Annotated[int, msgspec.Meta(ge=1, le=5)]


class OpenAIFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body under /v1."""

    request_id: str
    rating: Rating | None = None
    success: bool | None = None
    smaller_tier_would_do: bool | None = None


class ApiFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The body under /api."""

    request_id: str
    rating: Rating | None = None
    success: bool | None = None
    smaller_tier_would_do: bool | None = None


class FeedbackGiven(msgspec.Struct, frozen=True, rename="camel"):
    """The request that was judged."""

    success: bool
    request_id: str


class FeedbackTold(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was said of a request; null for what was not."""

    request_id: str
    workspace_id: str
    model_id: str
    tier: str
    rating: int | None
    success: bool | None
    smaller_tier_would_do: bool | None
    timestamp: str | None
    given_by: str | None


class FeedbackRoutes:
    """The routes. Each keeps to the workspaces of the key: another's request is as unknown as one that is not."""

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        own = Reach.OWN
        table.add("POST", "/v1/feedback", Answer(self._give_openai), role=Role.INFERENCE, reach=own)
        table.add("POST", "/api/feedback", Answer(self._give), role=Role.OPERATOR, reach=own, operation=GIVE)
        table.add("GET", "/api/feedback/{id:path}", Answer(self._told), role=Role.VIEWER, reach=own, operation=TOLD)

    async def _give_openai(self, scope: Scope, receive: Receive) -> dict[str, object]:
        given = await read_json(scope, receive, OpenAIFeedback)
        await self._feedback.give(given.request_id, read_verdict(given), by=principal_of(scope))
        return {"success": True, "request_id": given.request_id}

    async def _give(self, scope: Scope, receive: Receive) -> FeedbackGiven:
        given = await read_json(scope, receive, ApiFeedback)
        await self._feedback.give(given.request_id, read_verdict(given), by=principal_of(scope))
        return FeedbackGiven(success=True, request_id=given.request_id)

    async def _told(self, scope: Scope, receive: Receive) -> FeedbackTold:
        query(scope)
        told = await self._feedback.told(scope["path_params"]["id"], by=principal_of(scope))
        verdict = told.verdict or Verdict()
        return FeedbackTold(
            request_id=told.request_id,
            workspace_id=told.workspace,
            model_id=told.endpoint,
            tier=told.tier,
            rating=verdict.rating,
            success=verdict.success,
            smaller_tier_would_do=verdict.smaller_tier_would_do,
            timestamp=None if told.at_ms is None else iso(told.at_ms),
            given_by=told.by,
        )


def read_verdict(given: OpenAIFeedback | ApiFeedback) -> Verdict:
    """What was said. Raises BadRequest when that is nothing."""
    verdict = Verdict(rating=given.rating, success=given.success, smaller_tier_would_do=given.smaller_tier_would_do)
    if verdict == Verdict():
        names = given.__struct_encode_fields__[1:]
        raise BadRequest(f"Say at least one of {', '.join(names)}.")
    return verdict


GIVE: Final = Operation(
    summary="Say what somebody thought of an answer", body=ApiFeedback, answer=FeedbackGiven, errors=(404,)
)
TOLD: Final = Operation(summary="What was said of a request", answer=FeedbackTold)
