"""Measuring an artifact on labelled outcomes it has not seen, with the very policy that serves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from octoroute_py.core.words import TIERS
from octoroute_py.neural.calibrate import floored, losses_of, smallest_success
from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.decide import DEFAULT_PRICES, Choice, Prices, choose
from octoroute_py.neural.platt import calibration_error
from octoroute_py.training.metrics import DRAWS, Floats, Interval, against_random_mix, apgr_interval, auc, recovery
from octoroute_py.training.report import Bin, DialResult, Group, PerTier, Range, Report, verdict_of

ALPHAS: Final = (0.02, 0.05, 0.10)
DEFAULT_ALPHA: Final = 0.05
_KINDS: Final = ("3 tiers labelled", "2 tiers labelled")
_BINS: Final = 10
_CURVE_POINTS: Final = 101
_RANKS: Final = {tier: rank for rank, tier in enumerate(TIERS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Labelled rows as the artifact sees them.

    `raw` (N, 7) are the network's raw numbers, `outcomes` (N, 3) how the tiers did (1 right, 0 wrong, NaN not known),
    `pair` (N, 3) the same for rows that were also answered by a second pair of models, as fast and deep. `lengths` (N,)
    are the prompts' characters, `linear` (N,) the gain score of the linear baseline.
    """

    raw: Floats
    outcomes: Floats
    pair: Floats
    lengths: Floats
    sources: Sequence[str]
    tags: Sequence[str | None]
    linear: Floats | None = None

    def __len__(self) -> int:
        return len(self.raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Measured:
    """What is computed once of all rows: it does not depend on how they turned out."""

    p: Floats  # (N, 3)
    risks: Floats  # (N, 2)
    known: NDArray[np.bool_]
    sets: NDArray[np.bool_]  # (N, 3)
    tiers: tuple[NDArray[np.intp], ...]  # one (N,) for each alpha
    abstained: tuple[NDArray[np.bool_], ...]


@dataclass(frozen=True, slots=True)
class _View:
    """Some rows, with the outcomes (N, 3) they are held against."""

    name: str
    rows: NDArray[np.intp]
    outcomes: Floats


class _Chance(NamedTuple):
    """What the intervals draw with."""

    seed: int
    draws: int


def evaluate(
    evidence: Evidence,
    calibration: Calibration,
    *,
    artifact: str,
    data: str,
    prices: Prices = DEFAULT_PRICES,
    seed: int = 0,
    draws: int = DRAWS,
) -> Report:
    """The report, its intervals from `draws` bootstrap draws; raises ValueError when there is no row."""
    views = _views(evidence)
    if not len(views[0].rows):
        raise ValueError("there is no row with a known outcome of fast and deep")
    measured = _measure(evidence, calibration, prices)
    overall, *parts = (
        _group(view, evidence, measured, prices=prices, chance=_Chance(seed, draws)) for view in views if len(view.rows)
    )
    return Report(
        artifact=artifact,
        data=data,
        rows=overall.rows,
        prices=prices,
        calibrated_on=calibration.gain.rows,
        all=overall,
        groups=tuple(group for group in parts if group.name in _KINDS),
        sources=tuple(group for group in parts if group.name not in _KINDS),
        bins={
            tier.value: _bins(measured.p[views[0].rows, n], evidence.outcomes[views[0].rows, n])
            for n, tier in enumerate(TIERS)
        },
        verdict=overall.dials[ALPHAS.index(DEFAULT_ALPHA)].verdict,
    )


def _views(evidence: Evidence) -> list[_View]:
    """All rows, those of each kind of labels, those of each source."""
    outcomes, pair = evidence.outcomes, evidence.pair
    usable = ~np.isnan(outcomes[:, [0, 2]]).any(axis=1)
    laddered = usable & ~np.isnan(outcomes[:, 1])
    paired = ~np.isnan(pair[:, [0, 2]]).any(axis=1)
    two = np.where(laddered[:, None], pair, outcomes)
    sources = np.array(evidence.sources)
    return [
        _View("all", np.flatnonzero(usable), outcomes),
        _View(_KINDS[0], np.flatnonzero(laddered), outcomes),
        _View(_KINDS[1], np.flatnonzero((usable & ~laddered) | paired), two),
        *(_View(str(name), np.flatnonzero(usable & (sources == name)), outcomes) for name in np.unique(sources)),
    ]


def choices(evidence: Evidence, calibration: Calibration, *, alpha: float, prices: Prices) -> list[Choice]:
    """What the serving policy makes of each row at a tolerated loss."""
    dials = {tag: calibration.dial(alpha, tag) for tag in set(evidence.tags)}
    return [
        choose(calibration.score(row), dial=dials[tag], prices=prices)
        for row, tag in zip(evidence.raw.tolist(), evidence.tags, strict=True)
    ]


def _measure(evidence: Evidence, calibration: Calibration, prices: Prices) -> _Measured:
    p = calibration.probabilities(evidence.raw)
    known = np.array([calibration.guard.knows(*row) for row in evidence.raw[:, 5:7].tolist()])
    made = [choices(evidence, calibration, alpha=alpha, prices=prices) for alpha in ALPHAS]
    return _Measured(
        p=p,
        risks=floored(evidence.raw[:, 3:5], p, calibration.sets),
        known=known,
        sets=calibration.sets.contains(p) | ~known[:, None],
        tiers=tuple(np.array([_RANKS[choice.leaning] for choice in row], dtype=np.intp) for row in made),
        abstained=tuple(np.array([choice.tier is None for choice in row]) for row in made),
    )


def _group(view: _View, evidence: Evidence, measured: _Measured, *, prices: Prices, chance: _Chance) -> Group:
    rows, outcomes = view.rows, view.outcomes[view.rows]
    gain, p, fast, deep = evidence.raw[rows, 3], measured.p[rows], outcomes[:, 0], outcomes[:, 2]
    quality = np.where(np.isnan(outcomes), outcomes[:, [0, 0, 2]], outcomes)
    curve, sets = recovery(gain, fast, deep), measured.sets[rows]
    return Group(
        name=view.name,
        rows=len(rows),
        right=_per_tier(outcomes, lambda n, known: float(outcomes[known, n].mean())),
        apgr=_range(apgr_interval(gain, fast, deep, seed=chance.seed, draws=chance.draws)),
        cpt50=curve.cpt(0.5),
        cpt80=curve.cpt(0.8),
        apgr_failure=recovery(1.0 - p[:, 0], fast, deep).apgr(),
        apgr_length=recovery(evidence.lengths[rows], fast, deep).apgr(),
        apgr_linear=None if evidence.linear is None else recovery(evidence.linear[rows], fast, deep).apgr(),
        auc_right=_per_tier(outcomes, lambda n, known: auc(p[known, n], outcomes[known, n] >= 0.5)),
        auc_gain=auc(gain, deep > fast),
        ece=_per_tier(outcomes, lambda n, known: calibration_error(p[known, n], outcomes[known, n])),
        in_distribution=float(measured.known[rows].mean()),
        covered=float(sets[np.arange(len(rows)), smallest_success(outcomes)].mean()),
        certain=float((sets.sum(axis=1) == 1).mean()),
        dials=tuple(_dialled(n, measured, view, quality, prices=prices, chance=chance) for n in range(len(ALPHAS))),
        curve=cost_curve(measured.risks[rows], quality, prices),
    )


def _dialled(
    place: int, measured: _Measured, view: _View, quality: Floats, *, prices: Prices, chance: _Chance
) -> DialResult:
    rows = view.rows
    tiers, every = measured.tiers[place][rows], np.arange(len(rows))
    losses = np.column_stack([losses_of(view.outcomes[rows]), np.zeros(len(rows))])
    shares = np.bincount(tiers, minlength=3) / len(rows)
    lead = _range(against_random_mix(tiers, quality, seed=chance.seed, draws=chance.draws))
    return DialResult(
        alpha=ALPHAS[place],
        risk=float(losses[every, tiers].mean()),
        shares=PerTier(*shares.tolist()),
        abstained=float(measured.abstained[place][rows].mean()),
        cost=float(shares @ prices / prices[0]) if prices[0] else float("nan"),
        quality=float(quality[every, tiers].mean()),
        quality_deep=float(quality[:, 2].mean()),
        lead=lead,
        verdict=verdict_of(lead),
    )


def cost_curve(risks: Floats, quality: Floats, prices: Prices) -> tuple[tuple[float, float], ...]:
    """Mean cost and mean quality as the dial turns from all deep to the smallest tier its set allows.

    `risks` (N, 2) as the policy sees them, `quality` (N, 3); prices in any unit.
    """
    finite = risks[np.isfinite(risks)]
    if not len(finite):
        return ((float(prices[2]), float(quality[:, 2].mean())),)
    thresholds = [-np.inf, *np.quantile(finite, np.linspace(0, 1, _CURVE_POINTS))]
    every, points = np.arange(len(risks)), []
    for threshold in thresholds:
        tiers = np.where(risks[:, 0] <= threshold, 0, np.where(risks[:, 1] <= threshold, 1, 2))
        points.append((float(np.array(prices)[tiers].mean()), float(quality[every, tiers].mean())))
    return tuple(points)


def _bins(p: Floats, outcomes: Floats) -> tuple[Bin, ...]:
    """Equally many rows a bin, so that each point of the calibration plot rests on as much."""
    known = np.flatnonzero(~np.isnan(outcomes))
    order = known[np.argsort(p[known], kind="stable")]
    parts = [part for part in np.array_split(order, _BINS) if len(part)]
    return tuple(Bin(stated=float(p[part].mean()), real=float(outcomes[part].mean()), rows=len(part)) for part in parts)


def _per_tier(outcomes: Floats, figure: Callable[[int, NDArray[np.bool_]], float]) -> PerTier:
    """A figure of each tier over the rows that have a label of it."""
    found: list[float | None] = []
    for n in range(len(TIERS)):
        known = ~np.isnan(outcomes[:, n])
        found.append(figure(n, known) if known.any() else None)
    return PerTier(*found)


def _range(interval: Interval) -> Range:
    return Range(interval.value, interval.low, interval.high)
