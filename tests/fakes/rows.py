"""Rows for the journal: an ordinary request, and what a test wants to be different."""

from typing import Any

import msgspec
from sqlalchemy import Connection, select

from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.schema import intents

_ENTRY = JournalEntry(
    request_id="r",
    entry=0,
    started_ms=1_000,
    duration_us=250_000,
    first_event_us=None,
    routing_us=90,
    latency_bucket=628,
    surface="chat",
    status=200,
    error_code=None,
    stream=False,
    workspace="default",
    key_id="anonymous",
    agent_type="",
    user_id=None,
    request_type="code",
    tag=None,
    strategy="rule",
    reason="rule_matched",
    rule="code",
    confidence=None,
    decided_tier=None,
    tier="balanced",
    endpoint="balanced/b#1",
    sends=1,
    attempts=None,
    prompt_tokens=100,
    completion_tokens=20,
    cached_tokens=0,
    estimated=False,
    cost_uusd=42,
    baseline_uusd=420,
)
_INTENT = Intent(
    request_id="r",
    entry=0,
    started_ms=1_000,
    surface="chat",
    workspace="default",
    key_id="anonymous",
    agent_type="",
    tier="balanced",
    reserved_uusd=100,
)


def an_entry(request_id: str, **changes: Any) -> JournalEntry:
    """A request that ended well."""
    return msgspec.structs.replace(_ENTRY, request_id=request_id, **changes)


def an_intent(request_id: str, **changes: Any) -> Intent:
    """A request that is about to be sent."""
    return msgspec.structs.replace(_INTENT, request_id=request_id, **changes)


def open_intents(connection: Connection) -> list[Intent]:
    """Requests that began and have no journal row yet, the oldest first."""
    columns = [intents.c[name] for name in Intent.__struct_fields__]
    return [Intent(*row) for row in connection.execute(select(*columns).order_by(intents.c.started_ms))]
