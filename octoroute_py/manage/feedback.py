"""What people thought of answers, kept beside the journal's rows; and whether a request was answered before."""

import math
from collections.abc import Callable

from octoroute_py.admission.principal import Principal
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import GatewayError, NotFound, Refused
from octoroute_py.core.ids import safe_request_id
from octoroute_py.core.verdict import Verdict
from octoroute_py.manage.store import TRY_AGAIN_S, Store
from octoroute_py.storage import feedback
from octoroute_py.storage.feedback import Finder, Judged


class Feedback:
    """The verdicts of one database. Everybody sees the rows of their workspaces only; others are as unknown as none.

    `behind` tells whether rows wait that the database does not have yet: what is not found may then be one of those.
    """

    def __init__(self, store: Store, *, wall: Wall, behind: Callable[[], bool]) -> None:
        self._store = store
        self._wall = wall
        self._behind = behind

    async def give(self, request_id: str, verdict: Verdict, *, by: Principal) -> None:
        """Keep a verdict on the newest request of this id, those of the giver's own key first.

        What the verdict leaves open stays as it was. Raises NotFound for an id nobody knows here, Refused 503 when it
        cannot be kept now.
        """
        _check(request_id)
        finder = _finder(by)
        at_ms = math.floor(self._wall() * 1000)
        if not await self._store.write(
            lambda connection: feedback.give(connection, request_id, verdict, by=finder, at_ms=at_ms)
        ):
            raise self._unknown()

    async def told(self, request_id: str, *, by: Principal) -> Judged:
        """The last word on a request, with a verdict in it. Raises NotFound when there is none, Refused 503."""
        _check(request_id)
        finder = _finder(by)
        found = await self._store.read(lambda connection: feedback.find(connection, request_id, by=finder))
        if found is None:
            raise self._unknown()
        if found.verdict is None:
            raise NotFound("Nobody has said anything about this request.", code="not_found")
        return found

    async def answered(self, request_id: str, workspace: str) -> bool:
        """Whether a request of this id was answered well before; False while that cannot be told."""
        try:
            return await self._store.read(
                lambda connection: feedback.answered(connection, request_id, workspace=workspace)
            )
        except Refused:
            return False  # better a request that is done twice than one that is not done: the store has told the log

    def _unknown(self) -> GatewayError:
        if self._behind():
            return Refused(
                "The request is not known, but not everything is in the database yet.",
                code="storage_behind",
                retry_after_s=TRY_AGAIN_S,
            )
        return _no_such()


def _finder(by: Principal) -> Finder:
    return Finder(key_id=by.key_id, workspaces=by.workspaces)


def _check(request_id: str) -> None:
    """Raises NotFound for an id that no row can have, wherever it waits."""
    if safe_request_id(request_id.encode("utf-8", "replace")) is None:
        raise _no_such()


def _no_such() -> NotFound:
    return NotFound("There is no such request.", code="not_found")
