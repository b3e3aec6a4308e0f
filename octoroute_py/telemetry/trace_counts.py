"""What became of spans: counted where they are made and where they are sent, shown with all other metrics."""

import enum
from collections.abc import Iterator

from prometheus_client.core import Metric

from octoroute_py.telemetry.families import by_one_label, counter


class Dropped(enum.StrEnum):
    """Why spans were lost."""

    QUEUE_FULL = "queue_full"
    EXPORT_FAILED = "export_failed"
    BROKEN = "broken"


class TraceCounts:
    """Each number is counted in one thread only: a full queue on the event loop, all else where spans are sent."""

    __slots__ = ("dropped", "exported")

    def __init__(self) -> None:
        self.exported = 0
        self.dropped = dict.fromkeys(Dropped, 0)

    def collect(self) -> Iterator[Metric]:
        """The families, in an order that never changes."""
        yield counter("octoroute_spans_exported_total", "Spans that a collector took", (), [((), self.exported)])
        yield counter(
            "octoroute_spans_dropped_total",
            "Spans that were lost, by why",
            ("reason",),
            by_one_label((reason.value, count) for reason, count in self.dropped.items()),
        )
