"""What turns the raw numbers of the network into a `Score` that can be trusted, and into a dial for any loss.

A calibration is fitted on labelled outcomes the network was not trained on, travels in the artifact, and promises
averages over requests of the same kind only.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from octoroute_py.core.score import Score
from octoroute_py.core.words import TIERS
from octoroute_py.neural.conformal import NEVER, Floats, Guard, LabelSets, RiskCurve
from octoroute_py.neural.decide import Basis, Dial
from octoroute_py.neural.platt import monotone, sigmoid

_VERSION: Final = 1


class Raw(NamedTuple):
    """The network's raw outputs for one prompt, in the order of the columns of a batch."""

    logit_fast: float
    logit_balanced: float
    logit_deep: float
    gain_fast: float
    gain_balanced: float
    distance: float
    unseen: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """Probabilities, sets, dials and the guard of one artifact.

    `platt` holds slope and intercept of each tier. `gain` is the dial's curve over the gain score, `failure` the one
    over 1 - p; `tags` are gain curves of single tags. `facts` is what the report and the model card tell of the fit.
    """

    platt: tuple[tuple[float, float], ...]
    sets: LabelSets
    guard: Guard
    gain: RiskCurve
    failure: RiskCurve
    tags: Mapping[str, RiskCurve] = field(default_factory=dict)
    known_tags: frozenset[str] = frozenset()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def score(self, raw: Raw | Sequence[float]) -> Score:
        """The score of one prompt from its seven raw numbers (see `Raw`)."""
        logit_fast, logit_balanced, logit_deep, gain_fast, gain_balanced, distance, unseen = raw
        (a, b), (c, d), (e, f) = self.platt
        fast, balanced, deep = _monotone3(
            _sigmoid1(a * logit_fast + b), _sigmoid1(c * logit_balanced + d), _sigmoid1(e * logit_deep + f)
        )
        known = self.guard.knows(distance, unseen)
        labels, uncertainty = self.sets.read(fast, balanced) if known else (TIERS, 1.0)
        return Score(
            p_fast=fast,
            p_balanced=balanced,
            p_deep=deep,
            gain_fast=gain_fast,
            gain_balanced=gain_balanced,
            labels=labels,
            uncertainty=uncertainty,
            in_distribution=known,
        )

    def probabilities(self, raw: Floats) -> Floats:
        """The calibrated probabilities (N, 3) of a batch of raw rows (N, 7)."""
        slopes, intercepts = np.array(self.platt).T
        return monotone(sigmoid(raw[:, :3] * slopes + intercepts))

    def dial(self, alpha: float, tag: str | None = None) -> Dial:
        """The largest risk that keeps the average loss within `alpha`, for requests with this tag.

        A tag with enough outcomes has a dial of its own; a tag never seen in training gets the one over 1 - p, which
        carries over to other kinds of requests better than the gain score does.
        """
        curve, basis = self._curve(tag)
        own = tag if tag is not None and tag in self.tags else None
        return Dial(alpha=alpha, threshold=curve.threshold(alpha), basis=basis, rows=curve.rows, tag=own)

    def threshold(self, alpha: float, tag: str | None = None) -> float:
        """The dial's threshold alone."""
        return self._curve(tag)[0].threshold(alpha)

    def alpha_for(self, risk: float, tag: str | None = None) -> float | None:
        """The smallest tolerated loss at which a tier of this risk is taken; None when none is large enough."""
        return self._curve(tag)[0].alpha_for(risk)

    def to_tensors(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """What is kept in the artifact: arrays by name, and a JSON-able dict for the rest."""
        tensors: dict[str, NDArray[Any]] = {
            "calibration.platt": np.array(self.platt, dtype=np.float64),
            "calibration.sets": np.array(self.sets.knots, dtype=np.float32),
        }
        tagged = sorted(self.tags)
        curves = [("gain", self.gain), ("failure", self.failure)]
        curves += [(f"tag{n}", self.tags[tag]) for n, tag in enumerate(tagged)]
        for name, curve in curves:
            counts = np.array(curve.levels) * (curve.rows + 1) - 1
            tensors[f"calibration.{name}.losses"] = np.rint(counts).astype(np.int32)
            tensors[f"calibration.{name}.thresholds"] = np.array(curve.thresholds, dtype=np.float32)
        told = {
            "version": _VERSION,
            "rows": {name: curve.rows for name, curve in curves},
            "tags": tagged,
            "known_tags": sorted(self.known_tags),
            "set_limit": self.sets.limit,
            "distance_limit": self.guard.distance_limit,
            "unseen_limit": self.guard.unseen_limit,
            "facts": dict(self.facts),
        }
        return tensors, told

    @staticmethod
    def from_tensors(tensors: Mapping[str, NDArray[Any]], told: Mapping[str, Any]) -> "Calibration":
        """The calibration an artifact carries; raises ValueError, with words for users, when it is not sound."""
        if told.get("version") != _VERSION:
            raise ValueError(f"calibration of version {told.get('version')!r}, this program reads {_VERSION}")
        try:
            tagged = [str(tag) for tag in told["tags"]]
            rows = told["rows"]
            return Calibration(
                platt=_platt(tensors["calibration.platt"]),
                sets=LabelSets(_number(told["set_limit"]), _rising(tensors["calibration.sets"])),
                guard=Guard(_number(told["distance_limit"]), _number(told["unseen_limit"])),
                gain=_read_curve(tensors, "gain", rows),
                failure=_read_curve(tensors, "failure", rows),
                tags={tag: _read_curve(tensors, f"tag{n}", rows) for n, tag in enumerate(tagged)},
                known_tags=frozenset(str(tag) for tag in told["known_tags"]),
                facts=dict(told["facts"]),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"calibration is incomplete: {error}") from None
        except OverflowError:  # JSON may spell a whole number that no float can hold
            raise ValueError("calibration numbers must be finite") from None

    def _curve(self, tag: str | None) -> tuple[RiskCurve, Basis]:
        if tag is None:
            return self.gain, Basis.GAIN
        own = self.tags.get(tag)
        if own is not None:
            return own, Basis.GAIN
        return (self.gain, Basis.GAIN) if tag in self.known_tags else (self.failure, Basis.FAILURE)


def _sigmoid1(x: float) -> float:
    if x >= 0.0:
        return 1.0 / (1.0 + math.exp(-x))
    small = math.exp(max(x, -700.0))
    return small / (1.0 + small)


def _monotone3(fast: float, balanced: float, deep: float) -> tuple[float, float, float]:
    if fast <= balanced <= deep:
        return fast, balanced, deep
    pair_low, pair_high, mean = (fast + balanced) / 2, (balanced + deep) / 2, (fast + balanced + deep) / 3
    return (
        min(fast, pair_low, mean),
        max(min(pair_low, mean), min(balanced, pair_high)),
        max(deep, pair_high, mean),
    )


def _read_curve(tensors: Mapping[str, NDArray[Any]], name: str, rows: Mapping[str, Any]) -> RiskCurve:
    count = int(_number(rows[name]))
    losses = np.array(_rising(tensors[f"calibration.{name}.losses"]))
    thresholds = _rising(tensors[f"calibration.{name}.thresholds"])
    inside = len(losses) == len(thresholds) > 0 and losses[0] >= 0 and losses[-1] <= count
    if not inside or thresholds[0] < NEVER:
        raise ValueError(f"calibration curve {name!r} is not sound")
    return RiskCurve(tuple(((losses + 1.0) / (count + 1.0)).tolist()), thresholds, count)


def _platt(values: NDArray[Any]) -> tuple[tuple[float, float], ...]:
    if values.shape != (3, 2) or not np.isfinite(values).all():
        raise ValueError("calibration slopes are not 3 pairs of finite numbers")
    return tuple((float(slope), float(intercept)) for slope, intercept in values)


def _rising(values: NDArray[Any]) -> tuple[float, ...]:
    numbers = values.astype(np.float64)
    if numbers.ndim != 1 or not np.isfinite(numbers).all() or (np.diff(numbers) < 0).any():
        raise ValueError("calibration numbers must rise and be finite")
    return tuple(numbers.tolist())


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError("calibration numbers must be finite")
    return float(value)
