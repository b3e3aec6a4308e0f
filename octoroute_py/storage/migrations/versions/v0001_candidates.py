"""Candidates of the Tiny Dancer router and its history."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "candidates",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("dimensions", sa.Integer, nullable=False),
        sa.Column("metadata", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("access_count", sa.BigInteger, nullable=False),
        sa.Column("success_rate", sa.Float, nullable=False),
        sa.Column("outcomes", sa.BigInteger, nullable=False),
        sa.Column("last_accessed", sa.BigInteger, nullable=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("candidates_by_created_at", "candidates", ["created_at"])
    op.create_index("candidates_by_revision", "candidates", ["revision"])
    op.create_table(
        "routing_history",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("candidate_id", sa.String, sa.ForeignKey("candidates.id"), nullable=False),
        sa.Column("query_embedding", sa.LargeBinary, nullable=True),
        sa.Column("confidence", sa.Float, nullable=False),
        sa.Column("use_lightweight", sa.Boolean, nullable=False),
        sa.Column("uncertainty", sa.Float, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("inference_time_us", sa.BigInteger, nullable=False),
        sa.Column("success", sa.Boolean, nullable=True),
    )
    op.create_index("routing_history_by_timestamp", "routing_history", ["timestamp"])
    op.create_index("routing_history_by_candidate", "routing_history", ["candidate_id"])
