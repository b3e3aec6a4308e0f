"""/api/keys: issue, list, rotate and revoke keys. A key in clear is in the answer that made it, and never again."""

from collections.abc import Callable
from typing import Annotated, Final

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.allowance import Budgets
from octoroute_py.core.clock import Wall
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Answer
from octoroute_py.edge.api.wire import decode, principal_of, query, read_json, whole_number
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.edge.wire_io import read_body
from octoroute_py.manage.audit import actor_of
from octoroute_py.manage.key_order import KeyOrder
from octoroute_py.manage.key_view import KeyView, key_view
from octoroute_py.manage.keys import LONGEST_OVERLAP_S, OVERLAP_S, Keys, Made

PAGE = 100
LARGEST_PAGE = 1000
_FARTHEST = 10**9
_MOST_ROTATION_BYTES = 1024


Standing = Callable[[str, Budgets], dict[str, object]]
"""How the periods of a key with these budgets stand: limit, spent, reserved and remaining of each."""


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How long the key before works beside the new one."""

    overlap_seconds: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_OVERLAP_S)] = OVERLAP_S


class KeyPage(msgspec.Struct, frozen=True):
    """Keys in the order they were made; `count` is how many there are in all."""

    keys: list[KeyView]
    count: int


class KeyRoutes:
    """The routes of keys, all of them for admins."""

    def __init__(self, keys: Keys, *, wall: Wall, standing: Standing) -> None:
        self._keys = keys
        self._standing = standing
        self._wall = wall

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        for method, path, handle, operation in (
            ("POST", "/api/keys", self._create, CREATE),
            ("GET", "/api/keys", self._page, LIST),
            ("GET", "/api/keys/{id}", self._get, READ),
            ("DELETE", "/api/keys/{id}", self._revoke, REVOKE),
            ("POST", "/api/keys/{id}/revoke", self._revoke, REVOKE),
            ("POST", "/api/keys/{id}/rotate", self._rotate, ROTATE),
        ):
            table.add(method, path, Answer(handle, status=operation.status), role=Role.ADMIN, operation=operation)

    async def _create(self, scope: Scope, receive: Receive) -> KeyView:
        order = await read_json(scope, receive, KeyOrder)
        return self._shown_once(await self._keys.create(order, actor=_actor(scope)))

    async def _page(self, scope: Scope, receive: Receive) -> KeyPage:
        asked = query(scope, "limit", "offset")
        page = await self._keys.page(
            limit=whole_number(asked, "limit", PAGE, low=1, high=LARGEST_PAGE),
            offset=whole_number(asked, "offset", 0, low=0, high=_FARTHEST),
        )
        wall_s = self._wall()
        return KeyPage([key_view(row, wall_s=wall_s) for row in page.rows], page.total)

    async def _get(self, scope: Scope, receive: Receive) -> KeyView:
        row = await self._keys.get(_id(scope))
        view = key_view(row, wall_s=self._wall())
        return msgspec.structs.replace(view, standing=self._standing(row.id, row.grant.budgets))

    async def _revoke(self, scope: Scope, receive: Receive) -> KeyView:
        return key_view(await self._keys.revoke(_id(scope), actor=_actor(scope)), wall_s=self._wall())

    async def _rotate(self, scope: Scope, receive: Receive) -> KeyView:
        body = await read_body(scope, receive, _MOST_ROTATION_BYTES)
        rotation = decode(body, Rotation) if body else Rotation()
        made = await self._keys.rotate(_id(scope), overlap_s=rotation.overlap_seconds, actor=_actor(scope))
        return self._shown_once(made)

    def _shown_once(self, made: Made) -> KeyView:
        return key_view(made.row, wall_s=self._wall(), clear=made.clear)


def _id(scope: Scope) -> str:
    key_id: str = scope["path_params"]["id"]
    return key_id


def _actor(scope: Scope) -> str:
    return actor_of(principal_of(scope))


CREATE: Final = Operation(
    summary="Issue a key, which is in this answer and never again",
    body=KeyOrder,
    answer=KeyView,
    status=201,
    errors=(409,),
)
LIST: Final = Operation(
    summary="Keys, page by page",
    answer=KeyPage,
    query=(
        Parameter(name="limit", description="How many", shape=Annotated[int, msgspec.Meta(ge=1, le=LARGEST_PAGE)]),
        Parameter(
            name="offset", description="How many to leave out", shape=Annotated[int, msgspec.Meta(ge=0, le=_FARTHEST)]
        ),
    ),
)
READ: Final = Operation(summary="A key, and what it has spent", answer=KeyView)
REVOKE: Final = Operation(summary="End a key for good", answer=KeyView)
ROTATE: Final = Operation(
    summary="A new key in the place of an old one, which works on for a while",
    body=Rotation | None,
    answer=KeyView,
    errors=(409,),
)
