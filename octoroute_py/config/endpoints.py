"""`[[models.<tier>]]` tables to endpoints."""

import importlib.util
import re
import ssl
from collections import Counter
from pathlib import Path
from urllib.parse import quote

import msgspec

from octoroute_py.config.addresses import Wrong, base_url, has_password, location_of, proxy_url
from octoroute_py.config.fields import Table
from octoroute_py.config.problems import Problems, Where
from octoroute_py.config.schema import (
    EndpointConfig,
    EndpointKind,
    Secret,
    TokenLimitField,
    TransportName,
)
from octoroute_py.config.secrets import Sources, from_file, from_variable
from octoroute_py.core.words import CAPABILITY_WORDS, TIERS, Capability, Location, Tier

RESERVED_NAMES = frozenset({"auto", "fast", "balanced", "deep", "local", "cloud"})
"""Names with a meaning of their own in a request's `model`, in any case."""

_RAW_SECRETS = ("api_key", "apikey", "api_token", "token", "bearer_token", "secret", "password")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]{0,4096}")
_SECRET_HEADER = re.compile(
    r"(^|[-_])(auth|authorization|authentication|token|secret|password|passwd|cookie2?|credentials?|apikey)"
    r"([-_]|$)|(api|access|account|private|subscription|functions)[-_]key$",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(r"(Bearer|Basic)\s", re.IGNORECASE)
_ID_SAFE = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) != "%")
_OWN_HEADERS = frozenset(
    {
        *("host", "content-length", "content-type", "accept-encoding", "transfer-encoding", "expect"),
        *("connection", "proxy-connection", "keep-alive", "te", "trailer", "upgrade"),
    }
)
_MOST_WEIGHT = 1_000_000.0
"""As of registered endpoints: the sum of all stays a number."""


class _Placed(msgspec.Struct, frozen=True):
    """An endpoint and the table it came from."""

    endpoint: EndpointConfig
    where: Where
    own_id: bool


def read_endpoints(models: Table, *, problems: Problems, sources: Sources) -> tuple[EndpointConfig, ...]:
    """Every endpoint in file order, fast tier first; what is wrong with them is noted."""
    placed: list[_Placed] = []
    for tier in TIERS:
        seen: Counter[str] = Counter()
        for table in _tables(models, tier):
            endpoint = _read_endpoint(table, tier, seen, sources)
            if endpoint is not None:
                placed.append(_Placed(endpoint, table.where, table.has("id")))
    _check_names(placed, problems)
    return tuple(each.endpoint for each in placed)


def _tables(models: Table, tier: Tier) -> list[Table]:
    value = models.value(tier)
    if isinstance(value, dict):
        models.problem(tier, "must be an array of tables", hint=f"write [[models.{tier}]], in double brackets")
        return []
    if value is None or value == []:
        models.problem(tier, "needs at least one endpoint", hint=f"add a [[models.{tier}]] table")
    return models.tables(tier)


def _read_endpoint(table: Table, tier: Tier, seen: Counter[str], sources: Sources) -> EndpointConfig | None:
    """One endpoint, None when what it cannot do without is missing or wrong."""
    name, url, own_id = _free_name(table, "name"), _base_url(table), _own_id(table)
    if name is not None:
        seen[name] += 1
    for key in _RAW_SECRETS:
        if table.has(key):
            table.problem(key, "secrets never stand in the file", hint='name a variable instead: api_key_env = "…"')
    endpoint = EndpointConfig(
        id=own_id or f"{tier}/{quote(name or '', safe=_ID_SAFE)}#{seen[name or '']}",
        tier=tier,
        name=name or "",
        model=table.label("model", longest=500) or name or "",
        base_url=url or "",
        api_key=_api_key(table, sources),
        headers=_headers(table.table("headers")),
        max_tokens=table.integer("max_tokens", None, low=1, high=2**32 - 1),
        temperature=table.number("temperature", None, low=0, high=2),
        token_limit_field=table.choice("token_limit_field", TokenLimitField, TokenLimitField.MAX_TOKENS),
        include_usage=table.flag("include_usage", True),
        weight=read_weight(table, "weight", 1.0),
        priority=table.integer("priority", 1, low=0, high=255),
        max_in_flight=table.integer("max_in_flight", None, low=1),
        context_window=table.integer("context_window", None, low=1),
        capabilities=_capabilities(table),
        location=table.choice("location", Location, location_of(url) if url else Location.CLOUD),
        kind=table.choice("kind", EndpointKind, EndpointKind.OPENAI),
        transport=table.choice("transport", TransportName, TransportName.AUTO),
        proxy=_proxy(table, sources),
        http2=_http2(table),
        ca_file=_ca_file(table, sources),
        input_cost_per_mtok=table.number("input_cost_per_mtok", None, low=0),
        output_cost_per_mtok=table.number("output_cost_per_mtok", None, low=0),
        cached_input_cost_per_mtok=table.number("cached_input_cost_per_mtok", None, low=0),
        bills_on_accept=table.flag("bills_on_accept", False),
        compliance=_compliance(table),
        timeout_seconds=table.seconds("timeout_seconds", None),
        idle_seconds=table.seconds("idle_seconds", None),
        connect_seconds=table.seconds("connect_seconds", None),
    )
    return endpoint if name and url else None


def read_weight(table: Table, key: str, default: float) -> float:
    """The share of its priority class that an endpoint gets."""
    return table.number(key, default, low=0, high=_MOST_WEIGHT, above=True)


def _free_name(table: Table, key: str) -> str | None:
    table.require(key)
    name = table.label(key)
    if name is not None and name.lower() in RESERVED_NAMES:
        table.problem(key, f'"{name}" is reserved', hint="it means something of its own in a request's `model`")
        return None
    return name


def _own_id(table: Table) -> str | None:
    own_id = table.label("id")
    if own_id is None:
        return None
    if not own_id.isascii() or " " in own_id:
        table.problem("id", "must be visible ASCII without blanks", hint="it stands in a response header")
        return None
    if own_id.lower() in RESERVED_NAMES:
        table.problem("id", f'"{own_id}" is reserved', hint="it means something of its own in a request's `model`")
        return None
    return own_id


def _check_names(placed: list[_Placed], problems: Problems) -> None:
    """Names belong to one tier, ids to one endpoint, and an id is no other endpoint's name."""
    tier_of: dict[str, Tier] = {}
    ids: set[str] = set()
    names = Counter(each.endpoint.name for each in placed)
    for each in placed:
        endpoint = each.endpoint
        if tier_of.setdefault(endpoint.name, endpoint.tier) is not endpoint.tier:
            message = f'"{endpoint.name}" is already a name in tier {tier_of[endpoint.name]}'
            problems.add((*each.where, "name"), message, hint="only replicas in one tier may share a name")
    for each in placed:
        endpoint = each.endpoint
        where = (*each.where, "id") if each.own_id else each.where
        if endpoint.id in ids:
            problems.add(where, f'the id "{endpoint.id}" is taken by another endpoint')
        ids.add(endpoint.id)
        if names[endpoint.id] > (endpoint.name == endpoint.id):
            problems.add(where, f'the id "{endpoint.id}" is the name of another endpoint')


def _base_url(table: Table) -> str | None:
    table.require("base_url")
    text = table.string("base_url")
    try:
        return None if text is None else base_url(text)
    except Wrong as wrong:
        table.problem("base_url", str(wrong))
        return None


def _api_key(table: Table, sources: Sources) -> Secret | None:
    variable, file = table.string("api_key_env"), table.string("api_key_file")
    if variable is not None and file is not None:
        table.problem("api_key_file", "api_key_env is set too", hint="keep one of them")
        return None
    try:
        if variable is not None:
            return from_variable(variable, sources.env)
        return None if file is None else from_file(file, sources.base_dir)
    except Wrong as wrong:
        table.problem("api_key_env" if variable is not None else "api_key_file", str(wrong))
        return None


def _headers(table: Table) -> tuple[tuple[str, str], ...]:
    headers: list[tuple[str, str]] = []
    for name in table.names():
        value = table.value(name)
        lower = name.lower()
        if not _HEADER_NAME.fullmatch(name):
            table.problem(name, "is no header name")
        elif _SECRET_HEADER.search(name):
            table.problem(name, "secrets never stand in the file", hint='name a variable instead: api_key_env = "…"')
        elif lower in _OWN_HEADERS:
            table.problem(name, "is set by the gateway itself")
        elif lower in {known for known, _ in headers}:
            table.problem(name, "is given twice")
        elif not isinstance(value, str):
            table.problem(name, "must be a string")
        elif not _HEADER_VALUE.fullmatch(value) or value != value.strip():
            table.problem(name, "must be one line of ASCII, at most 4096 characters, without blanks around it")
        elif _SECRET_VALUE.match(value):
            table.problem(name, "secrets never stand in the file", hint='name a variable instead: api_key_env = "…"')
        else:
            headers.append((lower, value))
    return tuple(headers)


def _capabilities(table: Table) -> frozenset[Capability] | None:
    if not table.has("capabilities"):
        return None
    if not isinstance(table.value("capabilities"), list):
        table.problem("capabilities", "must be an array of names")
        return None
    found = {table.word(word, where, CAPABILITY_WORDS) for where, word in table.strings("capabilities")}
    return frozenset({capability for capability in found if capability} | {Capability.CHAT, Capability.STREAM})


def _compliance(table: Table) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tag.strip().lower() for _, tag in table.strings("compliance")))


def _proxy(table: Table, sources: Sources) -> Secret | None:
    """A proxy URL; one with a password comes from the environment, as `env:NAME`."""
    text = table.string("proxy")
    if text is None:
        return None
    try:
        if text.startswith("env:"):
            return Secret(proxy_url(from_variable(text.removeprefix("env:"), sources.env).reveal()))
        if has_password(text):
            table.problem("proxy", "secrets never stand in the file", hint='name a variable instead: proxy = "env:…"')
            return None
        return Secret(proxy_url(text))
    except Wrong as wrong:
        table.problem("proxy", str(wrong))
        return None


def _http2(table: Table) -> bool:
    wanted = table.flag("http2", False)
    if wanted and importlib.util.find_spec("h2") is None:
        table.problem("http2", "needs a package that is not installed", hint='pip install "octoroute-py[http2]"')
    return wanted


def _ca_file(table: Table, sources: Sources) -> Path | None:
    text = table.string("ca_file")
    if text is None:
        return None
    path = sources.base_dir / text
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ValueError):
        table.problem("ca_file", "the file named here cannot be read as PEM certificates")
    return path
