"""`[auth]` to client keys; the keys themselves are forgotten once hashed."""

import re

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.fields import Table
from octoroute_py.config.jwt import read_jwt
from octoroute_py.config.problems import Problems
from octoroute_py.config.schema import AuthConfig, AuthMode, ClientConfig, KeyConfig
from octoroute_py.config.secrets import (
    Sources,
    checked,
    client_key_hash,
    from_file,
    from_variable,
    is_guessable_hash,
)
from octoroute_py.core.words import Role

ADMIN_TOKEN = "TINY_DANCER_AUTH_TOKEN"  # noqa: S105 - the name of a variable
ADMIN_KEY_NAME = "tiny-dancer"

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_WAYS = ("env", "file", "sha256")


def read_auth(table: Table, *, problems: Problems, sources: Sources) -> AuthConfig:
    """The keys of the file and, as the admin key `tiny-dancer`, the one of TINY_DANCER_AUTH_TOKEN."""
    keys: list[KeyConfig] = []
    names: set[str] = set()
    digests: set[str] = set()
    for each in table.tables("keys"):
        key = _read_key(each, sources)
        if key is None:
            continue
        if key.name in names:
            each.problem("name", "is already the name of another key")
        if key.sha256 in digests:
            each.problem(None, "is the same key as another one")
        names.add(key.name)
        digests.add(key.sha256)
        keys.append(key)
    token = _admin_key(sources, problems)
    if token is not None:
        if token.name in names or token.sha256 in digests:
            problems.add_outside("environment", ADMIN_TOKEN, "stands for a key that the file has already")
        keys.append(token)
    jwt = read_jwt(table.table("jwt"), sources) if table.has("jwt") else None
    return AuthConfig(
        mode=table.choice("mode", AuthMode, AuthMode.AUTO),
        keys=tuple(keys),
        clients=_read_clients(table, names),
        jwt=jwt,
    )


def _read_clients(table: Table, names: set[str]) -> tuple[ClientConfig, ...]:
    """`[[auth.clients]]`; `names` are taken already, for what a key does and what a client does count apart."""
    clients: list[ClientConfig] = []
    for each in table.tables("clients"):
        each.require("subject")
        each.require("role")
        subject, role = each.label("subject"), each.choice("role", Role, None)
        workspaces = tuple(dict.fromkeys(text for _, text in each.strings("workspaces")))
        if each.has("workspaces") and not workspaces:
            each.problem("workspaces", "must name a workspace; absent: all of them")
        if subject is None or role is None:
            continue
        if subject in names:
            each.problem("subject", "is already the name of a key or client")
        names.add(subject)
        clients.append(ClientConfig(subject=subject, role=role, workspaces=workspaces or None))
    return tuple(clients)


def _read_key(table: Table, sources: Sources) -> KeyConfig | None:
    table.require("name")
    table.require("role")
    name = table.label("name")
    role = table.choice("role", Role, None)
    for raw in ("key", "value", "secret", "token"):
        if table.has(raw):
            table.problem(raw, "secrets never stand in the file", hint="give env, file or sha256")
    given = [way for way in _WAYS if table.has(way)]
    if len(given) != 1:
        table.problem(None, "needs exactly one of env, file and sha256")
        return None
    way = given[0]
    text = table.string(way)
    if text is None:
        return None
    try:
        digest = _digest(way, text, sources)
    except Wrong as wrong:
        table.problem(way, str(wrong))
        return None
    return KeyConfig(name=name, role=role, sha256=digest) if name and role else None


def _digest(way: str, text: str, sources: Sources) -> str:
    if way == "env":
        return client_key_hash(from_variable(text, sources.env))
    if way == "file":
        return client_key_hash(from_file(text, sources.base_dir))
    if not _SHA256.fullmatch(text):
        raise Wrong("must be the SHA-256 of the key as 64 hex digits")
    digest = text.lower()
    if is_guessable_hash(digest):
        raise Wrong("the key is one that anybody would guess; make one with: openssl rand -hex 32")
    return digest


def _admin_key(sources: Sources, problems: Problems) -> KeyConfig | None:
    value = sources.env.get(ADMIN_TOKEN)
    if value is None:
        return None
    try:
        digest = client_key_hash(checked(value, "holds"))
    except Wrong as wrong:
        problems.add_outside("environment", ADMIN_TOKEN, str(wrong))
        return None
    return KeyConfig(name=ADMIN_KEY_NAME, role=Role.ADMIN, sha256=digest)
