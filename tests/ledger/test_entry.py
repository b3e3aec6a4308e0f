"""The journal's row of a request, and when its attempts are told one by one."""

import json

import msgspec
import pytest

from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Inward, Reason, Strategy, Surface, Tier
from octoroute_py.ledger.entry import entry_of
from octoroute_py.ledger.outcome import Attempt, Outcome
from octoroute_py.storage.entries import JournalEntry, latency_bucket

FIRST = Attempt(
    endpoint_id="fast/a#1", tier=Tier.FAST, status=None, fault="timeout", started_s=100.25, ended_s=100.5, cost_uusd=20
)
ANSWERED = Attempt(
    endpoint_id="deep/a#1",
    tier=Tier.DEEP,
    status=200,
    started_s=100.5,
    ended_s=101.0,
    usage=Usage(12, 6, 4),
    cost_uusd=840,
)
WHOLE = Outcome(
    request_id="r1",
    entry=7,
    surface=Surface.CHAT,
    principal="laptop",
    workspace="shop",
    key_id="k1",
    agent_type="crawler",
    user_id="u1",
    request_type="chat",
    tag="nightly",
    status=200,
    tier=Tier.DEEP,
    decided_tier=Tier.FAST,
    strategy=Strategy.NEURAL,
    reason=Reason.TIER_FALLBACK,
    rule="mine",
    confidence=0.75,
    endpoint_id="deep/a#1",
    sends=2,
    attempts=(FIRST, ANSWERED),
    stream=True,
    usage=Usage(12, 6, 4),
    estimated=True,
    cost_uusd=860,
    baseline_uusd=840,
    arms="trial:b,rollout:canary",
    caller="0123456789ab",
    started_wall_s=1_769_847_300.5,
    started_ms=1_769_847_300_500,
    started_s=100.0,
    duration_s=1.0000004,
    routing_s=0.000_35,
    first_event_s=0.75,
)


def test_a_row_says_all_of_an_outcome() -> None:
    row = entry_of(WHOLE)
    told = {name: getattr(row, name) for name in JournalEntry.__struct_fields__}
    attempts = told.pop("attempts")
    assert told == {
        "request_id": "r1",
        "entry": 7,
        "started_ms": 1_769_847_300_500,
        "duration_us": 1_000_000,
        "first_event_us": 750_000,
        "routing_us": 350,
        "latency_bucket": latency_bucket(1_000_000),
        "surface": "chat",
        "status": 200,
        "error_code": None,
        "stream": True,
        "workspace": "shop",
        "key_id": "k1",
        "agent_type": "crawler",
        "user_id": "u1",
        "request_type": "chat",
        "tag": "nightly",
        "strategy": "neural",
        "reason": "tier_fallback",
        "rule": "mine",
        "confidence": 0.75,
        "decided_tier": "fast",
        "tier": "deep",
        "endpoint": "deep/a#1",
        "sends": 2,
        "prompt_tokens": 12,
        "completion_tokens": 6,
        "cached_tokens": 4,
        "estimated": True,
        "cost_uusd": 860,
        "baseline_uusd": 840,
        "arms": "trial:b,rollout:canary",
        "caller": "0123456789ab",
    }
    assert json.loads(attempts) == [
        {
            "endpoint": "fast/a#1",
            "tier": "fast",
            "status": None,
            "fault": "timeout",
            "startedMs": 250.0,
            "durationMs": 250.0,
            "tokens": 0,
            "costUusd": 20,
        },
        {
            "endpoint": "deep/a#1",
            "tier": "deep",
            "status": 200,
            "fault": None,
            "startedMs": 500.0,
            "durationMs": 500.0,
            "tokens": 18,
            "costUusd": 840,
        },
    ]


def test_words_are_plain_text_that_any_database_takes() -> None:
    row = entry_of(WHOLE)
    assert {type(each) for each in msgspec.structs.astuple(row)} == {str, int, float, bool, type(None)}


@pytest.mark.parametrize(
    ("attempts", "told"),
    [
        ((), False),
        ((ANSWERED,), False),
        ((ANSWERED, ANSWERED), True),
        ((FIRST,), True),
        ((msgspec.structs.replace(ANSWERED, fault="stalled"),), True),
        ((msgspec.structs.replace(ANSWERED, status=None),), True),
    ],
)
def test_attempts_are_told_unless_the_row_says_all_of_them(attempts: tuple[Attempt, ...], told: bool) -> None:
    row = entry_of(msgspec.structs.replace(WHOLE, attempts=attempts))
    assert (row.attempts is not None) is told
    if row.attempts is not None:
        assert len(json.loads(row.attempts)) == len(attempts)


def test_a_request_that_got_nowhere_has_a_row_too() -> None:
    row = entry_of(Outcome(request_id="r2", surface=None, status=CLIENT_GONE, started_wall_s=1.0, duration_s=0.0))
    assert (row.surface, row.tier, row.endpoint, row.decided_tier, row.strategy) == ("", "", "", None, None)
    assert (row.first_event_us, row.routing_us, row.latency_bucket, row.attempts) == (None, None, 0, None)
    assert (row.prompt_tokens, row.completion_tokens, row.cost_uusd, row.baseline_uusd) == (0, 0, 0, 0)


def test_a_question_to_a_judge_has_a_surface_of_its_own() -> None:
    assert entry_of(msgspec.structs.replace(WHOLE, surface=Inward.JUDGE)).surface == "judge"
    assert "judge" not in list(Surface)
