"""The report as rows of words, for the terminal, the model card and the documents alike."""

from collections.abc import Callable, Sequence
from typing import Final

from octoroute_py.training.report import BEATS, DialResult, Group, PerTier, Range, Report

Row = Sequence[str]

FIGURES: Final[tuple[tuple[str, Callable[[Group], str]], ...]] = (
    ("rows", lambda group: f"{group.rows:,}"),
    ("right, %", lambda group: per_tier(group.right, percent=True)),
    ("APGR", lambda group: interval(group.apgr)),
    ("CPT50", lambda group: number(group.cpt50, 1)),
    ("CPT80", lambda group: number(group.cpt80, 1)),
    ("APGR by 1 - p", lambda group: number(group.apgr_failure)),
    ("APGR, linear", lambda group: number(group.apgr_linear)),
    ("APGR, length", lambda group: number(group.apgr_length)),
    ("AUC right", lambda group: per_tier(group.auc_right)),
    ("AUC gain", lambda group: number(group.auc_gain)),
    ("ECE", lambda group: per_tier(group.ece)),
    ("in the set, %", lambda group: number(100 * group.covered, 1)),
    ("sets of one, %", lambda group: number(100 * group.certain, 1)),
    ("familiar, %", lambda group: number(100 * group.in_distribution, 1)),
)
"""Each figure of a group with how it is written."""

DIAL_HEAD: Final[Row] = (
    "rows", "tolerated", "lost", "sent to, %", "unsure", "cost", "right, %", "ahead of random mix", "",
)  # fmt: skip
SOURCE_HEAD: Final[Row] = ("source", "rows", "APGR", "AUC right", "lost", "ahead of random mix", "")


def figures_by_group(report: Report) -> tuple[Row, list[Row]]:
    """Head and rows of a table with one figure a row: all rows, then each kind of labels."""
    groups = (report.all, *report.groups)
    return ("", *(group.name for group in groups)), [
        (name, *(written(group) for group in groups)) for name, written in FIGURES
    ]


def groups_by_figure(report: Report) -> tuple[Row, list[Row]]:
    """The same with one group a row, the sources too."""
    groups = (report.all, *report.groups, *report.sources)
    return ("", *(name for name, _ in FIGURES)), [
        (group.name, *(written(group) for _, written in FIGURES)) for group in groups
    ]


def dial_rows(report: Report) -> list[Row]:
    """One row for each dial of all rows and of each kind of labels."""
    return [_dial(group, dial) for group in (report.all, *report.groups) for dial in group.dials]


def source_rows(report: Report) -> list[Row]:
    """One row for each source, with what the middle dial did to it."""
    return [_source(group, group.dials[len(group.dials) // 2]) for group in report.sources]


def number(value: float | None, digits: int = 3) -> str:
    """A figure; a dash where there is none."""
    return "–" if value is None or value != value else f"{value:.{digits}f}"


def interval(found: Range, digits: int = 3) -> str:
    """A figure with its interval."""
    return f"{number(found.value, digits)} ({number(found.low, digits)} to {number(found.high, digits)})"


def lead(found: Range) -> str:
    """A lead over a random mix in percentage points of right answers, with its interval."""
    low, value, high = (100 * part for part in (found.low, found.value, found.high))
    return f"{value:+.1f} ({low:+.1f} to {high:+.1f})"


def per_tier(figures: PerTier, *, percent: bool = False) -> str:
    """One figure a tier: fast, balanced, deep."""
    values = (figures.fast, figures.balanced, figures.deep)
    if percent:
        return " / ".join(number(None if value is None else 100 * value, 0) for value in values)
    return " / ".join(number(value) for value in values)


def markdown(head: Row, rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _dial(group: Group, dial: DialResult) -> Row:
    return (
        group.name,
        f"{100 * dial.alpha:g} %",
        f"{100 * dial.risk:.1f} %",
        per_tier(dial.shares, percent=True),
        f"{100 * dial.abstained:.0f} %",
        number(dial.cost, 1),
        f"{100 * dial.quality:.1f} of {100 * dial.quality_deep:.1f}",
        lead(dial.lead),
        _short(dial),
    )


def _source(group: Group, dial: DialResult) -> Row:
    return (
        group.name,
        f"{group.rows:,}",
        interval(group.apgr),
        number(group.auc_right.fast),
        f"{100 * dial.risk:.1f} %",
        lead(dial.lead),
        _short(dial),
    )


def _short(dial: DialResult) -> str:
    return "better" if dial.verdict == BEATS else "no better"
