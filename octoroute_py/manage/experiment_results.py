"""From the sums of exposed requests to what an experiment has shown: pure arithmetic."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, overload

import msgspec

from octoroute_py.core.clock import iso
from octoroute_py.core.experiment import Experiment, ExperimentStatus, Metric
from octoroute_py.manage import anytime
from octoroute_py.manage.anytime import BLOCK, BURN_IN, Block, Evidence, Verdict
from octoroute_py.manage.significance import (
    Comparison,
    Interval,
    Moments,
    Share,
    mean_interval,
    student_t,
    two_proportions,
    welch,
    wilson,
)
from octoroute_py.routing.experiments import arm_of
from octoroute_py.storage.exposures import Cell

_USD: Final = 1e-6
_NONE: Final = Share(0, 0)
EXACT, ASYMPTOTIC = "conditional_e_process", "asymptotic_confidence_sequence"


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """An interval."""

    low: float
    high: float


class ArmResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of an arm's requests.

    `value` is the experiment's metric over `samples` of them, `interval` holds the true one with probability 1 - alpha
    in one look. Of `requests`, `failures` failed, `cancelled` were left by their clients and `per_request` were drawn
    one by one, as no caller was known. Latency is in ms, cost in USD a request, quality from 0 to 1.
    """

    name: str
    control: bool
    requests: int
    failures: int
    cancelled: int
    per_request: int
    samples: int
    value: float | None
    interval: Bounds | None
    success_rate: float | None
    average_latency: float | None
    average_cost: float | None
    average_quality: float | None


class AnytimeResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What holds however often one looks; `threshold` is the e-value that decides."""

    verdict: Verdict
    e_value: float | None
    threshold: float
    interval: Bounds | None
    method: str


class ComparisonResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An arm against the control: arm minus control, in the metric's unit. What cannot be told yet is null."""

    arm: str
    control: str
    effect: float | None
    relative_effect: float | None
    interval: Bounds | None
    p_value: float | None
    test: str
    anytime: AnytimeResult


class Results(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an experiment has shown so far; `notes` say what to mind."""

    experiment_id: str
    metric: Metric
    unit: str
    status: ExperimentStatus
    started_at: str | None
    stopped_at: str | None
    alpha: float
    arms: list[ArmResult]
    comparisons: list[ComparisonResult]
    notes: list[str]


_Inside = dict[str, Share]
"""Of one block: the good requests of each arm, of those whose clients stayed."""


class _Sums:
    """The sums of one arm."""

    __slots__ = ("_sums", "good", "left", "per_request", "requests")

    def __init__(self) -> None:
        self.requests = self.left = self.good = self.per_request = 0
        self._sums = [0.0] * 7

    def add(self, cell: Cell, *, per_request: bool) -> None:
        self.requests += cell.requests
        self.left += cell.left
        self.good += cell.good
        self.per_request += cell.requests if per_request else 0
        for at, value in enumerate(cell[5:]):
            self._sums[at] += value

    @property
    def success(self) -> Share:
        return Share(self.good, self.requests - self.left)

    @property
    def latency(self) -> Moments:
        return Moments(self.good, self._sums[0], self._sums[1])

    @property
    def cost(self) -> Moments:
        return Moments(self.requests, self._sums[2] * _USD, self._sums[3] * _USD * _USD)

    @property
    def quality(self) -> Moments:
        return Moments(int(self._sums[4]), self._sums[5], self._sums[6])


_UNITS: Final = {Metric.SUCCESS: "share", Metric.LATENCY: "ms", Metric.COST: "USD", Metric.QUALITY: "score"}
_HIGHER_IS_BETTER: Final = frozenset({Metric.SUCCESS, Metric.QUALITY})


def results_of(experiment: Experiment, cells: Sequence[Cell]) -> Results:
    """What the requests in these cells, in blocks of BLOCK, have shown."""
    arms = {arm.name: _Sums() for arm in experiment.arms}
    blocks: dict[int, _Inside] = {}
    filled: dict[int, int] = {}
    for cell in cells:
        filled[cell.block] = filled.get(cell.block, 0) + cell.requests
        found = arm_of(cell.arms, experiment.id)
        if found is None or found[0] not in arms:
            continue
        name, per_request = found
        arms[name].add(cell, per_request=per_request)
        inside = blocks.setdefault(cell.block, {})
        before = inside.get(name, _NONE)
        inside[name] = Share(before.hits + cell.good, before.of + cell.requests - cell.left)
    full = [inside for number, inside in blocks.items() if filled[number] == BLOCK]
    _, *others = arms
    return Results(
        experiment_id=experiment.id,
        metric=experiment.metric,
        unit=_UNITS[experiment.metric],
        status=experiment.status,
        started_at=None if experiment.started_ms is None else iso(experiment.started_ms),
        stopped_at=None if experiment.stopped_ms is None else iso(experiment.stopped_ms),
        alpha=experiment.alpha,
        arms=[_arm(experiment, name, sums) for name, sums in arms.items()],
        comparisons=[_compared(experiment, name, arms, full) for name in others],
        notes=list(_notes(experiment, list(arms.values()), blocks=len(full))),
    )


def _compared(experiment: Experiment, name: str, arms: dict[str, _Sums], blocks: Iterable[_Inside]) -> ComparisonResult:
    control = experiment.arms[0].name
    alpha = experiment.alpha
    all_at_once = alpha / (len(arms) - 1)  # several arms share the chance of a false alarm
    at_once: Comparison | None = None
    sure: Evidence | None
    if experiment.metric is Metric.SUCCESS:
        rate, of_control = arms[name].success, arms[control].success
        if rate.of and of_control.of:
            at_once = two_proportions(rate, of_control, alpha=alpha)
        pairs = ((inside.get(name, _NONE), inside.get(control, _NONE)) for inside in blocks)
        sure = anytime.shares((Block(a.of, a.hits, c.of, c.hits), 1) for a, c in pairs)
    else:
        mean, of_control_mean = _moments(experiment.metric, arms[name]), _moments(experiment.metric, arms[control])
        if mean.count and of_control_mean.count:
            at_once = welch(mean, of_control_mean, alpha=alpha)
        sure = anytime.means(mean, of_control_mean, alpha=all_at_once)
    higher = experiment.metric in _HIGHER_IS_BETTER
    return ComparisonResult(
        arm=name,
        control=control,
        effect=None if at_once is None else _rounded(at_once.effect),
        relative_effect=None if at_once is None else _rounded(at_once.relative_effect),
        interval=None if at_once is None else _bounds(at_once.interval),
        p_value=None if at_once is None else at_once.p_value,
        test="two_proportion_z" if experiment.metric is Metric.SUCCESS else "welch_t",
        anytime=AnytimeResult(
            verdict=Verdict.UNDECIDED if sure is None else sure.verdict(alpha=all_at_once, higher_is_better=higher),
            e_value=None if sure is None else _rounded(sure.e_value),
            threshold=_rounded(1 / all_at_once),
            interval=None if sure is None else _bounds(sure.interval),
            method=EXACT if experiment.metric is Metric.SUCCESS else ASYMPTOTIC,
        ),
    )


def _arm(experiment: Experiment, name: str, sums: _Sums) -> ArmResult:
    interval: Interval | None = None
    if experiment.metric is Metric.SUCCESS:
        share = sums.success
        samples, value = share.of, _rate(share)
        if share.of:
            interval = wilson(share, alpha=experiment.alpha)
    else:
        of = _moments(experiment.metric, sums)
        samples, value = of.count, _mean(of)
        interval = mean_interval(of, alpha=experiment.alpha)
    return ArmResult(
        name=name,
        control=name == experiment.arms[0].name,
        requests=sums.requests,
        failures=sums.requests - sums.left - sums.good,
        cancelled=sums.left,
        per_request=sums.per_request,
        samples=samples,
        value=value,
        interval=_bounds(interval),
        success_rate=_rate(sums.success),
        average_latency=_mean(sums.latency),
        average_cost=_mean(sums.cost),
        average_quality=_mean(sums.quality),
    )


def _notes(experiment: Experiment, arms: Sequence[_Sums], *, blocks: int) -> Iterator[str]:
    requests = sum(sums.requests for sums in arms)
    if not requests:
        yield "No request has taken part yet."
        return
    if experiment.metric is Metric.SUCCESS:
        if not blocks:
            yield f"The verdict needs {BLOCK} requests that have ended."
    else:
        if student_t() is None:
            yield "Means have no p-value and no interval without scipy: install octoroute-py[stats]."
        if min(_moments(experiment.metric, sums).count for sums in arms) < BURN_IN:
            yield f"The verdict on an arm needs {BURN_IN} values of it and {BURN_IN} of the control."
    if experiment.metric is Metric.LATENCY:
        yield "Latency is that of good answers: until the end, of a stream until its first event."
    per_request = sum(sums.per_request for sums in arms)
    if per_request:
        yield f"{per_request} of {requests} requests named no caller: their arm was drawn for each of them."
    yield (
        "A p-value and its interval hold for one look that was settled beforehand, the verdict for any number of "
        "looks; both take requests as independent of each other."
    )


def _moments(metric: Metric, sums: _Sums) -> Moments:
    return {Metric.LATENCY: sums.latency, Metric.COST: sums.cost, Metric.QUALITY: sums.quality}[metric]


def _rate(share: Share) -> float | None:
    return _rounded(share.rate) if share.of else None


def _mean(of: Moments) -> float | None:
    return _rounded(of.mean) if of.count else None


def _bounds(interval: Interval | None) -> Bounds | None:
    return None if interval is None else Bounds(low=_rounded(interval.low), high=_rounded(interval.high))


@overload
def _rounded(value: float) -> float: ...
@overload
def _rounded(value: float | None) -> float | None: ...
def _rounded(value: float | None) -> float | None:
    """Nine significant digits: more are noise, and fewer would lose the price of a short request."""
    return None if value is None else float(f"{value:.9g}")
