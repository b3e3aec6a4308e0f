"""Journal rows as a gateway would have written them."""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from octoroute_py.storage.entries import JournalEntry, latency_bucket
from octoroute_py.storage.schema import journal

PLAIN = JournalEntry(
    request_id="r-1",
    entry=0,
    started_ms=1_000,
    duration_us=20_000,
    first_event_us=None,
    routing_us=50,
    latency_bucket=latency_bucket(20_000),
    surface="chat",
    status=200,
    error_code=None,
    stream=False,
    workspace="default",
    key_id="anonymous",
    agent_type="",
    user_id=None,
    request_type=None,
    tag=None,
    strategy="rule",
    reason="rule_matched",
    rule="casual",
    confidence=None,
    decided_tier="fast",
    tier="fast",
    endpoint="fast/small#1",
    sends=1,
    attempts=None,
    prompt_tokens=7,
    completion_tokens=5,
    cached_tokens=0,
    estimated=False,
    cost_uusd=12,
    baseline_uusd=120,
)
"""A chat that went well."""


def write(connection: Connection, *changes: dict[str, Any]) -> None:
    """One row for each set of changed fields."""
    rows = [msgspec.structs.asdict(msgspec.structs.replace(PLAIN, **change)) for change in changes]
    connection.execute(insert(journal), rows)
