"""Credentials: read from the environment or a private file, checked, and never repeated in a message."""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path

import msgspec

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import Secret

_VISIBLE = re.compile(r"[\x21-\x7e]+")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_MOST_BYTES = 16 * 1024
_SHORTEST_KEY = 8
_GUESSABLE = frozenset(
    {
        *("admin", "adminadmin", "administrator", "apikey", "api-key", "changeit", "change-me", "changeme"),
        *("change_me", "default", "dummy", "example", "letmein", "octoroute", "passw0rd", "password", "password1"),
        *("password123", "placeholder", "qwerty", "qwertyui", "secret", "secretkey", "secret-key", "secret123"),
        *("test", "test1234", "testkey", "testtest", "tiny-dancer", "token", "undefined", "your-api-key"),
        *("your-secret-key", "your-token", "12345678", "123456789", "1234567890", "abcdefgh", "abcd1234"),
    }
)

SHORTEST_SIGNING_SECRET = 32
"""Characters of a secret that tokens are signed with, as many as the bytes of an HS256 signature."""
_FEWEST_DIFFERENT = 8
_TELLING_STARTS = ("admin", "demo", "dev", "jwt", "octoroute", "prod", "smm", "staging", "test", "token", "your")
_TELLING_WORDS = (
    *("secret", "password", "passw0rd", "change-me", "change_me", "changeme", "default", "example", "placeholder"),
    *("letmein", "qwerty", "replace", "012345678", "123456789", "abcdefgh"),
)


class Sources(msgspec.Struct, frozen=True):
    """Where credentials and files that the document names are looked up."""

    env: Mapping[str, str]
    base_dir: Path


def from_variable(name: str, env: Mapping[str, str]) -> Secret:
    """The credential in an environment variable; raises Wrong."""
    if not _VARIABLE.fullmatch(name):
        raise Wrong("must be the name of an environment variable, not the credential itself")
    # a credential may look like a variable name; only the usual upper-case ones are repeated
    shown = f"environment variable {name}" if _SHOWN_VARIABLE.fullmatch(name) else "the environment variable named here"
    value = env.get(name)
    if value is None:
        raise Wrong(f"{shown} is not set")
    return checked(value, f"{shown} holds")


def from_file(name: str, base_dir: Path) -> Secret:
    """The credential in a file that only its owner can read, one trailing newline left out; raises Wrong."""
    text = _text(base_dir / name, private=True).removesuffix("\n").removesuffix("\r")
    return checked(text, "the file named here holds")


def checked(value: str, holder: str) -> Secret:
    """The value as a Secret if it can stand in a header; raises Wrong beginning with `holder`."""
    if not value.strip():
        raise Wrong(f"{holder} nothing")
    if not _VISIBLE.fullmatch(value):
        raise Wrong(f"{holder} something other than visible ASCII characters")
    return Secret(value)


def client_key_hash(key: Secret) -> str:
    """The SHA-256 of a client key as hex digits; raises Wrong for a key that is short or easily guessed."""
    value = key.reveal()
    if len(value) < _SHORTEST_KEY:
        raise Wrong(f"the key must have at least {_SHORTEST_KEY} characters")
    if value.lower() in _GUESSABLE or len(set(value)) < 3:
        raise Wrong("the key is one that anybody would guess; make one with: openssl rand -hex 32")
    return _digest(value)


def signing_secret(key: Secret) -> Secret:
    """The secret that tokens are signed with; raises Wrong for one that is short or easily guessed.

    Whoever has a token can try secrets on it for as long as they like, so more is asked of it than of a key.
    """
    value = key.reveal()
    if len(value) < SHORTEST_SIGNING_SECRET:
        raise Wrong(f"the secret must have at least {SHORTEST_SIGNING_SECRET} characters")
    plain = value.lower()
    telling = plain.startswith(_TELLING_STARTS) or any(word in plain for word in _TELLING_WORDS)
    repeated = value in (value + value)[1:-1]
    if telling or repeated or len(set(value)) < _FEWEST_DIFFERENT:
        raise Wrong("the secret is one that could be guessed; make one with: openssl rand -hex 32")
    return key


def is_guessable_hash(digest: str) -> bool:
    """Whether this is the hash of nothing or of a key that anybody would guess."""
    return any(digest == _digest(word) for word in (*_GUESSABLE, ""))


def _digest(value: str) -> str:
    return hashlib.sha256(value.encode("ascii")).hexdigest()


def public_text(name: str, base_dir: Path) -> str:
    """What a file holds that anybody may read, such as a public key; raises Wrong."""
    return _text(base_dir / name, private=False)


def _text(path: Path, *, private: bool) -> str:
    try:
        raw = _bytes(path, private=private)
    except OSError as error:
        raise Wrong(f"the file named here cannot be read ({error.strerror or 'error'})") from None
    if len(raw) > _MOST_BYTES:
        raise Wrong(f"the file named here is larger than {_MOST_BYTES} bytes")
    return raw.decode("latin-1")


def _bytes(path: Path, *, private: bool) -> bytes:
    if "\0" in str(path):
        raise Wrong("must be the path of a file")
    # without O_NONBLOCK a FIFO would hold up the start until somebody writes to it
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if not stat.S_ISREG(mode):
            raise Wrong("the file named here is no regular file")
        if private and stat.S_IMODE(mode) & 0o077:
            raise Wrong("the file named here can be read by others; chmod 600 it")
        return file.read(_MOST_BYTES + 1)
