"""What somebody may use: rates, budgets, and where they may go. Values that storage, the porter and the API share.

Money is integer micro-USD (`*_uusd`), times are Unix seconds. None means no limit.
"""

import msgspec

from octoroute_py.core.words import Tier

DEFAULT_WORKSPACE = "default"
"""The workspace of requests that name none and whose key belongs to none."""


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How fast: `requests_per_window` in any `requests_window_s`, tokens in any minute, and how many at once."""

    requests_per_window: int | None = None
    requests_window_s: float = 60.0
    tokens_per_minute: int | None = None
    max_concurrent: int | None = None


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """How much money: by UTC day, ISO week (from Monday) and month, and by single request."""

    daily_uusd: int | None = None
    weekly_uusd: int | None = None
    monthly_uusd: int | None = None
    per_request_uusd: int | None = None


NO_RATES = Rates()
NO_BUDGETS = Budgets()


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """What a key that was issued may do beyond its role; None leaves a dimension open.

    `workspaces`: the first is the one of requests that name none. `endpoints` are names or ids. `networks` are source
    addresses in CIDR notation.
    """

    workspaces: tuple[str, ...] | None = None
    tiers: tuple[Tier, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    expires_at_s: float | None = None
    rates: Rates = NO_RATES
    budgets: Budgets = NO_BUDGETS


class WorkspacePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """What holds for every request of a workspace.

    `restrictions` are endpoint names or ids, or tiers: an allow-list, or with `deny` the opposite; None restricts
    nothing, an empty allow-list everything. An endpoint serves only with every tag of `compliance`, at most
    `max_latency_ms` to answer and at least `min_success_rate` (0 to 1) as measured lately; one without measurements is
    let in. `min_quality_score` and `require_human_review` are kept and told back; nothing here can enforce them.
    """

    restrictions: tuple[str, ...] | None = None
    deny: bool = False
    rates: Rates = NO_RATES
    budgets: Budgets = NO_BUDGETS
    max_latency_ms: float | None = None
    min_success_rate: float | None = None
    min_quality_score: float | None = None
    require_human_review: bool = False
    compliance: tuple[str, ...] = ()
