"""The directory: who was issued a key, and which workspaces have a policy. Values that storage and the porter share."""

from collections.abc import Mapping

import msgspec

from octoroute_py.core.allowance import Grant, WorkspacePolicy
from octoroute_py.core.words import Role


class IssuedSecret(msgspec.Struct, frozen=True):
    """What a key is known by: the SHA-256 of the key; it ends at `expires_at_s` (Unix time), None: with its key."""

    sha256: bytes
    expires_at_s: float | None = None


class IssuedKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that was issued. One that is revoked stays: a gateway that issued keys is never open again by itself."""

    id: str
    name: str
    role: Role
    grant: Grant
    revoked: bool
    secrets: tuple[IssuedSecret, ...]


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Keys and workspaces as they were at one moment; `version` grows with every change of either."""

    version: int = 0
    keys: tuple[IssuedKey, ...] = ()
    workspaces: Mapping[str, WorkspacePolicy] = {}


EMPTY = Directory()
