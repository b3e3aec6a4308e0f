"""What was asked, what it cost and how it went: /api/analytics, /api/metrics/requests and /api/health/overview.

Whoever is bound to workspaces sees their rows alone, and a workspace of somebody else is not there at all.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Answer, Ready
from octoroute_py.edge.api.request_filter import FILTER_PARAMETERS, FILTERS, read_filter
from octoroute_py.edge.api.wire import own_workspace, principal_of, query, whole_number
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.analytics import Analytics
from octoroute_py.manage.overview import Overview, overview
from octoroute_py.manage.records import RequestsPage, as_csv, as_json
from octoroute_py.manage.reports import ALL, ModelsReport, SavingsReport, TimeRange, WorkspaceReport

MOST_ROWS = 1000
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,18})")
_LONGEST_NAME = 512
_CSV = (
    (b"content-type", b"text/csv; charset=utf-8"),
    (b"content-disposition", b'attachment; filename="requests.csv"'),
)

Word = TypeVar("Word", bound=StrEnum)


class AnalyticsApi:
    """The reports over the ledger."""

    def __init__(self, gateway: Gateway, analytics: Analytics) -> None:
        self._gateway = gateway
        self._analytics = analytics

    def add_to(self, table: Table) -> None:
        """All are for viewers, and all but the overview keep to the workspaces of whoever asks."""
        own, everything = Reach.OWN, Reach.ALL
        for path, handle, reach, operation in (
            ("/api/analytics/models", self._models, own, MODELS),
            ("/api/analytics/workspaces/{id:path}", self._workspace, own, WORKSPACE),
            ("/api/analytics/savings", self._savings, own, SAVINGS),
            ("/api/metrics/requests", self._requests, own, REQUESTS),
            ("/api/health/overview", self._overview, everything, OVERVIEW),
        ):
            table.add("GET", path, Answer(handle), role=Role.VIEWER, reach=reach, operation=operation)

    async def _models(self, scope: Scope, receive: Receive) -> object:
        given = query(scope, "timeRange", "modelId")
        model = given.get("modelId", ALL)
        if not model or len(model) > _LONGEST_NAME:
            raise BadRequest("'modelId' must be an endpoint's id or name, or 'all'.", param="modelId")
        wanted = None if model == ALL else model
        return await self._analytics.models(_range(given), model=wanted, workspaces=principal_of(scope).workspaces)

    async def _workspace(self, scope: Scope, receive: Receive) -> object:
        given = query(scope, "timeRange")
        return await self._analytics.workspace(_range(given), own_workspace(scope, scope["path_params"]["id"]))

    async def _savings(self, scope: Scope, receive: Receive) -> object:
        given = query(scope, "timeRange")
        return await self._analytics.savings(_range(given), workspaces=principal_of(scope).workspaces)

    async def _requests(self, scope: Scope, receive: Receive) -> Ready:
        given = query(scope, "limit", "before", "workspace", "format", *FILTERS)
        limit = whole_number(given, "limit", 100, low=1, high=MOST_ROWS)
        form = given.get("format", "json")
        if form not in ("json", "csv"):
            raise BadRequest("'format' must be json or csv.", param="format")
        before = _place(given.get("before"))
        found = await self._analytics.requests(
            limit=limit, before=before, workspaces=_whose(scope, given), only=read_filter(given)
        )
        next_ = None if found.next is None else f"{found.next.started_ms}-{found.next.id}"
        if form == "json":
            body = await asyncio.to_thread(as_json, found.records, next_=next_)
            return Ready(body, ((b"content-type", b"application/json"),))
        more = () if next_ is None else ((b"x-octoroute-next", next_.encode()),)
        return Ready(await asyncio.to_thread(as_csv, found.records), (*_CSV, *more))

    async def _overview(self, scope: Scope, receive: Receive) -> Overview:
        query(scope)
        gateway = self._gateway
        return overview(
            gateway.snapshot.table.endpoints,
            rules=[*gateway.config.routing.rules, *gateway.snapshot.registry.rules.values()],
            last_hour=await self._analytics.last_hour(),
            now=gateway.monotonic(),
        )


def _range(given: Mapping[str, str]) -> TimeRange:
    return _word(given, "timeRange", TimeRange) if "timeRange" in given else TimeRange.DAY


def _word(given: Mapping[str, str], name: str, words: type[Word]) -> Word:
    try:
        return words(given[name])
    except ValueError:
        raise BadRequest(f"'{name}' must be one of {', '.join(words)}.", param=name) from None


def _place(cursor: str | None) -> tuple[int, int] | None:
    if cursor is None:
        return None
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise BadRequest("'before' must be the 'next' of an earlier page.", param="before")
    return int(found[1]), int(found[2])


def _whose(scope: Scope, given: Mapping[str, str]) -> Sequence[str] | None:
    """The workspace that was asked for, else all that whoever asks may see."""
    workspace = given.get("workspace")
    return principal_of(scope).workspaces if workspace is None else [own_workspace(scope, workspace)]


_TIME_RANGE: Final = Parameter(name="timeRange", description="How far back it looks, 24h if not said", shape=TimeRange)
MODELS: Final = Operation(
    summary="What every model was asked, and how it went",
    answer=ModelsReport,
    query=(
        _TIME_RANGE,
        Parameter(
            name="modelId",
            description="Only this one: an endpoint's id or name",
            shape=Annotated[str, msgspec.Meta(min_length=1, max_length=_LONGEST_NAME)],
        ),
    ),
)
WORKSPACE: Final = Operation(
    summary="What a workspace asked, and what it cost", answer=WorkspaceReport, query=(_TIME_RANGE,)
)
SAVINGS: Final = Operation(
    summary="What was saved by not asking the deep tier for everything", answer=SavingsReport, query=(_TIME_RANGE,)
)
REQUESTS: Final = Operation(
    summary="Requests, newest first",
    answer=RequestsPage,
    also=("text/csv",),
    query=(
        Parameter(name="limit", description="How many", shape=Annotated[int, msgspec.Meta(ge=1, le=MOST_ROWS)]),
        Parameter(name="before", description="The next of the page before"),
        Parameter(name="workspace", description="Only those of this workspace"),
        *FILTER_PARAMETERS,
        Parameter(name="format", description="JSON if not said", shape=Literal["json", "csv"]),
    ),
    errors=(404,),
)
OVERVIEW: Final = Operation(summary="How the gateway is doing, in one look", answer=Overview)
