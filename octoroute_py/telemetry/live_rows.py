"""What is read at scrape time instead of being counted: how breakers, the journal, canaries and budgets stand."""

from collections.abc import Mapping, Sequence

import msgspec

from octoroute_py.core.words import BreakerState
from octoroute_py.telemetry.ledger_counts import KeepingRow


class BreakerRow(msgspec.Struct, frozen=True):
    """A breaker as it stands; `scope` is `endpoint`, `tier` or `judge`, `id` is that one's.

    `trips` and `failures` count from the start; failures are those the breaker was told of.
    """

    scope: str
    id: str
    state: BreakerState
    trips: int
    failures: int = 0


class CanaryRow(msgspec.Struct, frozen=True):
    """A deployment that runs: its two models, and the canary's share of the callers in percent."""

    id: str
    production: str
    canary: str
    share: float


class BudgetRow(msgspec.Struct, frozen=True):
    """A workspace with a budget: how much of the tightest one is used (1 is all of it), and what today has cost."""

    workspace: str
    utilization: float
    spent_today_usd: float


class LiveRows(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is read, as it stands at one moment.

    `available` are (endpoint id, may be picked) pairs, `up` the same for whether it is out for a fault, `health` the
    scores (0 to 100) of models that have one, `pools` the shares in use of what has a limit on its requests at once.
    `models`, `rules` and `canary_states` count what is configured and registered, by status.
    """

    breakers: Sequence[BreakerRow] = ()
    available: Sequence[tuple[str, bool]] = ()
    up: Sequence[tuple[str, bool]] = ()
    health: Sequence[tuple[str, float]] = ()
    pools: Sequence[tuple[str, float]] = ()
    drained: int = 0
    models: Mapping[str, int] = {}
    rules: Mapping[str, int] = {}
    canary_states: Mapping[str, int] = {}
    canaries: Sequence[CanaryRow] = ()
    budgets: Sequence[BudgetRow] = ()
    keeping: KeepingRow = KeepingRow()
    uptime_s: float = 0.0
