"""Which keys are known: those of the configuration, and those that were issued.

A key is looked up by its whole SHA-256, which nobody who guesses keys can steer, and what is found is compared in
constant time: a lookup takes as long for a wrong key as for a right one, however many keys there are.
"""

import hashlib
import hmac
import math
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from octoroute_py.admission.networks import Networks
from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import KeyConfig
from octoroute_py.core.directory import EMPTY, Directory, IssuedKey
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import Role

_EMPTY_SHA256 = hashlib.sha256(b"").digest()


class Holder(msgspec.Struct, frozen=True):
    """Who holds the key with this SHA-256, until when (Unix time), and from where it may be used (None: anywhere)."""

    digest: bytes
    principal: Principal
    ends_s: float = math.inf
    networks: Networks | None = None


_NOBODY = Holder(bytes(hashlib.sha256().digest_size), Principal("", None), -math.inf)


class IssuedKeys:
    """The issued keys of a directory, ready to be looked up.

    With `before`, whatever has not changed since is taken from there: with thousands of keys the rest takes a while.
    """

    __slots__ = ("_keys", "directory", "holders", "roles")

    def __init__(self, directory: Directory, *, before: "IssuedKeys | None" = None) -> None:
        self.directory = directory
        self._keys = {key.id: key for key in directory.keys}
        # a revoked key is not found, as one that never was; yet its role says that this gateway has keys
        self.roles: frozenset[Role] = frozenset(key.role for key in directory.keys)
        known = {} if before is None else before._keys
        holders: dict[bytes, Holder] = {} if before is None else dict(before.holders)
        for key in known.values():
            if self._keys.get(key.id) is not key:
                for secret in key.secrets:
                    holders.pop(secret.sha256, None)
        for key in directory.keys:
            if known.get(key.id) is not key and not key.revoked:
                holders.update((holder.digest, holder) for holder in _holders(key))
        self.holders: Mapping[bytes, Holder] = holders


NONE_ISSUED = IssuedKeys(EMPTY)


class KeyRing:
    """Every known key, kept as SHA-256 only.

    Raises ConfigError for a configured hash that is no SHA-256, for the hash of an empty key and for one key under two
    names.
    """

    __slots__ = ("_configured", "_issued", "roles")

    def __init__(self, keys: Sequence[KeyConfig], issued: IssuedKeys = NONE_ISSUED) -> None:
        configured: dict[bytes, Holder] = {}
        for key in keys:
            digest = _digest(key)
            if digest in configured:
                other = configured[digest].principal.name
                raise ConfigError(f"auth.keys: {other!r} and {key.name!r} are the same key; give each its own")
            configured[digest] = Holder(digest, Principal(key.name, key.role, key.name))
        self._configured = configured
        self._issued = issued.holders
        self.roles: frozenset[Role] = issued.roles | {key.role for key in keys}
        """The roles of all keys there are, those that are revoked or have expired included."""

    def find(self, presented: bytes, *, wall_s: float) -> Holder | None:
        """Who holds this key at this time, or None: unknown, revoked, expired and rotated out are all the same."""
        digest = hashlib.sha256(presented).digest()
        holder = self._configured.get(digest) or self._issued.get(digest) or _NOBODY
        same = hmac.compare_digest(holder.digest, digest)
        return holder if same and wall_s < holder.ends_s else None


def _holders(key: IssuedKey) -> Iterator[Holder]:
    principal = Principal(key.name, key.role, key.id, key.grant)
    networks = None if key.grant.networks is None else _networks(key.grant.networks)
    for secret in key.secrets:
        ends_s = [end_s for end_s in (secret.expires_at_s, key.grant.expires_at_s) if end_s is not None]
        yield Holder(secret.sha256, principal, min(ends_s, default=math.inf), networks)


def _networks(texts: tuple[str, ...]) -> Networks:
    try:
        return Networks(texts)
    except ValueError:
        return Networks(())  # whatever was meant, it cannot be told: the key works from nowhere


def _digest(key: KeyConfig) -> bytes:
    try:
        digest = bytes.fromhex(key.sha256)
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ConfigError(f"auth.keys: the sha256 of {key.name!r} must be 64 hexadecimal digits")
    if digest == _EMPTY_SHA256:
        raise ConfigError(f"auth.keys: {key.name!r} is an empty key")
    return digest
