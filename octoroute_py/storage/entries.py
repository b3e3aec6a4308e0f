"""What the journal takes: a request that is about to be sent, and one that has ended.

Both encode as arrays, in the order of their table's columns: as rows for the database and as lines for the spool.
"""

import math

import msgspec

BUCKET_GROWTH = 1.02
_LOG_GROWTH = math.log(BUCKET_GROWTH)


class Intent(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request on its way to an upstream; what it may cost stays reserved until its journal row is there.

    `entry` tells requests apart that came with the same id: 0 for ids of our own making, else 63 random bits.
    """

    request_id: str
    entry: int
    started_ms: int
    surface: str
    workspace: str
    key_id: str
    agent_type: str
    tier: str
    reserved_uusd: int


class JournalEntry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A request that has ended: the columns of `journal` without the number that the database gives.

    `started_ms` is Unix time and never goes back; other times are microseconds. `status` is what the client got, 499 if
    it left. `workspace`, `key_id`, `agent_type`, `tier` and `endpoint` are empty when there is none. `tier` and
    `endpoint` are those that answered, or that were tried last. `attempts` is JSON, None for a single good one. Tokens
    are those of the answer, `estimated` when no upstream counted them. `cost_uusd` is the price of every attempt,
    `baseline_uusd` what the answer's tokens would have cost at the deep tier. `arms` names the experiments and canary
    deployments that decided about the request and what it got: `name:arm`, by commas, None when there were none;
    `caller` stands for whom they were drawn for, None when that was nobody known.
    """

    request_id: str
    entry: int
    started_ms: int
    duration_us: int
    first_event_us: int | None
    routing_us: int | None
    latency_bucket: int
    surface: str
    status: int
    error_code: str | None
    stream: bool
    workspace: str
    key_id: str
    agent_type: str
    user_id: str | None
    request_type: str | None
    tag: str | None
    strategy: str | None
    reason: str | None
    rule: str | None
    confidence: float | None
    decided_tier: str | None
    tier: str
    endpoint: str
    sends: int
    attempts: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    estimated: bool
    cost_uusd: int
    baseline_uusd: int
    arms: str | None = None
    caller: str | None = None


def latency_bucket(duration_us: int) -> int:
    """The bucket of a duration: n holds what is above 1.02^(n-1) and at most 1.02^n microseconds, 0 holds 1 and less.

    The geometric middle of a bucket is within 1 % of all it holds.
    """
    return 0 if duration_us <= 1 else math.ceil(math.log(duration_us) / _LOG_GROWTH)
