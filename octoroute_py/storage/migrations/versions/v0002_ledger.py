"""The ledger: workspaces and keys, the journal with its intents and feedback, the sums, and who changed what."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

RowId = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    """Make the tables, and the single rows of those that count."""
    _make_directory()
    _make_journal()
    _make_rollups()


def _make_directory() -> None:
    op.create_table(
        "workspaces",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "keys",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("grant", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("created_by", sa.String, nullable=False),
        sa.Column("revoked_ms", sa.BigInteger, nullable=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("keys_by_revision", "keys", ["revision"])
    op.create_table(
        "key_secrets",
        sa.Column("sha256", sa.LargeBinary, primary_key=True),
        sa.Column("key_id", sa.String, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("last4", sa.String, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("key_secrets_by_key", "key_secrets", ["key_id"])
    op.create_table(
        "directory_version",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "audit",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("actor", sa.String, nullable=False),
        sa.Column("action", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
    )
    op.create_index("audit_by_time", "audit", ["at_ms"])
    op.execute("INSERT INTO directory_version (id, version) VALUES (1, 0)")


def _make_journal() -> None:
    op.create_table(
        "journal",
        sa.Column("id", RowId, primary_key=True, autoincrement=True),
        sa.Column("request_id", sa.String, nullable=False),
        sa.Column("entry", sa.BigInteger, nullable=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("first_event_us", sa.BigInteger, nullable=True),
        sa.Column("routing_us", sa.BigInteger, nullable=True),
        sa.Column("latency_bucket", sa.Integer, nullable=False),
        sa.Column("surface", sa.String, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("error_code", sa.String, nullable=True),
        sa.Column("stream", sa.Boolean, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("agent_type", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=True),
        sa.Column("request_type", sa.String, nullable=True),
        sa.Column("tag", sa.String, nullable=True),
        sa.Column("strategy", sa.String, nullable=True),
        sa.Column("reason", sa.String, nullable=True),
        sa.Column("rule", sa.String, nullable=True),
        sa.Column("confidence", sa.Float, nullable=True),
        sa.Column("decided_tier", sa.String, nullable=True),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("endpoint", sa.String, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Text, nullable=True),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("estimated", sa.Boolean, nullable=False),
        sa.Column("cost_uusd", sa.BigInteger, nullable=False),
        sa.Column("baseline_uusd", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("request_id", "entry", name="journal_once"),
    )
    op.create_index("journal_by_start", "journal", ["started_ms"])
    op.create_index("journal_by_workspace", "journal", ["workspace", "started_ms"])
    failed = sa.text("error_code IS NOT NULL AND surface <> 'judge'")
    columns = ["started_ms", "id", "status", "workspace"]
    op.create_index("journal_failed", "journal", columns, sqlite_where=failed, postgresql_where=failed)
    left = sa.text("status = 499 AND surface <> 'judge'")
    columns = ["started_ms", "id", "workspace"]
    op.create_index("journal_left", "journal", columns, sqlite_where=left, postgresql_where=left)
    op.create_table(
        "intents",
        sa.Column("request_id", sa.String, primary_key=True),
        sa.Column("entry", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("started_ms", sa.BigInteger, nullable=False),
        sa.Column("surface", sa.String, nullable=False),
        sa.Column("workspace", sa.String, nullable=False),
        sa.Column("key_id", sa.String, nullable=False),
        sa.Column("agent_type", sa.String, nullable=False),
        sa.Column("tier", sa.String, nullable=False),
        sa.Column("reserved_uusd", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "feedback",
        sa.Column(
            "journal_id", RowId, sa.ForeignKey("journal.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
        ),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("by", sa.String, nullable=False),
        sa.Column("rating", sa.Integer, nullable=True),
        sa.Column("success", sa.Boolean, nullable=True),
        sa.Column("smaller_tier_would_do", sa.Boolean, nullable=True),
    )


def _make_rollups() -> None:
    op.create_table(
        "rollups",
        sa.Column("grain_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", sa.String, primary_key=True),
        sa.Column("surface", sa.String, primary_key=True),
        sa.Column("agent_type", sa.String, primary_key=True),
        sa.Column("tier", sa.String, primary_key=True),
        sa.Column("endpoint", sa.String, primary_key=True),
        sa.Column("status", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_uusd", sa.BigInteger, nullable=False),
        sa.Column("baseline_uusd", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_totals",
        sa.Column("grain_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("surface", sa.String, primary_key=True),
        sa.Column("agent_type", sa.String, primary_key=True),
        sa.Column("tier", sa.String, primary_key=True),
        sa.Column("endpoint", sa.String, primary_key=True),
        sa.Column("status", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("failures", sa.BigInteger, nullable=False),
        sa.Column("duration_us", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cached_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_uusd", sa.BigInteger, nullable=False),
        sa.Column("baseline_uusd", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "spend_rollups",
        sa.Column("day_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", sa.String, primary_key=True),
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("agent_type", sa.String, primary_key=True),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
        sa.Column("completion_tokens", sa.BigInteger, nullable=False),
        sa.Column("cost_uusd", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latency_rollups",
        sa.Column("grain_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("workspace", sa.String, primary_key=True),
        sa.Column("endpoint", sa.String, primary_key=True),
        sa.Column("latency_bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "latency_totals",
        sa.Column("grain_s", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("start_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("endpoint", sa.String, primary_key=True),
        sa.Column("latency_bucket", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("requests", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_state",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("rolled_to", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO rollup_state (id, rolled_to) VALUES (1, 0)")
