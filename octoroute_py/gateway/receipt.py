"""What is told of a past request: the explanation of its decision, and what came of it."""

import enum
from typing import Final

import msgspec

from octoroute_py.core.clock import iso
from octoroute_py.core.ending import Ended, ended
from octoroute_py.core.money import usd
from octoroute_py.core.words import Reason
from octoroute_py.ledger.entry import AttemptRow
from octoroute_py.routing.explain import Decider, JudgeView, RuleTrial, ScorerView, Seen
from octoroute_py.storage.entries import JournalEntry
from octoroute_py.tiers.eligibility import Misfit

_ATTEMPTS: Final = msgspec.json.Decoder(list[AttemptRow])


class ReceiptKey(msgspec.Struct, frozen=True, kw_only=True):
    """Whose key a request came with; `name` None where only the journal remembers."""

    id: str
    name: str | None


class RequestView(msgspec.Struct, frozen=True, kw_only=True):
    """The request itself, `at` in ISO 8601; `outcome` is how it ended in a word.

    `entry` tells requests apart that came with one id: digits, too many for a number. `key` is for viewers.
    `generation` is that of the configuration it was decided under, None where nobody knows any more.
    """

    request_id: str
    entry: str
    at: str
    surface: str
    status: int
    outcome: Ended
    error_code: str | None
    stream: bool
    workspace: str
    agent_type: str | None
    key: ReceiptKey | None
    generation: int | None


class CandidateFate(enum.StrEnum):
    """What became of a candidate at the first attempt."""

    CHOSEN = "chosen"
    NOT_DRAWN = "not_drawn"
    """It was as good as the chosen one, for all anybody knows."""
    PASSED_OVER = "passed_over"
    """It came before, and could not take the attempt: out, full, too slow for its workspace, or too dear."""
    NOT_REACHED = "not_reached"
    """It would have come after, or no attempt was made at all."""
    UNFIT = "unfit"


class CandidateView(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that the plan names, in order: of pool `pool`, in the class of its `priority`.

    `available`: whether it could take the first attempt; None where nobody found out. `attempts` are the numbers, from
    1, of those that it was sent.
    """

    endpoint: str
    name: str
    tier: str
    pool: int
    priority: int
    weight: float
    part: CandidateFate
    available: bool | None
    unfit: Misfit | None
    attempts: tuple[int, ...]


class EndpointChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Why this endpoint: the first attempt was drawn by `balancer` among endpoints of one class, told by their ids.

    `candidates` are the first hundred, `more` how many others there were.
    """

    balancer: str
    pool: int | None
    priority: int | None
    drawn_among: tuple[str, ...]
    candidates: tuple[CandidateView, ...]
    more: int = 0


class AttemptView(msgspec.Struct, frozen=True, kw_only=True):
    """One send; its start counts from the request's arrival in ms, None where nobody wrote it down."""

    endpoint: str
    tier: str
    status: int | None
    fault: str | None
    started_ms: float | None
    duration_ms: float | None
    tokens: int
    cost_usd: float


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds: what choosing took, and from arrival to the first event and to the end."""

    routing_ms: float | None
    first_event_ms: float | None
    duration_ms: float


class UsageView(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the answer; `estimated` when no upstream counted."""

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    total_tokens: int
    estimated: bool


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """A past decision, in the fields of an `Explanation`, and what came of it.

    `tier`, `strategy` and `reason` are those that were decided, the answered tier and reason those of the answer's
    headers, which differ after a fallback. What nobody knows is None or empty: of a `complete` receipt `unknown` names
    it, because nobody asked then. One that is not complete is told from the journal alone. What was saved is None
    where there is nothing to compare with. `entries` are those of all requests of this id that the reader may see,
    newest first.
    """

    tier: str | None
    strategy: str | None
    reason: str | None
    rule: str | None
    confidence: float | None
    next_step: str | None = None
    default_tier: str | None = None
    rules: tuple[RuleTrial, ...] = ()
    scorer: ScorerView | None = None
    judge: JudgeView | None = None
    candidates: tuple[str, ...] = ()
    unfit: dict[str, Misfit] = {}
    facts: Seen | None = None
    models: tuple[str, ...] = ()
    rule_id: str | None = None
    arms: tuple[str, ...] = ()
    decided_by: Decider | None = None
    preferred: tuple[str, ...] | None = None
    first: tuple[str, ...] = ()
    request: RequestView
    endpoint: str | None
    answered_tier: str | None
    answered_reason: str | None
    why_endpoint: EndpointChoice | None = None
    attempts: tuple[AttemptView, ...]
    timing: Timing
    usage: UsageView
    cost_usd: float
    baseline_usd: float
    saved_usd: float | None
    complete: bool = False
    unknown: tuple[str, ...] = ()
    entries: tuple[str, ...] = ()


def receipt_of_row(row: JournalEntry, *, key: ReceiptKey | None, generation: int | None = None) -> Receipt:
    """What a row of the journal says; its arms are those that had an effect."""
    fell_back = row.reason == Reason.TIER_FALLBACK
    return Receipt(
        tier=row.decided_tier or row.tier or None,
        strategy=row.strategy,
        reason=None if fell_back else row.reason,
        rule=row.rule,
        confidence=row.confidence,
        arms=() if row.arms is None else tuple(row.arms.split(",")),
        request=_request(row, key=key, generation=generation),
        endpoint=row.endpoint or None,
        answered_tier=row.tier or None,
        answered_reason=row.reason,
        attempts=_attempts(row),
        timing=Timing(
            routing_ms=_ms(row.routing_us), first_event_ms=_ms(row.first_event_us), duration_ms=row.duration_us / 1000
        ),
        usage=UsageView(
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            cached_tokens=row.cached_tokens,
            total_tokens=row.prompt_tokens + row.completion_tokens,
            estimated=bool(row.estimated),
        ),
        cost_usd=usd(row.cost_uusd),
        baseline_usd=usd(row.baseline_uusd),
        saved_usd=usd(row.baseline_uusd - row.cost_uusd) if row.baseline_uusd else None,
    )


def attempt_view(row: AttemptRow) -> AttemptView:
    """An attempt as it is shown."""
    return AttemptView(
        endpoint=row.endpoint,
        tier=row.tier,
        status=row.status,
        fault=row.fault,
        started_ms=row.started_ms,
        duration_ms=row.duration_ms,
        tokens=row.tokens,
        cost_usd=usd(row.cost_uusd),
    )


def _request(row: JournalEntry, *, key: ReceiptKey | None, generation: int | None) -> RequestView:
    return RequestView(
        request_id=row.request_id,
        entry=str(row.entry),
        at=iso(row.started_ms),
        surface=row.surface,
        status=row.status,
        outcome=ended(row.status, failed=row.error_code is not None),
        error_code=row.error_code,
        stream=bool(row.stream),
        workspace=row.workspace,
        agent_type=row.agent_type or None,
        key=key,
        generation=generation,
    )


def _attempts(row: JournalEntry) -> tuple[AttemptView, ...]:
    """The attempts of a row; of a single good one it says all but when that was."""
    if row.attempts is not None:
        return tuple(map(attempt_view, _ATTEMPTS.decode(row.attempts)))
    if row.sends != 1 or not row.endpoint or row.status != 200:
        return ()
    return (
        AttemptView(
            endpoint=row.endpoint,
            tier=row.tier,
            status=200,
            fault=None,
            started_ms=None,
            duration_ms=None,
            tokens=row.prompt_tokens + row.completion_tokens,
            cost_usd=usd(row.cost_uusd),
        ),
    )


def _ms(us: int | None) -> float | None:
    return None if us is None else us / 1000
