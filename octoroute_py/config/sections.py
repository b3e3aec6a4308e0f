"""The plain tables of the document, one function each: defaults and bounds of contract §2."""

import os
import re
import ssl
from collections.abc import Mapping
from pathlib import Path

import msgspec

from octoroute_py.config.addresses import Wrong, bind_host, origin
from octoroute_py.config.fields import LONGEST_TIMEOUT_S, Table
from octoroute_py.config.rules import read_rules
from octoroute_py.config.schema import (
    AdminConfig,
    BalancerName,
    BreakerConfig,
    CorsConfig,
    HealthConfig,
    LogFormat,
    LogLevel,
    NeuralConfig,
    ObservabilityConfig,
    RetryConfig,
    RouterTimeouts,
    RoutingConfig,
    ServerConfig,
    ShippedArtifact,
    StrategyName,
    TierFallback,
    TimeoutsConfig,
    TlsConfig,
)
from octoroute_py.core.words import Importance, Tier

ONE_PROCESS = (
    "one process already fills a core; breakers, budgets and limits live in its memory; "
    "run several replicas behind a balancer"
)
"""Why `workers` above 1 is refused."""

LOG_LEVELS: dict[str, LogLevel] = {
    **{level.value: level for level in LogLevel},
    "trace": LogLevel.DEBUG,
    "warn": LogLevel.WARNING,
}
"""Level names as written in files and LOG_LEVEL, octoroute 1.0.0's among them."""
LOGGING_ROOMS = ("app", "cli", "edge", "gateway", "ledger", "manage", "neural", "telemetry")
"""Rooms that log, and may have a level of their own in `log_levels`, as `octoroute.<room>`."""

_PEM_NAME = re.compile(r"[\w./ -]{1,200}\.(pem|crt|cer|key)")


def read_server(table: Table, base_dir: Path) -> ServerConfig:
    """`[server]` and `[server.tls]`."""
    workers = table.integer("workers", 1, low=1)
    if workers > 1:
        table.problem("workers", "must be 1", hint=ONE_PROCESS)
    return ServerConfig(
        host=_host(table, "127.0.0.1"),
        port=table.integer("port", 3000, low=0, high=65535),
        workers=1,
        request_timeout_seconds=table.seconds("request_timeout_seconds", None),
        drain_seconds=table.number("drain_seconds", 60.0, low=0, high=LONGEST_TIMEOUT_S),
        watch_config=table.flag("watch_config", False),
        tls=_tls(table.table("tls"), base_dir) if table.has("tls") else None,
    )


def _tls(table: Table, base_dir: Path) -> TlsConfig | None:
    table.require("cert_file")
    table.require("key_file")
    cert, key, client_ca = (table.string(name) for name in ("cert_file", "key_file", "client_ca_file"))
    if cert is None or key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if _all_there(table, base_dir, {"cert_file": cert, "key_file": key}):
        try:
            # the empty password keeps OpenSSL from asking on the terminal
            context.load_cert_chain(base_dir / cert, base_dir / key, password="")
        except (OSError, ValueError):
            table.problem("cert_file", "with key_file: no readable PEM certificate and its unencrypted key")
    if client_ca is not None and _all_there(table, base_dir, {"client_ca_file": client_ca}):
        try:
            context.load_verify_locations(base_dir / client_ca)
        except (OSError, ValueError):
            table.problem("client_ca_file", "the file named here cannot be read as PEM certificates")
    return TlsConfig(
        cert_file=base_dir / cert,
        key_file=base_dir / key,
        client_ca_file=None if client_ca is None else base_dir / client_ca,
    )


def _all_there(table: Table, base_dir: Path, named: Mapping[str, str]) -> bool:
    """Whether all of these files exist; notes each that does not."""
    missing = [key for key, name in named.items() if not os.path.exists(base_dir / name)]
    for key in missing:
        # whatever does not look like such a file may be a secret in the wrong place
        shown = named[key] if _PEM_NAME.fullmatch(named[key]) else "the file named here"
        table.problem(key, f"{shown}: no such file")
    return not missing


def read_admin(table: Table) -> AdminConfig:
    """`[admin]`."""
    return AdminConfig(host=_host(table, "127.0.0.1"), port=table.integer("port", 8081, low=0, high=65535))


def _host(table: Table, default: str) -> str:
    text = table.string("host")
    try:
        return default if text is None else bind_host(text)
    except Wrong as wrong:
        table.problem("host", str(wrong))
        return default


def read_routing(table: Table, base_dir: Path) -> RoutingConfig:
    """`[routing]` with its rules; the strategy is required."""
    table.require("strategy")
    return msgspec.structs.replace(
        read_choices(table, RoutingConfig(strategy=StrategyName.RULE)),
        router_tier=table.choice("router_tier", Tier, Tier.BALANCED),
        default_importance=table.choice("default_importance", Importance, Importance.NORMAL),
        router_timeouts=_router_timeouts(table.table("router_timeouts")),
        rules=read_rules(table),
        neural=_neural(table.table("neural"), base_dir),
    )


def read_choices(table: Table, base: RoutingConfig) -> RoutingConfig:
    """What may also be set over the API of `[routing]`; what the table lacks is as in `base`."""
    return msgspec.structs.replace(
        base,
        strategy=table.choice("strategy", StrategyName, base.strategy),
        default_tier=table.choice("default_tier", Tier, base.default_tier),
        tier_fallback=table.choice("tier_fallback", TierFallback, base.tier_fallback),
        balancer=table.choice("balancer", BalancerName, base.balancer),
    )


def read_thresholds(table: Table, base: NeuralConfig) -> NeuralConfig:
    """The same of `[routing.neural]`."""
    return msgspec.structs.replace(
        base,
        max_quality_loss=table.number("max_quality_loss", base.max_quality_loss, low=0, high=1),
        confidence_threshold=table.number("confidence_threshold", base.confidence_threshold, low=0, high=1),
        max_uncertainty=table.number("max_uncertainty", base.max_uncertainty, low=0, high=1),
    )


def _router_timeouts(table: Table) -> RouterTimeouts:
    return RouterTimeouts(
        fast=table.seconds("fast", 10.0), balanced=table.seconds("balanced", 10.0), deep=table.seconds("deep", 10.0)
    )


def _neural(table: Table, base_dir: Path) -> NeuralConfig:
    artifact = table.string("artifact")
    return msgspec.structs.replace(
        read_thresholds(table, NeuralConfig()),
        artifact=ShippedArtifact.DEFAULT if artifact is None else _artifact(artifact, base_dir),
    )


def _artifact(name: str, base_dir: Path) -> Path | ShippedArtifact:
    """A shipped artifact by its name, anything else as a file; one of that name needs a "./" before it."""
    return ShippedArtifact(name) if name in list(ShippedArtifact) else base_dir / name


def read_timeouts(table: Table) -> TimeoutsConfig:
    """`[timeouts]`."""
    return TimeoutsConfig(
        fast=table.seconds("fast", None), balanced=table.seconds("balanced", None), deep=table.seconds("deep", None)
    )


def read_retry(table: Table) -> RetryConfig:
    """`[retry]`."""
    retry = RetryConfig(
        max_attempts=table.integer("max_attempts", 3, low=1, high=100),
        max_total=table.integer("max_total", 4, low=1, high=100),
        backoff_seconds=table.number("backoff_seconds", 0.25, low=0, high=LONGEST_TIMEOUT_S),
        max_backoff_seconds=table.number("max_backoff_seconds", 8.0, low=0, high=LONGEST_TIMEOUT_S),
        budget_ratio=table.number("budget_ratio", 0.2, low=0, high=1),
    )
    if retry.backoff_seconds > retry.max_backoff_seconds:
        table.problem("backoff_seconds", f"is above max_backoff_seconds ({retry.max_backoff_seconds:g})")
    return retry


def read_breaker(table: Table) -> BreakerConfig:
    """`[breaker]`."""
    breaker = msgspec.structs.replace(
        read_switch(table, BreakerConfig()),
        failure_ratio=table.number("failure_ratio", 0.5, low=0, high=1, above=True),
        min_requests=table.integer("min_requests", 10, low=1, high=1_000_000),
        window_seconds=table.seconds("window_seconds", 60.0),
        open_seconds=table.seconds("open_seconds", 5.0),
        max_open_seconds=table.seconds("max_open_seconds", 300.0),
        half_open_successes=table.integer("half_open_successes", 2, low=1, high=1_000),
    )
    if breaker.open_seconds > breaker.max_open_seconds:
        table.problem("open_seconds", f"is above max_open_seconds ({breaker.max_open_seconds:g})")
    return breaker


def read_switch(table: Table, base: BreakerConfig) -> BreakerConfig:
    """What may also be set over the API of `[breaker]`; what the table lacks is as in `base`."""
    return msgspec.structs.replace(
        base,
        enabled=table.flag("enabled", base.enabled),
        failure_threshold=table.integer("failure_threshold", base.failure_threshold, low=1, high=1_000_000),
    )


def read_health(table: Table) -> HealthConfig:
    """`[health]`."""
    return HealthConfig(
        enabled=table.flag("enabled", True),
        interval_seconds=table.seconds("interval_seconds", 30.0),
        timeout_seconds=table.seconds("timeout_seconds", 5.0),
        failure_threshold=table.integer("failure_threshold", 3, low=1, high=1_000),
    )


def read_observability(table: Table) -> ObservabilityConfig:
    """`[observability]`; level names in any case, as octoroute 1.0.0 took them."""
    level = table.string("log_level")
    found = None if level is None else table.word(level.lower(), (*table.where, "log_level"), LOG_LEVELS)
    return ObservabilityConfig(
        log_level=found or LogLevel.INFO,
        log_levels=_room_levels(table.table("log_levels")),
        log_format=table.choice("log_format", LogFormat, LogFormat.TEXT),
        metrics_auth=table.flag("metrics_auth", False),
        capture_content=table.flag("capture_content", False),
    )


def _room_levels(table: Table) -> tuple[tuple[str, LogLevel], ...]:
    levels = []
    for name in (f"octoroute.{room}" for room in LOGGING_ROOMS):
        text = table.string(name)
        found = None if text is None else table.word(text.lower(), (*table.where, name), LOG_LEVELS)
        if found is not None:
            levels.append((name, found))
    return tuple(levels)


def read_cors(table: Table) -> CorsConfig:
    """`[cors]`."""
    origins = []
    for where, text in table.strings("origins"):
        try:
            origins.append(origin(text))
        except Wrong as wrong:
            table.problem_at(where, str(wrong))
    if "*" in origins and len(set(origins)) > 1:
        table.problem("origins", '"*" means every origin', hint='give ["*"] alone, or leave it out')
    return CorsConfig(origins=tuple(dict.fromkeys(origins)))
