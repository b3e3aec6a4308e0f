"""`[limits]`, `[storage]` and `[redis]`: what may be used, and where it is kept."""

import msgspec

from octoroute_py.config.addresses import has_password
from octoroute_py.config.fields import Table
from octoroute_py.config.schema import AgentTypeLimits, LimitsConfig, Secret, StorageConfig, Synchronous
from octoroute_py.core.allowance import Budgets, Rates
from octoroute_py.core.money import uusd

DEFAULT_STORAGE = "sqlite:///octoroute.db"
"""Where a gateway with a configuration file keeps what it must not lose; the path begins beside that file."""
NOTHING = "none"
"""The storage URL of a gateway that keeps nothing."""
MOST_USD = 1e9
_DAYS = 3650


class _UrlKind(msgspec.Struct, frozen=True):
    prefixes: tuple[str, ...]
    variable: str


_STORAGE = _UrlKind(("sqlite:///", "postgresql://", "postgresql+psycopg://"), "DATABASE_URL")
_REDIS = _UrlKind(("redis://", "rediss://", "unix://"), "REDIS_URL")


def read_limits(table: Table) -> LimitsConfig:
    """`[limits]` with the tables inside it."""
    agents = table.table("agent_types")
    return LimitsConfig(
        max_request_bytes=table.integer("max_request_bytes", 10 * 1024 * 1024, low=1024, high=1024**3),
        max_header_bytes=table.integer("max_header_bytes", 32 * 1024, low=1024, high=1024**2),
        max_in_flight=table.integer("max_in_flight", None, low=1),
        per_key=_rates(table),
        per_ip=_rates(table.table("per_ip")),
        agent_types=tuple((name, _agent_type(agents.table(name))) for name in agents.names()),
    )


def _agent_type(table: Table) -> AgentTypeLimits:
    return AgentTypeLimits(rates=_rates(table), budgets=_budgets(table))


def _rates(table: Table) -> Rates:
    return Rates(
        requests_per_window=table.integer("requests_per_minute", None, low=1),
        tokens_per_minute=table.integer("tokens_per_minute", None, low=1),
        max_concurrent=table.integer("max_concurrent", None, low=1),
    )


def _budgets(table: Table) -> Budgets:
    return Budgets(
        daily_uusd=_uusd(table, "daily_usd"),
        weekly_uusd=_uusd(table, "weekly_usd"),
        monthly_uusd=_uusd(table, "monthly_usd"),
        per_request_uusd=_uusd(table, "per_request_usd"),
    )


def _uusd(table: Table, key: str) -> int | None:
    return uusd(table.number(key, None, low=0, high=MOST_USD))


def read_storage(table: Table, *, in_file: bool) -> StorageConfig:
    """`[storage]`; a configuration that is no file keeps nothing unless it says where."""
    url = Secret(DEFAULT_STORAGE) if in_file else None
    if table.has("url"):
        url = None if table.value("url") == NOTHING else _url(table, _STORAGE)
    return StorageConfig(
        url=url,
        synchronous=table.choice("synchronous", Synchronous, Synchronous.NORMAL),
        journal_days=table.integer("journal_days", 90, low=1, high=_DAYS),
        rollup_days=table.integer("rollup_days", 400, low=1, high=_DAYS),
    )


def read_redis(table: Table) -> Secret | None:
    """`[redis]`: a URL without a password."""
    return _url(table, _REDIS)


def _url(table: Table, kind: _UrlKind) -> Secret | None:
    url = table.string("url")
    if url is None:
        return None
    if not url.startswith(kind.prefixes):
        table.problem("url", f"must start with {' or '.join(kind.prefixes)}")
    elif has_password(url) or "password=" in url:
        table.problem("url", "secrets never stand in the file", hint=f"set {kind.variable} instead")
    return Secret(url)
