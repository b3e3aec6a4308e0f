"""Keys as operators deal with them: made, shown once, rotated with overlap, revoked at once.

A key in clear exists in the answer that made it and nowhere else: kept are its SHA-256 and its last 4 characters.
"""

import hashlib
import secrets
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from octoroute_py.admission.first_key import LAST_CHARS, new_key
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest, NotFound
from octoroute_py.manage.key_order import KeyOrder, Known, granted, name_taken
from octoroute_py.manage.key_view import GrantView, has_expired
from octoroute_py.manage.store import Store
from octoroute_py.storage import audit, directory, keys
from octoroute_py.storage.keys import KeyRow, SecretRow
from octoroute_py.storage.transaction import Transaction

OVERLAP_S = 86_400.0
LONGEST_OVERLAP_S = 30 * 86_400.0
MOST_SECRETS = 10
"""A key is known by at most so many secrets at once."""


class Made(NamedTuple):
    """A key, and the key in clear that was made for it."""

    row: KeyRow
    clear: str


class Page(NamedTuple):
    """Some of the keys, and how many there are in all."""

    rows: list[KeyRow]
    total: int


class Keys:
    """What can be done about keys.

    `known` tells what new keys are held against. `changed` is awaited after every change, before it is reported.
    """

    def __init__(
        self, store: Store, *, known: Callable[[], Known], wall: Wall, changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._store = store
        self._known = known
        self._wall = wall
        self._changed = changed

    async def create(self, order: KeyOrder, *, actor: str) -> Made:
        """Issue a key. Raises BadRequest (409 for a name that is taken), Refused 503."""
        grant = granted(order, self._known(), wall_s=self._wall())
        clear, secret = self._secret()
        row = KeyRow(
            id=f"key_{secrets.token_hex(8)}",
            name=order.name,
            role=order.role,
            grant=grant,
            created_ms=secret.created_ms,
            created_by=actor,
            secrets=(secret,),
        )
        details = {"name": row.name, "role": row.role, "grant": GrantView.of(grant), "last4": secret.last4}

        def add(connection: Transaction) -> None:
            if keys.name_in_use(connection, row.name):
                raise name_taken()
            keys.add(connection, row)
            self._note(connection, "key.create", row.id, actor=actor, details=details)

        await self._store.write(add)
        await self._changed()
        return Made(row, clear)

    async def page(self, *, limit: int, offset: int) -> Page:
        """Keys, newest first, revoked ones included. Raises Refused 503."""
        return await self._store.read(
            lambda connection: Page(keys.page(connection, limit=limit, offset=offset), keys.count(connection))
        )

    async def get(self, key_id: str) -> KeyRow:
        """One key. Raises NotFound, Refused 503."""
        return await self._store.read(lambda connection: _found(connection, key_id))

    async def rotate(self, key_id: str, *, overlap_s: float, actor: str) -> Made:
        """A new key in clear; those before work for `overlap_s` seconds more, at most; 0 ends them now.

        Raises NotFound, BadRequest (409 for a key that is revoked, has expired or was rotated too often), Refused 503.
        """
        if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
            raise BadRequest(f"'overlapSeconds' is 0 to {LONGEST_OVERLAP_S:.0f}.", param="overlapSeconds")
        clear, secret = self._secret()
        now_ms = secret.created_ms
        details = {"overlapSeconds": overlap_s, "last4": secret.last4}

        def turn(connection: Transaction) -> KeyRow:
            _check_usable(_found(connection, key_id), wall_s=now_ms / 1000)
            keys.end_secrets(connection, key_id, at_ms=now_ms + round(overlap_s * 1000), now_ms=now_ms)
            keys.add_secret(connection, key_id, secret)
            row = _found(connection, key_id)
            if len(row.secrets) > MOST_SECRETS:
                raise _conflict(f"{MOST_SECRETS} keys overlap already; rotate with overlapSeconds 0 to end them.")
            self._note(connection, "key.rotate", key_id, actor=actor, details=details)
            return row

        row = await self._store.write(turn)
        await self._changed()
        return Made(row, clear)

    async def revoke(self, key_id: str, *, actor: str) -> KeyRow:
        """End a key for good, now; to revoke it again changes nothing. Raises NotFound, Refused 503."""
        now_ms = self._now_ms()

        def end(connection: Transaction) -> KeyRow:
            row = _found(connection, key_id)
            if row.revoked_ms is not None:
                return row
            keys.revoke(connection, key_id, at_ms=now_ms)
            self._note(connection, "key.revoke", key_id, actor=actor, details={"name": row.name})
            return msgspec.structs.replace(row, revoked_ms=now_ms)

        row = await self._store.write(end)
        await self._changed()
        return row

    def _secret(self) -> tuple[str, SecretRow]:
        clear = new_key()
        digest = hashlib.sha256(clear.encode("ascii")).digest()
        return clear, SecretRow(sha256=digest, last4=clear[-LAST_CHARS:], created_ms=self._now_ms())

    def _now_ms(self) -> int:
        return int(self._wall() * 1000)

    def _note(
        self, connection: Transaction, action: str, key_id: str, *, actor: str, details: dict[str, object]
    ) -> None:
        """The change is in the audit and is seen by every gateway, or did not happen."""
        audit.append(connection, at_ms=self._now_ms(), actor=actor, action=action, subject=key_id, details=details)
        directory.bump(connection)


def _found(connection: Transaction, key_id: str) -> KeyRow:
    row = keys.find(connection, key_id)
    if row is None:
        raise NotFound("There is no such key.", code="not_found")
    return row


def _check_usable(row: KeyRow, *, wall_s: float) -> None:
    if row.revoked_ms is not None:
        raise _conflict("This key is revoked; issue another one.")
    if has_expired(row.grant, wall_s):
        raise _conflict("This key has expired; issue another one.")


def _conflict(message: str) -> BadRequest:
    return BadRequest(message, code="conflict", status=409)
