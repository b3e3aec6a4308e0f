"""`/admin/drain` and `/admin/undrain`: let the process, or one endpoint, finish what it has and take nothing new.

An endpoint stays drained through reloads, as long as it is reached in the same way; a restart ends it.
"""

from typing import Final

import msgspec
import structlog
from starlette.types import Receive, Scope

from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.core.words import Role, Tier
from octoroute_py.edge.admin.target import chosen_by
from octoroute_py.edge.api.answer import add_routes
from octoroute_py.edge.api.wire import principal_of, query
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.tiers.endpoint import Endpoint

_log = structlog.stdlib.get_logger("octoroute.edge")


class WhatToDrain(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An endpoint's id; without one it is the whole process."""

    endpoint: str | None = None


class DrainedEndpoint(msgspec.Struct, frozen=True):
    """An endpoint that takes no new requests, and the attempts it is still answering."""

    id: str
    tier: Tier
    in_flight: int


class ProcessDrain(msgspec.Struct, frozen=True):
    """Whether the gateway as a whole refuses new requests, and those that are under way."""

    drained: bool
    in_flight: int


class Drains(msgspec.Struct, frozen=True):
    """What is drained now; `in_flight` 0 means that nothing is left to wait for."""

    process: ProcessDrain
    endpoints: list[DrainedEndpoint]


class DrainChanged(msgspec.Struct, frozen=True):
    """What is drained after the change."""

    success: bool
    message: str
    process: ProcessDrain
    endpoints: list[DrainedEndpoint]


class DrainRoutes:
    """The routes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def add_to(self, table: Table) -> None:
        """Add them."""
        add_routes(
            table,
            ("GET", "/admin/drain", self._show, Role.ADMIN, SHOW),
            ("POST", "/admin/drain", self._drain, Role.ADMIN, DRAIN),
            ("POST", "/admin/undrain", self._undrain, Role.ADMIN, UNDRAIN),
        )

    async def _show(self, scope: Scope, receive: Receive) -> Drains:
        query(scope)
        return drains(self._gateway)

    async def _drain(self, scope: Scope, receive: Receive) -> DrainChanged:
        endpoint = await self._asked(scope, receive)
        if endpoint is None:
            self._gateway.pause()
            return self._told(scope, "The gateway takes no new requests")
        endpoint.drain()
        return self._told(scope, f"{endpoint.id} takes no new requests")

    async def _undrain(self, scope: Scope, receive: Receive) -> DrainChanged:
        endpoint = await self._asked(scope, receive)
        if endpoint is None:
            if not self._gateway.resume():
                raise BadRequest("The process is ending, which cannot be undone.", status=409, code="conflict")
            return self._told(scope, "The gateway takes requests")
        endpoint.undrain()
        return self._told(scope, f"{endpoint.id} takes requests")

    async def _asked(self, scope: Scope, receive: Receive) -> Endpoint | None:
        query(scope)
        wanted = (await chosen_by(scope, receive, WhatToDrain)).endpoint
        if wanted is None:
            return None
        endpoint = self._gateway.snapshot.table.by_id.get(wanted)
        if endpoint is None:
            raise NotFound("There is no such endpoint.", code="not_found", param="endpoint")
        return endpoint

    def _told(self, scope: Scope, message: str) -> DrainChanged:
        """The state after the change, and a line in the log: who did it."""
        self._gateway.snapshot.table.observe(self._gateway.monotonic())
        _log.info("drain changed", to=message, by=principal_of(scope).name)
        now = drains(self._gateway)
        return DrainChanged(success=True, message=message, process=now.process, endpoints=now.endpoints)


def drains(gateway: Gateway) -> Drains:
    """The process, and every endpoint that is drained."""
    return Drains(
        ProcessDrain(gateway.draining, gateway.in_flight),
        [
            DrainedEndpoint(each.id, each.tier, each.in_flight)
            for each in gateway.snapshot.table.endpoints
            if each.live.drained
        ],
    )


SHOW: Final = Operation(summary="What is drained, and what it still has under way", answer=Drains)
DRAIN: Final = Operation(
    summary="Take no new requests, as a whole or to one endpoint; those under way finish",
    body=WhatToDrain | None,
    answer=DrainChanged,
    errors=(404,),
)
UNDRAIN: Final = Operation(
    summary="Take requests again, as a whole or to one endpoint",
    body=WhatToDrain | None,
    answer=DrainChanged,
    errors=(404, 409),
)
