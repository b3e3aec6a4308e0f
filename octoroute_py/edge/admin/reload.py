"""POST /admin/reload: the same whole-or-nothing swap that SIGHUP asks for."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import ConfigError
from octoroute_py.edge.operation import Operation
from octoroute_py.edge.wire_io import send_json

ReloadConfig = Callable[[], Awaitable[int]]
"""Reads the configuration again and puts it in force; the new generation. Raises ConfigError and changes nothing."""


class Reloaded(msgspec.Struct, frozen=True):
    """The number of the configuration that is in force now."""

    success: bool
    generation: int


class NotReloaded(msgspec.Struct, frozen=True):
    """Every problem of the file; what was in force still is."""

    success: bool
    message: str


class Reload:
    """Puts the configuration file in force, whole or not at all."""

    def __init__(self, reload: ReloadConfig) -> None:
        self._reload = reload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with the new generation, 400 with every problem of the file."""
        try:
            generation = await self._reload()
        except ConfigError as error:
            await send_json(scope, send, NotReloaded(success=False, message=str(error)), status=400)
            return
        await send_json(scope, send, Reloaded(success=True, generation=generation))


RELOAD: Final = Operation(
    summary="Read the configuration file again, and put it in force whole or not at all",
    answer=Reloaded,
    failure=NotReloaded,
)
