"""The tables as they are after the last migration; a test holds them against what the migrations make."""

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
