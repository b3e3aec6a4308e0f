"""From the sums of exposed requests to what an experiment has shown: pure arithmetic."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, overload

import msgspec

from octoroute_py.core.clock import iso
from octoroute_py.core.experiment import Experiment, ExperimentStatus, Metric
from octoroute_py.manage import anytime
from octoroute_py.manage.anytime import BLOCK, BURN_IN, FEWEST_CALLERS, Block, Verdict
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
from octoroute_py.storage.exposures import Cell, Tally

_USD: Final = 1e-6
_UNLIKE: Final = 0.8


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """An interval."""

    low: float
    high: float


class ArmResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of an arm's requests.

    `value` is the experiment's metric over `samples` of them from so many `callers`, which tell as much as
    `effective_samples` would if each was of another caller; `interval` holds the true one with probability 1 - alpha in
    one look. Of `requests`, `failures` failed, `cancelled` were left by their clients and `per_request` were drawn one
    by one, as no caller was known. Latency is in ms, cost in USD a request.
    """

    name: str
    control: bool
    requests: int
    failures: int
    cancelled: int
    per_request: int
    callers: int
    samples: int
    effective_samples: float
    value: float | None
    interval: Bounds | None
    success_rate: float | None
    average_latency: float | None
    average_cost: float | None


class AnytimeResult(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What holds however often one looks; `threshold` is the e-value that decides.

    `interval` holds the true difference at all times at once.
    """

    verdict: Verdict
    e_value: float | None
    threshold: float
    interval: Bounds | None


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


_Inside = dict[str, tuple[int, int]]
"""Of one block: the requests of each arm whose clients stayed, and the good ones among them."""


class _Sums:
    """The sums of one arm; of its values in the metric's unit."""

    __slots__ = ("cost", "good", "latency", "left", "per_request", "requests", "values")

    def __init__(self) -> None:
        self.requests = self.left = self.good = self.per_request = 0
        self.latency = self.cost = 0.0
        self.values = Moments(0, 0.0, 0.0, 0, 0.0, 0.0, 0.0)

    def add(self, tally: Tally, *, unit: float) -> None:
        self.requests += tally.requests
        self.left += tally.left
        self.good += tally.good
        self.per_request += tally.per_request
        self.latency += tally.latency
        self.cost += tally.cost * _USD
        known = self.values
        self.values = Moments(
            known.count + tally.values,
            known.total + tally.total * unit,
            known.squares + tally.squares * unit**2,
            known.callers + tally.callers,
            known.count_squares + tally.count_squares,
            known.products + tally.products * unit,
            known.total_squares + tally.total_squares * unit**2,
        )

    @property
    def success(self) -> Share:
        return Share(self.good, self.requests - self.left)

    @property
    def worth(self) -> float:
        """What a value tells, by what one of a caller of its own would."""
        return self.values.effective / self.values.count if self.values.count else 1.0


_UNITS: Final = {Metric.SUCCESS: "share", Metric.LATENCY: "ms", Metric.COST: "USD", Metric.QUALITY: "score"}
_HIGHER_IS_BETTER: Final = frozenset({Metric.SUCCESS, Metric.QUALITY})


def results_of(experiment: Experiment, tallies: Sequence[Tally], cells: Sequence[Cell] = ()) -> Results:
    """What the requests in these tallies have shown, of success also by the cells of blocks of BLOCK."""
    arms = {arm.name: _Sums() for arm in experiment.arms}
    unit = _USD if experiment.metric is Metric.COST else 1.0
    for tally in tallies:
        found = arm_of(tally.arms, experiment.id)
        if found is not None and found in arms:
            arms[found].add(tally, unit=unit)
    blocks = _full_blocks(experiment.id, cells)
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
        comparisons=[_compared(experiment, name, arms, blocks) for name in others],
        notes=list(_notes(experiment, list(arms.values()))),
    )


def _full_blocks(experiment_id: str, cells: Iterable[Cell]) -> list[_Inside]:
    blocks: dict[int, _Inside] = {}
    filled: dict[int, int] = {}
    for cell in cells:
        filled[cell.block] = filled.get(cell.block, 0) + cell.requests
        inside = blocks.setdefault(cell.block, {})
        found = arm_of(cell.arms, experiment_id)
        if found is not None:
            before = inside.get(found, (0, 0))
            inside[found] = before[0] + cell.requests, before[1] + cell.good
    return [inside for number, inside in blocks.items() if filled[number] == BLOCK]


def _compared(experiment: Experiment, name: str, arms: dict[str, _Sums], blocks: Iterable[_Inside]) -> ComparisonResult:
    control = experiment.arms[0].name
    alpha = experiment.alpha
    all_at_once = alpha / (len(arms) - 1)  # several arms share the chance of a false alarm
    one, other = arms[name], arms[control]
    at_once: Comparison | None = None
    if experiment.metric is Metric.SUCCESS:
        sure = anytime.rates(one.values, other.values, alpha=all_at_once)
        if one.values.count and other.values.count:
            worth = min(one.worth, other.worth)
            at_once = two_proportions(one.success.worth(worth), other.success.worth(worth), alpha=alpha)
        if sure is not None:
            pairs = ((inside.get(name, (0, 0)), inside.get(control, (0, 0))) for inside in blocks)
            sure = anytime.agreed(sure, anytime.shares((Block(*a, *c), 1) for a, c in pairs))
    else:
        sure = anytime.means(one.values, other.values, alpha=all_at_once)
        if one.values.count and other.values.count:
            at_once = welch(one.values, other.values, alpha=alpha)
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
        ),
    )


def _arm(experiment: Experiment, name: str, sums: _Sums) -> ArmResult:
    values = sums.values
    if experiment.metric is not Metric.SUCCESS:
        interval = mean_interval(values, alpha=experiment.alpha)
    else:
        interval = wilson(sums.success.worth(sums.worth), alpha=experiment.alpha) if values.count else None
    stayed, failures = sums.requests - sums.left, sums.requests - sums.left - sums.good
    return ArmResult(
        name=name,
        control=name == experiment.arms[0].name,
        requests=sums.requests,
        failures=failures,
        cancelled=sums.left,
        per_request=sums.per_request,
        callers=values.callers,
        samples=int(values.count),
        effective_samples=_rounded(values.effective),
        value=_rounded(values.mean) if values.count else None,
        interval=_bounds(interval),
        success_rate=_rounded(sums.good / stayed) if stayed else None,
        average_latency=_rounded(sums.latency / sums.good) if sums.good else None,
        average_cost=_rounded(sums.cost / sums.requests) if sums.requests else None,
    )


def _notes(experiment: Experiment, arms: Sequence[_Sums]) -> Iterator[str]:
    requests = sum(sums.requests for sums in arms)
    if not requests:
        yield "No request has taken part yet."
        return
    if experiment.metric is not Metric.SUCCESS and student_t() is None:
        yield "Means have no p-value and no interval without scipy: install octoroute-py[stats]."
    if not all(anytime.enough(sums.values) for sums in arms):
        yield f"The verdict on an arm needs {BURN_IN} values from {FEWEST_CALLERS} callers of it and of the control."
    if any(sums.worth < _UNLIKE for sums in arms):
        yield "Callers are unlike each other: their requests tell as much as effectiveSamples of as many callers would."
    if experiment.metric is Metric.LATENCY:
        yield "Latency is that of good answers: until the end, of a stream until its first event."
    per_request = sum(sums.per_request for sums in arms)
    if per_request:
        yield f"{per_request} of {requests} requests named no caller: their arm was drawn for each of them."
    yield (
        "A p-value and its interval hold for one look that was settled beforehand, the verdict for any number of looks."
    )


def _bounds(interval: Interval | None) -> Bounds | None:
    return None if interval is None else Bounds(low=_rounded(interval.low), high=_rounded(interval.high))


@overload
def _rounded(value: float) -> float: ...
@overload
def _rounded(value: float | None) -> float | None: ...
def _rounded(value: float | None) -> float | None:
    """Nine significant digits: more are noise, and fewer would lose the price of a short request."""
    return None if value is None else float(f"{value:.9g}")
