"""How a request ended, as one value that metrics, the log and the journal all read."""

import msgspec

from octoroute_py.core.trace import Trail
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Inward, Reason, Strategy, Surface, Tier


class Hop(msgspec.Struct, frozen=True):
    """Where a traced attempt went: the span it was sent in, the upstream's name of the model, the endpoint's URL."""

    span_id: int
    model: str
    base_url: str


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One send to an endpoint; `status` None means no answer came, `fault` then says why in a word of ours.

    `started_s` and `ended_s` are monotonic seconds. `usage` is what is charged for, `estimated` when the upstream did
    not count it; `cost_uusd` is its price. `hop` is there where requests are traced.
    """

    endpoint_id: str
    tier: Tier
    status: int | None
    fault: str | None = None
    started_s: float
    ended_s: float
    usage: Usage | None = None
    estimated: bool = False
    cost_uusd: int = 0
    hop: Hop | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finished request, or a finished question of the gateway's own (`surface` is Inward).

    `status` is what the client got, CLIENT_GONE if it left. `tier` and `endpoint_id` are those that answered, or that
    were tried last; `decided_tier` is the router's choice where that is another one. `attempts` are in the order of
    sending, judge calls excluded. `error_code` is set whenever the answer was not whole, also when a stream broke after
    its commit, which `broken_stream` tells apart.

    `started_wall_s` is Unix time, `started_ms` the same as the journal believes it, which never goes back; `started_s`
    is monotonic, as the times of attempts are; `duration_s` and `first_event_s` count from the request's arrival,
    `routing_s` is the time that choosing the tier took.

    `workspace`, `key_id` and `agent_type` say whose it was, `user_id`, `request_type` and `tag` are the caller's own
    words. `entry` tells requests apart that came with the same id. `usage` is that of the answer, `estimated` if no
    upstream counted it; `cost_uusd` is the price of every attempt, `baseline_uusd` that of the answer at deep.
    `arms` are the experiments and canary deployments that decided about it, `caller` whom they were drawn for, both as
    the journal keeps them. `trail` is there where requests are traced.
    """

    request_id: str
    entry: int = 0
    surface: Surface | Inward | None
    principal: str | None = None
    workspace: str = ""
    key_id: str = ""
    agent_type: str = ""
    user_id: str | None = None
    request_type: str | None = None
    tag: str | None = None
    status: int
    tier: Tier | None = None
    decided_tier: Tier | None = None
    strategy: Strategy | None = None
    reason: Reason | None = None
    rule: str | None = None
    rule_id: str | None = None
    confidence: float | None = None
    endpoint_id: str | None = None
    sends: int = 0
    attempts: tuple[Attempt, ...] = ()
    stream: bool = False
    broken_stream: bool = False
    usage: Usage | None = None
    estimated: bool = False
    cost_uusd: int = 0
    baseline_uusd: int = 0
    arms: str | None = None
    caller: str | None = None
    started_wall_s: float
    started_ms: int = 0
    started_s: float = 0.0
    duration_s: float
    routing_s: float | None = None
    first_event_s: float | None = None
    error_code: str | None = None
    trail: Trail | None = None
