"""The tables as they are after the last migration; a test holds them against what the migrations make."""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

RowId = BigInteger().with_variant(Integer, "sqlite")
"""SQLite numbers rows by itself only where the column's type is INTEGER."""

candidates = Table(
    "candidates",
    metadata,
    Column("id", String, primary_key=True),
    Column("embedding", LargeBinary, nullable=False),
    Column("dimensions", Integer, nullable=False),
    Column("metadata", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("access_count", BigInteger, nullable=False),
    Column("success_rate", Float, nullable=False),
    Column("outcomes", BigInteger, nullable=False),
    Column("last_accessed", BigInteger, nullable=True),
    Column("revision", BigInteger, nullable=False),
    Index("candidates_by_created_at", "created_at"),
    Index("candidates_by_revision", "revision"),
)
"""What a Tiny Dancer router may choose.

`embedding` holds `dimensions` little-endian float32; `metadata` is JSON; times are Unix seconds. `outcomes` is how many
outcomes stand behind `success_rate`. `revision` grows with every change of an embedding.
"""

routing_history = Table(
    "routing_history",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("candidate_id", String, ForeignKey("candidates.id"), nullable=False),
    Column("query_embedding", LargeBinary, nullable=True),
    Column("confidence", Float, nullable=False),
    Column("use_lightweight", Boolean, nullable=False),
    Column("uncertainty", Float, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    Column("inference_time_us", BigInteger, nullable=False),
    Column("success", Boolean, nullable=True),
    Index("routing_history_by_timestamp", "timestamp"),
    Index("routing_history_by_candidate", "candidate_id"),
)
"""Which candidate led each routing, and, once it is known, whether it did well."""

workspaces = Table(
    "workspaces",
    metadata,
    Column("id", String, primary_key=True),
    Column("policy", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
)
"""Workspaces with a configuration of their own; `policy` is a `WorkspacePolicy` as JSON."""

keys = Table(
    "keys",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("role", String, nullable=False),
    Column("grant", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String, nullable=False),
    Column("revoked_ms", BigInteger, nullable=True),
    Column("revision", BigInteger, nullable=False),
    Index("keys_by_revision", "revision"),
)
"""Keys that were issued, revoked ones included; `grant` is a `Grant` as JSON.

`revision` is the directory's version that a key, or what it is known by, was changed in last.
"""

key_secrets = Table(
    "key_secrets",
    metadata,
    Column("sha256", LargeBinary, primary_key=True),
    Column("key_id", String, ForeignKey("keys.id"), nullable=False),
    Column("last4", String, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=True),
    Index("key_secrets_by_key", "key_id"),
)
"""What a key is known by; two of them while a rotation overlaps. `expires_ms` is set on the older one."""

directory_version = Table(
    "directory_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)
"""One row, id 1: counts up with every change of workspaces and keys, so that whoever holds a copy knows it is old."""

audit = Table(
    "audit",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("details", Text, nullable=False),
    Index("audit_by_time", "at_ms"),
)
"""Who changed what, budgets that were reached included; `details` is JSON without secrets. Never changed."""

FAILED_ROWS = "error_code IS NOT NULL AND surface <> 'judge'"
LEFT_ROWS = "status = 499 AND surface <> 'judge'"
"""What a statement must say, word for word, to be answered from the few rows of these indices."""

EXPOSED = (
    *("started_ms", "id", "arms", "status", "error_code", "stream"),
    *("first_event_us", "duration_us", "cost_uusd", "caller"),
)
"""What is asked of the rows that experiments and canaries decided about: their index alone answers it."""


def _only_where(condition: str) -> dict[str, Any]:
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


journal = Table(
    "journal",
    metadata,
    Column("id", RowId, primary_key=True, autoincrement=True),
    Column("request_id", String, nullable=False),
    Column("entry", BigInteger, nullable=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("duration_us", BigInteger, nullable=False),
    Column("first_event_us", BigInteger, nullable=True),
    Column("routing_us", BigInteger, nullable=True),
    Column("latency_bucket", Integer, nullable=False),
    Column("surface", String, nullable=False),
    Column("status", Integer, nullable=False),
    Column("error_code", String, nullable=True),
    Column("stream", Boolean, nullable=False),
    Column("workspace", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("agent_type", String, nullable=False),
    Column("user_id", String, nullable=True),
    Column("request_type", String, nullable=True),
    Column("tag", String, nullable=True),
    Column("strategy", String, nullable=True),
    Column("reason", String, nullable=True),
    Column("rule", String, nullable=True),
    Column("confidence", Float, nullable=True),
    Column("decided_tier", String, nullable=True),
    Column("tier", String, nullable=False),
    Column("endpoint", String, nullable=False),
    Column("sends", Integer, nullable=False),
    Column("attempts", Text, nullable=True),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Column("estimated", Boolean, nullable=False),
    Column("cost_uusd", BigInteger, nullable=False),
    Column("baseline_uusd", BigInteger, nullable=False),
    Column("arms", String, nullable=True),
    Column("caller", String, nullable=True),
    UniqueConstraint("request_id", "entry", name="journal_once"),
    Index("journal_by_start", "started_ms"),
    Index("journal_by_workspace", "workspace", "started_ms"),
    Index("journal_failed", "started_ms", "id", "status", "workspace", **_only_where(FAILED_ROWS)),
    Index("journal_left", "started_ms", "id", "workspace", **_only_where(LEFT_ROWS)),
    Index("journal_arms", *EXPOSED, **_only_where("arms IS NOT NULL")),
)
"""Every request that ended, one row each, never changed; the columns in the order of `entries.JournalEntry`."""

registry = Table(
    "registry",
    metadata,
    Column("kind", String, primary_key=True),
    Column("id", String, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
"""What operators set over the API, one JSON document a row; `position` keeps the order in which they were made.

`revision` is the registry's version that a document was changed in last.
"""

registry_version = Table(
    "registry_version",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
)
"""One row, id 1: counts up with every change of the registry, so that whoever holds a copy knows it is old."""

intents = Table(
    "intents",
    metadata,
    Column("request_id", String, primary_key=True),
    Column("entry", BigInteger, primary_key=True, autoincrement=False),
    Column("started_ms", BigInteger, nullable=False),
    Column("surface", String, nullable=False),
    Column("workspace", String, nullable=False),
    Column("key_id", String, nullable=False),
    Column("agent_type", String, nullable=False),
    Column("tier", String, nullable=False),
    Column("reserved_uusd", BigInteger, nullable=False),
)
"""Requests on their way to an upstream; gone with the commit of their journal row."""

feedback = Table(
    "feedback",
    metadata,
    Column("journal_id", RowId, ForeignKey("journal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("by", String, nullable=False),
    Column("rating", Integer, nullable=True),
    Column("success", Boolean, nullable=True),
    Column("smaller_tier_would_do", Boolean, nullable=True),
)
"""What somebody thought of an answer, the last word of each journal row."""


def _period() -> tuple[Column[int], ...]:
    """Which period a sum is of: a column belongs to one table, so each gets its own."""
    return (
        Column("grain_s", Integer, primary_key=True, autoincrement=False),
        Column("start_s", BigInteger, primary_key=True, autoincrement=False),
    )


def _figures() -> tuple[Column[Any], ...]:
    """What requests have in common, and their sums."""
    return (
        Column("surface", String, primary_key=True),
        Column("agent_type", String, primary_key=True),
        Column("tier", String, primary_key=True),
        Column("endpoint", String, primary_key=True),
        Column("status", Integer, primary_key=True, autoincrement=False),
        Column("requests", BigInteger, nullable=False),
        Column("failures", BigInteger, nullable=False),
        Column("duration_us", BigInteger, nullable=False),
        Column("prompt_tokens", BigInteger, nullable=False),
        Column("completion_tokens", BigInteger, nullable=False),
        Column("cached_tokens", BigInteger, nullable=False),
        Column("cost_uusd", BigInteger, nullable=False),
        Column("baseline_uusd", BigInteger, nullable=False),
    )


def _latencies() -> tuple[Column[Any], ...]:
    """How many requests of an endpoint took how long."""
    return (
        Column("endpoint", String, primary_key=True),
        Column("latency_bucket", Integer, primary_key=True, autoincrement=False),
        Column("requests", BigInteger, nullable=False),
    )


rollups = Table(
    "rollups",
    metadata,
    *_period(),
    Column("workspace", String, primary_key=True),
    *_figures(),
    sqlite_with_rowid=False,
)
"""Sums of journal rows by minute (60), hour (3600) and UTC day (86400) of their start.

`failures` counts rows with an error code whose client did not leave (status 499).
"""

rollup_totals = Table(
    "rollup_totals",
    metadata,
    *_period(),
    *_figures(),
    sqlite_with_rowid=False,
)
"""The same for all workspaces together: with many of them `rollups` is hardly shorter than the journal."""

spend_rollups = Table(
    "spend_rollups",
    metadata,
    Column("day_s", BigInteger, primary_key=True, autoincrement=False),
    Column("workspace", String, primary_key=True),
    Column("key_id", String, primary_key=True),
    Column("agent_type", String, primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("cost_uusd", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Who spent how much on which UTC day: what budgets are seeded from at the start."""

latency_rollups = Table(
    "latency_rollups",
    metadata,
    *_period(),
    Column("workspace", String, primary_key=True),
    *_latencies(),
    sqlite_with_rowid=False,
)
"""How many requests took how long, in buckets that grow by 2 % (see `entries.latency_bucket`).

Only requests that an endpoint was tried for and whose client stayed; judge calls are not among them.
"""

latency_totals = Table(
    "latency_totals",
    metadata,
    *_period(),
    *_latencies(),
    sqlite_with_rowid=False,
)
"""The same for all workspaces together."""

rollup_state = Table(
    "rollup_state",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("rolled_to", BigInteger, nullable=False),
)
"""One row, id 1: the last journal id that the rollups hold."""
