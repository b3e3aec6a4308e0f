"""From how a request ended to its row in the journal."""

from typing import Final

import msgspec

from octoroute_py.core.usage import Usage
from octoroute_py.ledger.outcome import Attempt, Outcome
from octoroute_py.storage.entries import JournalEntry, latency_bucket

_NO_TOKENS: Final = Usage()


class AttemptRow(msgspec.Struct, frozen=True, rename="camel"):
    """One attempt as the journal tells it: `started_ms` counts from the request's arrival, `tokens` are all of them."""

    endpoint: str
    tier: str
    status: int | None
    fault: str | None
    started_ms: float
    duration_ms: float
    tokens: int
    cost_uusd: int


_encode: Final = msgspec.json.Encoder().encode


def entry_of(outcome: Outcome) -> JournalEntry:
    """The row of an outcome: enums as words, times in whole microseconds."""
    usage = outcome.usage or _NO_TOKENS
    duration_us = round(outcome.duration_s * 1e6)
    surface, strategy, tier, decided = outcome.surface, outcome.strategy, outcome.tier, outcome.decided_tier
    # By place, in the order of the table: names would take ten times as long. `str` is quicker than `value`.
    return JournalEntry(
        outcome.request_id,
        outcome.entry,
        outcome.started_ms,
        duration_us,
        None if outcome.first_event_s is None else round(outcome.first_event_s * 1e6),
        None if outcome.routing_s is None else round(outcome.routing_s * 1e6),
        latency_bucket(duration_us),
        "" if surface is None else str(surface),
        outcome.status,
        outcome.error_code,
        outcome.stream,
        outcome.workspace,
        outcome.key_id,
        outcome.agent_type,
        outcome.user_id,
        outcome.request_type,
        outcome.tag,
        None if strategy is None else str(strategy),
        None if outcome.reason is None else str(outcome.reason),
        outcome.rule,
        outcome.confidence,
        None if decided is None else str(decided),
        "" if tier is None else str(tier),
        outcome.endpoint_id or "",
        outcome.sends,
        _attempts(outcome),
        usage.prompt,
        usage.completion,
        usage.cached,
        outcome.estimated,
        outcome.cost_uusd,
        outcome.baseline_uusd,
        outcome.arms,
        outcome.caller,
    )


def _attempts(outcome: Outcome) -> str | None:
    """The attempts as JSON; None for none, and for a single one that the row itself says all of."""
    attempts = outcome.attempts
    if len(attempts) == 1:
        alone = attempts[0]
        if alone.fault is None and alone.status == 200:
            return None
    if not attempts:
        return None
    return _encode([attempt_row(attempt, outcome.started_s) for attempt in attempts]).decode()


def attempt_row(attempt: Attempt, arrived_s: float) -> AttemptRow:
    """An attempt of a request that arrived at `arrived_s`, in monotonic seconds."""
    usage = attempt.usage or _NO_TOKENS
    return AttemptRow(
        endpoint=attempt.endpoint_id,
        tier=attempt.tier.value,
        status=attempt.status,
        fault=attempt.fault,
        started_ms=round((attempt.started_s - arrived_s) * 1e3, 3),
        duration_ms=round((attempt.ended_s - attempt.started_s) * 1e3, 3),
        tokens=usage.prompt + usage.completion,
        cost_uusd=attempt.cost_uusd,
    )
