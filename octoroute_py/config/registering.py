"""`[registry]`: where models that are registered over the API may be, and the keys they may use."""

import re
from typing import Final

from octoroute_py.config.addresses import Wrong, exact_host, network
from octoroute_py.config.fields import Table
from octoroute_py.config.schema import CredentialConfig, RegistryConfig, Secret
from octoroute_py.config.secrets import Sources, from_file, from_variable

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_RESERVED: Final = frozenset({"none", "null"})
_RAW_SECRETS: Final = ("key", "value", "secret", "token", "api_key", "password")
_WAYS: Final = ("env", "file")


def read_registry(table: Table, sources: Sources) -> RegistryConfig:
    """The whole table; what is wrong with it is noted."""
    named = table.table("credentials")
    credentials = ((name, _credential(named, name, sources)) for name in named.names())
    return RegistryConfig(
        allow_networks=_networks(table) if table.has("allow_networks") else None,
        allow_ports=table.integers("allow_ports", low=1, high=65535),
        credentials=tuple((name, found) for name, found in credentials if found is not None),
    )


def _networks(table: Table) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for where, text in table.strings("allow_networks"):
        try:
            found[network(text)] = None
        except Wrong as wrong:
            table.problem_at(where, str(wrong))
    return tuple(found)


def _credential(named: Table, name: str, sources: Sources) -> CredentialConfig | None:
    table = named.table(name)
    if not _NAME.fullmatch(name):
        named.problem(name, "is no name for a credential", hint="letters, digits and . _ -, at most 100")
    elif name.lower() in _RESERVED:
        named.problem(name, f'"{name}" is reserved', hint="it reads as if no credential were meant")
    key, hosts = _key(table, sources), _hosts(table)
    return None if key is None or not hosts else CredentialConfig(key=key, hosts=hosts)


def _key(table: Table, sources: Sources) -> Secret | None:
    for raw in _RAW_SECRETS:
        if table.has(raw):
            table.problem(raw, "secrets never stand in the file", hint="give env or file")
    given = [way for way in _WAYS if table.has(way)]
    if len(given) != 1:
        table.problem(None, "needs exactly one of env and file")
        return None
    way = given[0]
    text = table.string(way)
    try:
        if text is None:
            return None
        return from_variable(text, sources.env) if way == "env" else from_file(text, sources.base_dir)
    except Wrong as wrong:
        table.problem(way, str(wrong))
        return None


def _hosts(table: Table) -> tuple[str, ...]:
    found: dict[str, None] = {}
    given = table.strings("hosts")
    for where, text in given:
        try:
            found[exact_host(text)] = None
        except Wrong:
            hint = "exactly as in the URL, without scheme, port or wildcard"
            table.problem_at(where, "must be the name or the address of a host", hint=hint)
    if not table.has("hosts") or table.value("hosts") == []:
        table.problem("hosts", "needs at least one host", hint="the key is sent to no other")
    return tuple(found)
