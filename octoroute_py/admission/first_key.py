"""The admin key that a first start makes, so that no reachable gateway is ever open by accident.

`octoroute.keys` holds JSON lines: `{"octoroute_keys": 1}`, then `{"name", "role", "sha256", "last4"}`. Version 1 has
exactly one key, an admin's. The key itself is shown once and kept nowhere. A key is `okr-`, 32 characters (160 random
bits in lower-case base32) and the first 4 characters of the base32 SHA-256 of all before them, so that a scanner can
tell a real key from a lookalike.
"""

import base64
import contextlib
import hashlib
import os
import re
import secrets
import stat
from pathlib import Path

import msgspec

from octoroute_py.config.schema import KeyConfig
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import Role

KEY_FILE = "octoroute.keys"
"""Name of the file beside the config."""

_MAX_FILE_BYTES = 64 * 1024
_PREFIX = "okr-"
_RANDOM_BYTES = 20
LAST_CHARS = 4
"""So many characters at the end of a key may be shown: they are its checksum."""
_VERSION = 1


class _Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    octoroute_keys: int


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    role: Role
    sha256: str
    last4: str


def new_key() -> str:
    """A fresh random key with its checksum."""
    body = _PREFIX + _base32(secrets.token_bytes(_RANDOM_BYTES))
    return body + _base32(hashlib.sha256(body.encode("ascii")).digest())[:LAST_CHARS]


def _base32(raw: bytes) -> str:
    return base64.b32encode(raw).decode("ascii").rstrip("=").lower()


def ensure_admin_key(folder: Path) -> tuple[KeyConfig, str | None]:
    """The admin key of this folder, made if there is none yet; the second value is the key itself, once, when made.

    Raises ConfigError if the file is damaged, readable by others, or can neither be read nor written.
    """
    path = folder / KEY_FILE
    known = _read(path)
    if known is not None:
        return known, None
    clear = new_key()
    entry = _Entry(
        name="admin",
        role=Role.ADMIN,
        sha256=hashlib.sha256(clear.encode("ascii")).hexdigest(),
        last4=clear[-LAST_CHARS:],
    )
    if _create(path, msgspec.json.encode(_Header(_VERSION)) + b"\n" + msgspec.json.encode(entry) + b"\n"):
        return KeyConfig(name=entry.name, role=entry.role, sha256=entry.sha256), clear
    known = _read(path)
    if known is None:
        raise ConfigError(f"{path}: appears and vanishes while it is being made")
    return known, None


def _read(path: Path) -> KeyConfig | None:
    """The key in the file, None if there is no file."""
    try:
        # A link could point at another user's file, a pipe would hold up the start.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise ConfigError(f"{path}: must be a plain file")
        if status.st_mode & 0o077:
            raise ConfigError(f"{path}: others may read or write it; run: chmod 600 {path}")
        with os.fdopen(handle, "rb", closefd=False) as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)
    return _parse(path, content)


def _parse(path: Path, content: bytes) -> KeyConfig:
    lines = content.splitlines()
    try:
        if len(content) <= _MAX_FILE_BYTES and len(lines) == 2:
            header = msgspec.json.decode(lines[0], type=_Header)
            entry = msgspec.json.decode(lines[1], type=_Entry)
            if (
                header.octoroute_keys == _VERSION
                and entry.role is Role.ADMIN
                and entry.name
                and re.fullmatch("[0-9a-f]{64}", entry.sha256)
            ):
                return KeyConfig(name=entry.name, role=entry.role, sha256=entry.sha256)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass
    raise ConfigError(
        f"{path}: damaged, or written by another version; restore it, or remove it to get a new admin key"
    )


def _create(path: Path, content: bytes) -> bool:
    """Write the file whole or not at all; False if somebody else made it first."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        try:
            _write_durably(draft, content)
            # Unlike a rename, a link never replaces a key that another process has just shown to its user.
            os.link(draft, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                draft.unlink()
        _sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise ConfigError(
            f"{path}: the first admin key cannot be kept there ({error.strerror}). Make the folder writable, or "
            'configure auth.keys, or set TINY_DANCER_AUTH_TOKEN, or stay open on purpose with auth.mode = "none"'
        ) from None
    return True


def _write_durably(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, 0o600)  # whatever the umask took away
        file.write(content)
        file.flush()
        os.fsync(handle)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
