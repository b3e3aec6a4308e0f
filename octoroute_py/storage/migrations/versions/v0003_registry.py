"""The registry: what operators set over the API; and in the journal, which arm of which experiment a request got."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the tables, the row that counts changes, and the journal's columns."""
    op.create_table(
        "registry",
        sa.Column("kind", sa.String, primary_key=True),
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_ms", sa.BigInteger, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "registry_version",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO registry_version (id, version) VALUES (1, 0)")
    op.add_column("journal", sa.Column("arms", sa.String, nullable=True))
    op.add_column("journal", sa.Column("caller", sa.String, nullable=True))
    op.create_index(
        "journal_arms",
        "journal",
        [
            *("started_ms", "id", "arms", "status", "error_code", "stream"),
            *("first_event_us", "duration_us", "cost_uusd", "caller"),
        ],
        sqlite_where=sa.text("arms IS NOT NULL"),
        postgresql_where=sa.text("arms IS NOT NULL"),
    )
