"""Plain numbers as the families that prometheus-client writes."""

from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from octoroute_py.telemetry.samples import Histogram


def counter(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> CounterMetricFamily:
    """A counter with a row for each set of label values."""
    family = CounterMetricFamily(name, text, labels=labels)
    for values, count in rows:
        family.add_metric(values, count)
    return family


def histogram(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], Histogram]]
) -> HistogramMetricFamily:
    """A histogram with a row for each set of label values."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for values, samples in rows:
        buckets, total = samples.cumulative()
        family.add_metric(values, buckets, total)
    return family


def by_one_label(counts: Iterable[tuple[str, int]]) -> Iterator[tuple[tuple[str], int]]:
    """The rows of a counter with a single label."""
    return (((label,), count) for label, count in counts)


def gauge(
    name: str, text: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]
) -> GaugeMetricFamily:
    """A gauge with a row for each set of label values."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, number in rows:
        family.add_metric(values, number)
    return family
