"""What the ledger and the limits count: who was held back, which budgets were reached, how the journal is doing."""

from collections.abc import Iterator

import msgspec
from prometheus_client.core import GaugeMetricFamily, Metric

from octoroute_py.core.words import Keeping
from octoroute_py.telemetry.families import counter

SUBJECTS = ("key", "workspace", "agent_type", "ip")
"""Whose limits there are."""
LIMITS = ("requests", "tokens", "concurrent", "budget")
"""What may run out."""
BUDGET_LEVELS = (80, 100)
"""Percentages of a budget that are told."""


class KeepingRow(msgspec.Struct, frozen=True):
    """The journal as it stands: how rows are kept, and how many are on their way, in the spool, in memory alone."""

    state: Keeping = Keeping.OFF
    waiting: int = 0
    spooled: int = 0
    unkept: int = 0
    lost: int = 0


class LedgerCounts:
    """Counting is for the event loop's thread, reading safe from any. Unknown labels are not counted."""

    __slots__ = ("_budget_events", "_limited", "_skipped")

    def __init__(self) -> None:
        self._limited = {(subject, limit): 0 for subject in SUBJECTS for limit in LIMITS}
        self._budget_events = {(subject, level): 0 for subject in SUBJECTS for level in BUDGET_LEVELS}
        self._skipped = 0

    def limited(self, subject: str, limit: str) -> None:
        """A request was refused because this subject had used up this limit."""
        if (subject, limit) in self._limited:
            self._limited[subject, limit] += 1

    def budget_reached(self, subject: str, level: int) -> None:
        """A budget of such a subject came to this level, in percent."""
        if (subject, level) in self._budget_events:
            self._budget_events[subject, level] += 1

    def journal_skipped(self) -> None:
        """A refusal was not written into the journal: there were too many of them."""
        self._skipped += 1

    def collect(self, keeping: KeepingRow) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        yield counter(
            "octoroute_limited_requests_total",
            "Requests refused for a limit, by whose it was and what ran out",
            ("subject", "limit"),
            [(labels, count) for labels, count in self._limited.items()],
        )
        yield counter(
            "octoroute_budget_events_total",
            "Budgets that came to 80 or 100 percent",
            ("subject", "level"),
            [((subject, str(level)), count) for (subject, level), count in self._budget_events.items()],
        )
        yield counter(
            "octoroute_journal_skipped_total",
            "Refusals left out of the journal because there were too many",
            (),
            [((), self._skipped)],
        )
        rows = GaugeMetricFamily(
            "octoroute_journal_rows", "Journal rows that are not in the database yet", labels=("where",)
        )
        for where, count in (("waiting", keeping.waiting), ("spool", keeping.spooled), ("memory", keeping.unkept)):
            rows.add_metric((where,), count)
        yield rows
        yield counter(
            "octoroute_journal_lost_total", "Journal rows that nothing had room for", (), [((), keeping.lost)]
        )
        state = GaugeMetricFamily(
            "octoroute_storage_state", "1 for the state that the storage is in", labels=("state",)
        )
        for each in Keeping:
            state.add_metric((each.value,), float(each is keeping.state))
        yield state
