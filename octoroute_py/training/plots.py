"""The report as pictures: cost against quality, stated against real success, quality by the number of outcomes.

matplotlib comes with the extra `plots` and is imported when a picture is asked for. Figures are drawn without a screen.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from octoroute_py.core.words import TIERS
from octoroute_py.training.metrics import best_mix
from octoroute_py.training.report import Group, Range, Report

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from octoroute_py.training.trainer import Moment

_INK, _FAINT, _GRID = "#22303c", "#7b8794", "#e4e8ec"
_LINE, _MIX = "#0b6e8f", "#a3adb8"
_TIER_COLOURS: Final = {"fast": "#d98324", "balanced": "#5b8c3e", "deep": "#5a4fa2"}


class PlotsMissing(Exception):
    """matplotlib is not installed."""

    def __init__(self) -> None:
        super().__init__("plots need matplotlib: pip install 'octoroute-py[plots]'")


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """APGR reached after learning from so many labelled outcomes."""

    rows: int
    apgr: Range


def plot_cost(report: Report, path: Path) -> None:
    """Draws mean cost against the share of right answers, one panel for each group of rows.

    Raises PlotsMissing without matplotlib; the file's ending says its format.
    """
    with _drawing(panels=len(report.groups), path=path) as axes:
        for ax, group in zip(axes, report.groups, strict=True):
            _cost_panel(ax, group, report)
        axes[0].set_ylabel("right answers (%)")
        axes[0].legend(loc="lower right")


def plot_calibration(report: Report, path: Path) -> None:
    """Draws the real success rate over the stated one, with the 95 % range of each point."""
    with _drawing(panels=1, path=path) as (ax,):
        ax.plot([0, 100], [0, 100], color=_MIX, linestyle=(0, (4, 3)), linewidth=1.2)
        for tier in TIERS:
            bins = report.bins.get(tier.value, ())
            if not bins:
                continue
            stated, real, rows = (np.array(column) for column in zip(*map(msgspec.structs.astuple, bins), strict=True))
            width = 196 * np.sqrt(real * (1 - real) / rows)
            colour = _TIER_COLOURS[tier.value]
            ax.errorbar(100 * stated, 100 * real, yerr=width, color=colour, marker="o", markersize=4.5,
                        linewidth=1.6, elinewidth=0.8, label=tier.value)  # fmt: skip
        ax.set(xlim=(0, 100), ylim=(0, 100), xlabel="stated chance of a right answer (%)", ylabel="right answers (%)")
        ax.set_title(f"What {report.artifact} says, and what was so ({report.rows:,} rows)")
        ax.legend(loc="upper left")


def plot_learning(curves: Mapping[str, Sequence[Learned]], path: Path) -> None:
    """Draws APGR by the number of labelled outcomes learned from, one line for each named group of test rows."""
    with _drawing(panels=1, path=path) as (ax,):
        for (name, points), colour in zip(curves.items(), (_LINE, "#d98324", "#5a4fa2", "#5b8c3e"), strict=False):
            rows = [point.rows for point in points]
            ax.plot(rows, [point.apgr.value for point in points], color=colour, marker="o", markersize=4.5, label=name)
            ax.fill_between(
                rows, [point.apgr.low for point in points], [point.apgr.high for point in points],
                color=colour, alpha=0.12, linewidth=0,
            )  # fmt: skip
        ax.axhline(0.5, color=_MIX, linestyle=(0, (4, 3)), linewidth=1.2)
        ax.text(0.99, 0.5, "a random mix", color=_FAINT, ha="right", va="bottom", transform=ax.get_yaxis_transform())
        ax.set_xscale("log")
        ticks = sorted({point.rows for points in curves.values() for point in points})
        ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        ax.minorticks_off()
        ax.yaxis.set_major_formatter("{x:.2f}")
        ax.set(xlabel="labelled outcomes learned from", ylabel="APGR on rows never seen")
        ax.set_title("How many outcomes it takes (bands: 98 % intervals)")
        ax.legend(loc="upper left")


def plot_training(epochs: Sequence["Moment"], path: Path) -> None:
    """Draws the loss on training and calibration rows, and the calibration APGR, by epoch."""
    with _drawing(panels=2, path=path) as (losses, reached):
        numbers = [moment.epoch for moment in epochs]
        losses.plot(numbers, [moment.loss for moment in epochs], color=_MIX, marker="o", label="training rows")
        for ax, values, label in (
            (losses, [moment.validation_loss for moment in epochs], "calibration rows"),
            (reached, [moment.apgr for moment in epochs], "APGR on calibration rows"),
        ):
            ax.plot(numbers, [np.nan if value is None else value for value in values], color=_LINE, marker="o",
                    label=label)  # fmt: skip
            ax.set_xticks(numbers)
            ax.set_xlabel("epoch")
            ax.legend()
        losses.set_ylabel("loss")
        reached.set_ylabel("APGR")


def _cost_panel(ax: "Axes", group: Group, report: Report) -> None:
    unit = report.prices[0] or 1.0
    prices = np.array(report.prices) / unit
    cost, quality = np.array(group.curve).T
    right = np.array([np.nan if value is None else value for value in msgspec.structs.astuple(group.right)])
    known = np.where(np.isnan(right), right[0], right)
    spread = np.linspace(prices.min(), prices.max(), 200)
    ax.plot(spread, 100 * best_mix(known, prices, spread), color=_MIX, linestyle=(0, (4, 3)), linewidth=1.4,
            label="best random mix of tiers")  # fmt: skip
    ax.plot(cost / unit, 100 * quality, color=_LINE, linewidth=2.0, label="as the dial turns")
    for price, value, tier in zip(prices, right, TIERS, strict=True):
        if np.isfinite(value):
            ax.plot(price, 100 * value, "o", color=_TIER_COLOURS[tier.value], markersize=7, zorder=3)
            up = tier is TIERS[1]
            ax.annotate(tier.value, (price, 100 * value), xytext=(-6, 7) if up else (8, -11),
                        ha="right" if up else "left", textcoords="offset points",
                        color=_TIER_COLOURS[tier.value])  # fmt: skip
    for dial in group.dials:
        ax.plot(dial.cost, 100 * dial.quality, "D", color=_LINE, markersize=5.5, zorder=4)
        ax.annotate(f"{100 * dial.alpha:g} %", (dial.cost, 100 * dial.quality), xytext=(0, 7),
                    textcoords="offset points", ha="center", color=_LINE, fontsize=9)  # fmt: skip
    ax.set_xlabel("mean cost of a request (fast = 1)")
    ax.set_title(f"{group.name}, {group.rows:,} rows")
    ax.margins(x=0.06, y=0.12)
    ax.set_xlim(right=prices.max() + 0.14 * (prices.max() - prices.min() or 1.0))


@contextlib.contextmanager
def _drawing(*, panels: int, path: Path) -> Iterator[list["Axes"]]:
    """Panels to draw on, saved at the end; the style holds inside only."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise PlotsMissing from None
    with rc_context(
        {
            "font.size": 10.0,
            "axes.edgecolor": _FAINT,
            "axes.labelcolor": _INK,
            "axes.titlesize": 11.0,
            "axes.titlelocation": "left",
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": _GRID,
            "text.color": _INK,
            "xtick.color": _FAINT,
            "ytick.color": _FAINT,
            "legend.frameon": False,
        }
    ):
        figure = Figure(figsize=(1.2 + 5.4 * panels, 4.6), dpi=150, layout="constrained")
        yield list(figure.subplots(1, panels, squeeze=False)[0])
        figure.savefig(path)
