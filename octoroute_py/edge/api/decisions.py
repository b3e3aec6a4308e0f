"""Past decisions: GET /v1/routing/decisions/{id}, the same for the page, and what the page tries requests with.

A key sees the requests that came with it; viewers see all, or those of their workspaces. What somebody may not see is
as unknown as what there never was.
"""

from collections.abc import Callable
from typing import Annotated, Any, Final

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.admission.principal import Principal
from octoroute_py.core.errors import BadRequest, GatewayError, NotFound, Refused
from octoroute_py.core.ids import safe_request_id
from octoroute_py.core.words import Role, Surface
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import principal_of, query
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.explain import explained_chat
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.model_call import ModelCall, OpenAI
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import api_error_body
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.gateway.receipt import Receipt, ReceiptKey, receipt_of_row
from octoroute_py.gateway.receipts import Kept, tell
from octoroute_py.manage.analytics import Analytics
from octoroute_py.manage.store import TRY_AGAIN_S
from octoroute_py.routing.explain import Explanation
from octoroute_py.storage.history import Record

_DIGITS: Final = "^[0-9]{1,19}$"
Found = Kept | Record


class DecisionRoutes:
    """The routes; requests that this process no longer remembers are looked for in the journal.

    `behind` tells whether rows wait that the journal does not have yet: what is not found may then be one of those.
    """

    def __init__(self, gateway: Gateway, analytics: Analytics, *, behind: Callable[[], bool]) -> None:
        self._gateway = gateway
        self._analytics = analytics
        self._behind = behind

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        own, told = Reach.OWN, Answer(self._told)
        table.add("GET", "/v1/routing/decisions/{id:path}", told, role=Role.INFERENCE, reach=own)
        table.add("GET", "/api/decisions/{id:path}", told, role=Role.VIEWER, reach=own, operation=DECISION)
        explain, chat = explained_chat(self._gateway), ModelCall(self._gateway, Surface.CHAT, Playground())
        table.add(
            "POST", "/api/playground/explain", explain, role=Role.OPERATOR, reach=own, operation=PLAYGROUND_EXPLAIN
        )
        table.add("POST", "/api/playground/chat", chat, role=Role.OPERATOR, reach=own, operation=PLAYGROUND_CHAT)

    async def _told(self, scope: Scope, receive: Receive) -> Receipt:
        wanted = query(scope, "entry").get("entry")
        if wanted is not None and not (wanted.isascii() and wanted.isdecimal() and len(wanted) <= 19):
            raise BadRequest("'entry' must be one of a receipt's 'entries'.", param="entry")
        request_id, by = scope["path_params"]["id"], principal_of(scope)
        found = {_entry(each): each for each in await self._find(request_id, by)}
        each = next(iter(found.values()), None) if wanted is None else found.get(int(wanted))
        if each is None:
            raise self._unknown()
        return msgspec.structs.replace(_receipt(each, by), entries=tuple(map(str, found)))

    async def _find(self, request_id: str, by: Principal) -> list[Found]:
        """The requests of this id that `by` may see, newest first."""
        if safe_request_id(request_id.encode("utf-8", "replace")) is None:
            return []
        kept: list[Found] = [each for each in self._gateway.receipts.of(request_id) if _may_see(by, each)]
        if kept and _entry(kept[0]) == 0:
            return kept  # an id of our own making is there once
        seen = {_entry(each) for each in kept}
        try:
            rows = await self._analytics.named(request_id)
        except Refused:
            if not kept and self._analytics.keeps:
                raise
            rows = []
        others = [row for row in rows if row.entry not in seen and _may_see(by, row)]
        return sorted([*kept, *others], key=_started_ms, reverse=True)

    def _unknown(self) -> GatewayError:
        if self._analytics.keeps and self._behind():
            return Refused(
                "The request is not known, but not everything is in the journal yet.",
                code="storage_behind",
                retry_after_s=TRY_AGAIN_S,
            )
        return NotFound("There is no such request.", code="not_found")


def _may_see(by: Principal, found: Found) -> bool:
    key_id, workspace = (
        (found.key_id, found.workspace)
        if isinstance(found, Record)
        else (found.outcome.key_id, found.outcome.workspace)
    )
    own = by.workspaces is None or workspace in by.workspaces
    return own and (by.may(Role.VIEWER) or key_id == by.key_id)


def _entry(found: Found) -> int:
    return found.entry if isinstance(found, Record) else found.outcome.entry


def _started_ms(found: Found) -> int:
    return found.started_ms if isinstance(found, Record) else found.outcome.started_ms


def _receipt(found: Found, by: Principal) -> Receipt:
    shows_key = by.may(Role.VIEWER)
    if isinstance(found, Record):
        return receipt_of_row(found, key=ReceiptKey(id=found.key_id, name=None) if shows_key else None)
    return tell(found, shows_key=shows_key)


class Playground(OpenAI):
    """OpenAI's dialect, with errors before the answer as the management API tells them."""

    def error(self, ctx: RequestContext, error: GatewayError) -> bytes:
        """The shape of /api."""
        return api_error_body(error)


class PlaygroundChat(msgspec.Struct, frozen=True):
    """A chat completion's body; what else stands in it goes to the upstream as it is."""

    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    messages: list[dict[str, Any]]
    stream: bool = False


DECISION: Final = Operation(
    summary="Why a past request went where it went, and what came of it",
    answer=Receipt,
    query=(
        Parameter(
            name="entry",
            description="Which of several requests of this id, the newest if not said",
            shape=Annotated[str, msgspec.Meta(pattern=_DIGITS)],
        ),
    ),
    errors=(404,),
)
PLAYGROUND_EXPLAIN: Final = Operation(
    summary="Where a chat request would go, and why",
    body=PlaygroundChat,
    answer=Explanation,
    query=(
        Parameter(
            name="judge", description="`ask` lets a judge be asked", shape=Annotated[str, msgspec.Meta(pattern="^ask$")]
        ),
    ),
    errors=(404,),
)
PLAYGROUND_CHAT: Final = Operation(
    summary="Send a chat request as a client would",
    body=PlaygroundChat,
    answer=dict[str, Any],
    also=("text/event-stream",),
    errors=(404, 422, 502, 504),
)
