"""What was asked, what it cost and how it went: /api/analytics, /api/metrics/requests and /api/health/overview.

Whoever is bound to workspaces sees their rows alone, and a workspace of somebody else is not there at all.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import TypeVar

from starlette.types import ASGIApp, Receive, Scope, Send

from octoroute_py.core.ending import Ended
from octoroute_py.core.errors import BadRequest, GatewayError, Refused
from octoroute_py.core.words import Role
from octoroute_py.edge.api.wire import own_workspace, principal_of, query, whole_number
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.guard import Reach
from octoroute_py.edge.wire_io import request_id_of, send_bytes, send_error, send_json
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.manage.analytics import Analytics
from octoroute_py.manage.overview import Overview, overview
from octoroute_py.manage.records import as_csv, as_json
from octoroute_py.manage.reports import ALL, TimeRange

MOST_ROWS = 1000
_CURSOR = re.compile(r"([0-9]{1,15})-([0-9]{1,18})")
_LONGEST_NAME = 512

Word = TypeVar("Word", bound=StrEnum)


class AnalyticsApi:
    """The reports over the ledger; `analytics` None is a gateway that keeps none."""

    def __init__(self, gateway: Gateway, analytics: Analytics | None) -> None:
        self._gateway = gateway
        self._analytics = analytics

    def add_to(self, table: Table) -> None:
        """All are for viewers, and all but the overview keep to the workspaces of whoever asks."""
        for path, app in {
            "/api/analytics/models": _answering(self._models),
            "/api/analytics/workspaces/{id:path}": _answering(self._workspace),
            "/api/analytics/savings": _answering(self._savings),
            "/api/metrics/requests": _telling_errors(self._requests),
        }.items():
            table.add("GET", path, app, role=Role.VIEWER, reach=Reach.OWN)
        table.add("GET", "/api/health/overview", _answering(self._overview), role=Role.VIEWER, reach=Reach.ALL)

    def _kept(self) -> Analytics:
        if self._analytics is None:
            raise Refused(
                "This gateway keeps no ledger. Set [storage] url to a database and start it again.",
                code="storage_off",
                status=503,
                final=True,
            )
        return self._analytics

    async def _models(self, scope: Scope) -> object:
        given = query(scope, "timeRange", "modelId")
        model = given.get("modelId", ALL)
        if not model or len(model) > _LONGEST_NAME:
            raise BadRequest("'modelId' must be an endpoint's id or name, or 'all'.", param="modelId")
        wanted = None if model == ALL else model
        return await self._kept().models(_range(given), model=wanted, workspaces=principal_of(scope).workspaces)

    async def _workspace(self, scope: Scope) -> object:
        given = query(scope, "timeRange")
        return await self._kept().workspace(_range(given), own_workspace(scope, scope["path_params"]["id"]))

    async def _savings(self, scope: Scope) -> object:
        given = query(scope, "timeRange")
        return await self._kept().savings(_range(given), workspaces=principal_of(scope).workspaces)

    async def _requests(self, scope: Scope, receive: Receive, send: Send) -> None:
        given = query(scope, "limit", "before", "workspace", "status", "format")
        limit = whole_number(given, "limit", 100, low=1, high=MOST_ROWS)
        form = given.get("format", "json")
        if form not in ("json", "csv"):
            raise BadRequest("'format' must be json or csv.", param="format")
        before = _place(given.get("before"))
        how = _word(given, "status", Ended) if "status" in given else None
        records = await self._kept().requests(limit=limit, before=before, workspaces=_whose(scope, given), how=how)
        next_ = f"{records[-1].started_ms}-{records[-1].id}" if len(records) == limit else None
        headers = [(b"x-request-id", request_id_of(scope).encode())]
        if form == "csv":
            if next_ is not None:
                headers.append((b"x-octoroute-next", next_.encode()))
            headers += [
                (b"content-type", b"text/csv; charset=utf-8"),
                (b"content-disposition", b'attachment; filename="requests.csv"'),
            ]
            body = await asyncio.to_thread(as_csv, records)
        else:
            headers.append((b"content-type", b"application/json"))
            body = await asyncio.to_thread(as_json, records, next_=next_)
        await send_bytes(send, 200, body, headers)

    async def _overview(self, scope: Scope) -> Overview:
        query(scope)
        gateway = self._gateway
        return overview(
            gateway.snapshot.table.endpoints,
            rules=gateway.config.routing.rules,
            last_hour=None if self._analytics is None else await self._analytics.last_hour(),
            now=gateway.monotonic(),
        )


def _answering(report: Callable[[Scope], Awaitable[object]]) -> ASGIApp:
    """An endpoint that sends a report as JSON."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(scope, send, await report(scope))

    return _telling_errors(app)


def _telling_errors(app: ASGIApp) -> ASGIApp:
    async def telling(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await app(scope, receive, send)
        except GatewayError as error:
            await send_error(scope, send, error)

    return telling


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
