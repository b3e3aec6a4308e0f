"""`[tracing]`: where spans go, as what, and how many; OpenTelemetry's own variables count where the file is silent."""

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final
from urllib.parse import unquote

from octoroute_py.config.addresses import Wrong, base_url
from octoroute_py.config.fields import Table
from octoroute_py.config.problems import Problems
from octoroute_py.config.schema import Secret, TracingConfig

DEFAULT_SERVICE: Final = "octoroute"
INSTALL: Final = "pip install 'octoroute-py[otel]'"
_TRACES: Final = "/v1/traces"
_ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_HEADERS_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS")
_SERVICE_VARIABLE: Final = "OTEL_SERVICE_NAME"
_OFF_VARIABLE: Final = "OTEL_SDK_DISABLED"
_NEEDED: Final = ("opentelemetry.sdk.trace", "opentelemetry.exporter.otlp.proto.http")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]{0,63}")
_FIELD_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FIELD_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")
_LONGEST_WAIT_S: Final = 60.0


def read_tracing(table: Table, *, problems: Problems, env: Mapping[str, str]) -> TracingConfig:
    """The table and the variables; tracing is off while neither names an endpoint."""
    for raw in ("headers", "token", "api_key", "key"):
        if table.has(raw):
            table.problem(raw, "secrets never stand in the file", hint="name a variable in headers_env")
    endpoint = _endpoint(table, problems, env)
    if endpoint is not None and not _installed():
        table.problem("otlp_endpoint", "tracing needs packages that are not installed", hint=INSTALL)
    return TracingConfig(
        otlp_endpoint=endpoint,
        service_name=_service_name(table, problems, env),
        sample_ratio=table.number("sample_ratio", 1.0, low=0, high=1),
        headers=_headers(table, problems, env),
        timeout_seconds=table.number("timeout_seconds", 10.0, low=0, high=_LONGEST_WAIT_S, above=True),
    )


def _endpoint(table: Table, problems: Problems, env: Mapping[str, str]) -> str | None:
    """The URL that spans are posted to, whole."""
    given = table.string("otlp_endpoint")
    if given is not None:
        try:
            return _with_path(base_url(given))
        except Wrong as wrong:
            table.problem("otlp_endpoint", str(wrong))
            return None
    if table.has("otlp_endpoint") or env.get(_OFF_VARIABLE, "").strip().lower() == "true":
        return None
    variable = next((name for name in _ENDPOINT_VARIABLES if env.get(name, "").strip()), None)
    if variable is None:
        return None
    try:
        url = base_url(env[variable].strip())
    except Wrong as wrong:
        problems.add_outside("environment", variable, str(wrong))
        return None
    return url if variable == _ENDPOINT_VARIABLES[0] else _with_path(url)


def _with_path(url: str) -> str:
    return url if url.endswith(_TRACES) else url + _TRACES


def _service_name(table: Table, problems: Problems, env: Mapping[str, str]) -> str:
    given = table.label("service_name")
    if given is not None or table.has("service_name"):
        return given or DEFAULT_SERVICE
    name = env.get(_SERVICE_VARIABLE, "").strip()
    if len(name) > 200 or not name.isprintable():
        problems.add_outside("environment", _SERVICE_VARIABLE, "must be printable, with at most 200 characters")
        return DEFAULT_SERVICE
    return name or DEFAULT_SERVICE


def _headers(table: Table, problems: Problems, env: Mapping[str, str]) -> tuple[tuple[str, Secret], ...]:
    variable = table.string("headers_env")
    try:
        if variable is not None:
            return _from_variable(variable, env)
    except Wrong as wrong:
        table.problem("headers_env", str(wrong))
        return ()
    found = next((name for name in _HEADERS_VARIABLES if env.get(name, "").strip()), None)
    try:
        return () if found is None else _parsed(env[found], found)
    except Wrong as wrong:
        problems.add_outside("environment", found or "", str(wrong))
        return ()


def _from_variable(name: str, env: Mapping[str, str]) -> tuple[tuple[str, Secret], ...]:
    if not _VARIABLE.fullmatch(name):
        raise Wrong("must be the name of an environment variable, not the headers themselves")
    # a credential may look like a variable name; only the usual upper-case ones are repeated
    shown = f"environment variable {name}" if _SHOWN_VARIABLE.fullmatch(name) else "the environment variable named here"
    if not env.get(name, "").strip():
        raise Wrong(f"{shown} is not set")
    return _parsed(env[name], shown)


def _parsed(text: str, holder: str) -> tuple[tuple[str, Secret], ...]:
    """`name=value,name=value` with values percent-encoded, as OpenTelemetry has it; raises Wrong, with no value."""
    found: dict[str, Secret] = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, equals, value = part.partition("=")
        name, plain = name.strip().lower(), unquote(value.strip(), errors="replace")
        if not equals or not _FIELD_NAME.fullmatch(name) or not _FIELD_VALUE.fullmatch(plain):
            raise Wrong(f"{holder} must hold name=value pairs with commas between them, values percent-encoded")
        found[name] = Secret(plain)
    return tuple(found.items())


def _installed() -> bool:
    try:
        return all(find_spec(module) is not None for module in _NEEDED)
    except ModuleNotFoundError:  # of a module whose package is not there
        return False
