"""From sums to the figures of a report: pure arithmetic."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from octoroute_py.core.ending import CLIENT_GONE, Ended, ended
from octoroute_py.core.money import usd
from octoroute_py.manage.reports import Figures
from octoroute_py.storage.analytics import Cell
from octoroute_py.storage.entries import BUCKET_GROWTH

Buckets = Mapping[int, int]
"""How many requests fell into each latency bucket."""

MOST_NAMES = 1000
"""Agent types are the clients' own words: no report lists more of them, those with the most requests first."""
UNSPECIFIED = "unspecified"
"""Agent type, in reports, of requests that name none."""


def figures(cells: Iterable[Cell], buckets: Buckets) -> Figures:
    """The figures of the requests in these cells, whose latencies are in these buckets."""
    cells = list(cells)
    total = sum(cell.requests for cell in cells)
    left = sum(cell.requests for cell in cells if cell.status == CLIENT_GONE)
    failed = sum(cell.failures for cell in cells)
    timed = [cell for cell in cells if cell.endpoint and cell.status != CLIENT_GONE]
    timed_requests, duration_us = sum(cell.requests for cell in timed), sum(cell.duration_us for cell in timed)
    ratio = (total - left - failed) / (total - left) if total > left else None
    prompt, completion = sum(cell.prompt_tokens for cell in cells), sum(cell.completion_tokens for cell in cells)
    return Figures(
        total_requests=total,
        failed_requests=failed,
        cancelled_requests=left,
        success_rate=None if ratio is None else round(100 * ratio, 4),
        success_ratio=None if ratio is None else round(ratio, 6),
        average_latency=round(duration_us / timed_requests / 1000, 3) if timed_requests else None,
        p50=percentile_ms(buckets, 50),
        p95=percentile_ms(buckets, 95),
        p99=percentile_ms(buckets, 99),
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=sum(cell.cached_tokens for cell in cells),
        total_tokens=prompt + completion,
        total_cost=usd(sum(cell.cost_uusd for cell in cells)),
    )


def percentile_ms(buckets: Buckets, percent: int) -> float | None:
    """The nearest-rank percentile in milliseconds, within 1 %; None of nothing."""
    rank = -(-percent * sum(buckets.values()) // 100)
    seen = 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            middle_us = BUCKET_GROWTH ** (bucket - 0.5) if bucket else 1.0
            return round(middle_us / 1000, 6)  # rounded to the microsecond, short ones would be off by more than 1 %
    return None


def together(buckets: Iterable[Buckets]) -> Buckets:
    """Several groups' buckets as one."""
    found: Counter[int] = Counter()
    for each in buckets:
        found.update(each)
    return found


def by_status(cells: Iterable[Cell]) -> dict[str, int]:
    """Requests by how they ended, in the words of `Ended`; those that did not occur are 0."""
    found: Counter[str] = Counter(dict.fromkeys(Ended, 0))
    for cell in cells:
        found[ended(cell.status, failed=False)] += cell.requests - cell.failures
        if cell.failures:
            found[ended(cell.status, failed=True)] += cell.failures
    return dict(found)


def most(cells: Iterable[Cell], name: Callable[[Cell], str]) -> dict[str, int]:
    """Requests by a name, the most frequent ones first, at most MOST_NAMES."""
    found: Counter[str] = Counter()
    for cell in cells:
        found[name(cell)] += cell.requests
    return dict(found.most_common(MOST_NAMES))
