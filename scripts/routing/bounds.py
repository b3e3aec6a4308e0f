"""The bounds we hold ourselves to, each beside what was measured and how far it spreads."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from octoroute_py.training.report import Group, Report
from octoroute_py.training.tables import number


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One figure with what it must be; `at_least` says on which side. `spread` tells how sure it is."""

    name: str
    value: float
    must: float
    at_least: bool = False
    spread: str = ""
    digits: int = 3

    @property
    def met(self) -> bool:
        """Whether the figure is within its bound."""
        return self.value >= self.must if self.at_least else self.value <= self.must

    def row(self) -> tuple[str, ...]:
        """The figure as a line of a table."""
        sign = "≥" if self.at_least else "≤"
        must = f"{sign} {self.must:g}"
        return self.name, must, number(self.value, self.digits), self.spread, "yes" if self.met else "**no**"


HEAD = ("figure", "must", "measured", "spread", "met")


def across(values: Sequence[float], digits: int = 3) -> str:
    """Mean, lowest and highest over folds."""
    mean, low, high = (number(value, digits) for value in (statistics.fmean(values), min(values), max(values)))
    return f"folds: {mean} ({low} to {high})"


def figures(
    name: str, group: Group, folded: Sequence[Group], *, apgr: float, cpt50: float, right: float
) -> list[Bound]:
    """The bounds of one kind of rows on the test set, with the spread over the folds of the training rows."""
    interval = f"98 %: {number(group.apgr.low)} to {number(group.apgr.high)}"
    aucs = [each.auc_right.fast or 0.0 for each in folded]
    return [
        Bound(
            name=f"{name}: APGR", value=group.apgr.value, must=apgr, at_least=True,
            spread=f"{interval}; {across([each.apgr.value for each in folded])}",
        ),
        Bound(
            name=f"{name}: CPT50", value=group.cpt50, must=cpt50, digits=1,
            spread=across([each.cpt50 for each in folded], 1),
        ),
        Bound(
            name=f"{name}: AUC fast is right", value=group.auc_right.fast or 0.0, must=right, at_least=True,
            spread=across(aucs),
        ),
    ]  # fmt: skip


def only_pairs(group: Group, folded: Sequence[Group]) -> list[Bound]:
    """What is asked of the rows of two models beside."""
    return [
        Bound(
            name="pair A: CPT80", value=group.cpt80, must=66, digits=1, spread=across([g.cpt80 for g in folded], 1)
        ),
        Bound(
            name="pair A: AUC gain", value=group.auc_gain, must=0.61, at_least=True,
            spread=across([each.auc_gain for each in folded]),
        ),
    ]  # fmt: skip


def linear(name: str, group: Group, folded: Sequence[Group]) -> Bound:
    """How far the network is behind the linear baseline on the same features."""

    def behind(each: Group) -> float:
        return (each.apgr_linear or 0.0) - each.apgr.value

    return Bound(
        name=f"{name}: APGR behind the linear baseline", value=behind(group), must=0.02,
        spread=across([behind(each) for each in folded]),
    )  # fmt: skip


def errors(report: Report) -> list[Bound]:
    """Realised losses on the test set, and calibration errors."""
    found = [
        Bound(name=f"loss on the test rows at α = {dial.alpha:g}", value=dial.risk, must=dial.alpha + more)
        for dial, more in zip(report.all.dials, (0.010, 0.015, 0.020), strict=True)
    ]
    for tier in ("fast", "balanced", "deep"):
        error = getattr(report.all.ece, tier)
        kinds = [f"{group.name} {number(getattr(group.ece, tier))}" for group in report.groups]
        found.append(Bound(name=f"ECE of {tier}", value=error, must=0.05, spread="; ".join(kinds)))
    return found


def control(alpha: float, values: Sequence[float]) -> Bound:
    """How far the mean realised loss over resplits is from what was asked."""
    mean = statistics.fmean(values)
    return Bound(
        name=f"risk control at α = {alpha:g}: mean of {len(values)} resplits, distance from α",
        value=abs(mean - alpha), must=0.005, digits=4, spread=f"mean {mean:.4f}, sd {statistics.stdev(values):.4f}",
    )  # fmt: skip


def group_named(report: Report, start: str) -> Group:
    """The group of this kind of labels."""
    (found,) = [group for group in report.groups if group.name.startswith(start)]
    return found
