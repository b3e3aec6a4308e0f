"""POST /admin/reload: the same whole-or-nothing swap that SIGHUP asks for, of the file, the artifact or both."""

import enum
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py.core.errors import BadRequest, ConfigError
from octoroute_py.edge.api.wire import MAX_BODY_BYTES, decode, query, word
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import ClientGone, read_body, send_json


class What(enum.StrEnum):
    """What is read again."""

    CONFIG = "config"
    ARTIFACT = "artifact"
    BOTH = "both"


class ConfigTold(msgspec.Struct, frozen=True):
    """What changed in the file, by dotted paths."""

    changed: list[str]


class ArtifactTold(msgspec.Struct, frozen=True, kw_only=True):
    """The artifact that was read again; `changed` when it is another one than before."""

    name: str
    sha256: str
    kind: str
    changed: bool


class Reloaded(msgspec.Struct, frozen=True, kw_only=True):
    """What is in force now, and its number.

    `needs_restart` names tables that have changed since the start and are fixed while the gateway runs, `overridden`
    values of the file that changed but are hidden by settings that were kept, `dropped` settings that ended with this.
    """

    success: bool
    message: str
    generation: int
    config: ConfigTold
    artifact: ArtifactTold | None
    needs_restart: list[str]
    overridden: list[str]
    dropped: list[str]


class NotReloaded(msgspec.Struct, frozen=True):
    """Every problem; what was in force still is."""

    success: bool
    message: str


ReloadConfig = Callable[[What], Awaitable[Reloaded]]
"""Reads what is asked for again and puts it in force. Raises ConfigError and changes nothing."""


class ReloadOrder(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What to read again; absent: the file, and the artifact it names."""

    what: What | None = None


class Reload:
    """Puts the configuration file in force, whole or not at all."""

    def __init__(self, reload: ReloadConfig) -> None:
        self._reload = reload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200 with what is in force now, 400 with every problem."""
        try:
            reloaded = await self._reload(await _what(scope, receive))
        except ClientGone:
            return
        except BadRequest as error:
            await send_json(scope, send, NotReloaded(success=False, message=error.client_message), status=error.status)
            return
        except ConfigError as error:
            await send_json(scope, send, NotReloaded(success=False, message=str(error)), status=400)
            return
        await send_json(scope, send, reloaded)


async def _what(scope: Scope, receive: Receive) -> What:
    """What the query or the body names. Raises BadRequest."""
    asked = word(query(scope, "what"), "what", What)
    body = await read_body(scope, receive, MAX_BODY_BYTES)
    ordered = decode(body, ReloadOrder).what if body.strip() else None
    if asked is not None and ordered not in (None, asked):
        raise BadRequest("The query and the body ask for different things.", param="what")
    return asked or ordered or What.BOTH


RELOAD: Final = Operation(
    summary="Read the configuration file and the artifact again, and put them in force whole or not at all",
    body=ReloadOrder | None,
    query=(Parameter(name="what", description="Only the one or the other; absent: both", shape=What),),
    answer=Reloaded,
    failure=NotReloaded,
)
