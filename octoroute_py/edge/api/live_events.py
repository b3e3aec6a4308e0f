"""The events of `GET /api/live`, as the page gets them."""

import msgspec

from octoroute_py.core.words import BreakerState, Keeping, Location, Reason, Strategy, Tier
from octoroute_py.manage.today import Money
from octoroute_py.tiers.live import Unavailability


class LiveSecond(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The last full second, by the Unix second in which it began; the tiers count requests that ended there."""

    t: int
    requests: int
    errors: int
    fast: int
    balanced: int
    deep: int
    p50_ms: float | None
    p95_ms: float | None
    cost_usd: float
    saved_usd: float


class LiveSeries(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The same for every full second of the window, oldest first."""

    t: list[int]
    requests: list[int]
    errors: list[int]
    fast: list[int]
    balanced: list[int]
    deep: list[int]
    p50_ms: list[float | None]
    p95_ms: list[float | None]
    cost_usd: list[float]
    saved_usd: list[float]


class LiveDecision(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A request that has ended. `at` is when it came in, `tier` who answered or was tried last.

    `saved_usd` is its baseline less its cost, None for an answer that has no baseline.
    """

    request_id: str
    at: str
    tier: Tier | None
    decided_tier: Tier | None
    strategy: Strategy | None
    reason: Reason | None
    rule: str | None
    endpoint: str | None
    status: int
    error_code: str | None
    stream: bool
    duration_ms: float | None
    first_event_ms: float | None
    routing_ms: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    cost_usd: float
    saved_usd: float | None
    attempts: int
    agent_type: str | None
    workspace: str


class LiveHistory(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The first event: the last minutes, and the newest requests, newest first."""

    window_seconds: int
    series: LiveSeries
    recent: list[LiveDecision]


class LiveTotals(msgspec.Struct, frozen=True):
    """Requests since the start; `failed` had an error code and a client that stayed, as in analytics."""

    requests: int
    failed: int


class LiveLatency(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Exact percentiles over the last `count` routed requests, as in /info."""

    count: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class LiveEndpoint(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint; `why` it may not be tried now. `requests_5m` are attempts with a verdict, `failed_5m` the bad ones.

    `latency_ms` is the moving average to a stream's first event, else the mean to a whole answer of five minutes.
    `in_tier` is false for one that answers only by name.
    """

    id: str
    name: str
    model: str
    location: Location
    state: BreakerState
    available: bool
    why: Unavailability | None
    in_flight: int
    max_in_flight: int | None
    weight: float
    priority: int
    requests_5m: int = msgspec.field(name="requests5m")
    failed_5m: int = msgspec.field(name="failed5m")
    latency_ms: float | None
    requests_per_second: float
    registered: bool
    drained: bool
    in_tier: bool


class LiveTier(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A tier; `available` of its `total` endpoints are not out."""

    tier: Tier
    state: BreakerState
    available: int
    total: int
    trips: int
    requests_per_second: float
    endpoints: list[LiveEndpoint]


class LiveStorage(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The journal: its state, and rows on their way, in the spool, in memory alone, and lost."""

    state: Keeping
    waiting: int
    spooled: int
    unkept: int
    lost: int


class LiveJudge(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The judge's own breaker."""

    strategy: Strategy
    state: BreakerState
    trips: int
    consecutive_failures: int


class LiveTick(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Every second's event. `decisions` are requests that ended since the last one, newest first.

    `per_second` and its like are means of the last ten seconds. `money` is that of today, some seconds old at most.
    """

    at: str
    version: str
    generation: int
    uptime_seconds: float
    draining: bool
    ready: bool
    reasons: list[str]
    in_flight: int
    totals: LiveTotals
    per_second: float
    latency: LiveLatency
    second: LiveSecond
    money: Money | None
    tiers: list[LiveTier]
    storage: LiveStorage
    judge: LiveJudge | None
    decisions: list[LiveDecision]
    decisions_missed: int
