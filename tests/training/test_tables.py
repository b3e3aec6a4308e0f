import math

import pytest

from octoroute_py.training.report import PerTier, Range, Report
from octoroute_py.training.tables import (
    DIAL_HEAD,
    SOURCE_HEAD,
    dial_rows,
    figures_by_group,
    groups_by_figure,
    interval,
    lead,
    markdown,
    number,
    per_tier,
    source_rows,
)


@pytest.mark.parametrize(("value", "written"), [(0.12345, "0.123"), (None, "–"), (math.nan, "–"), (2.0, "2.000")])
def test_a_figure_that_is_not_there_is_a_dash(value: float | None, written: str) -> None:
    assert number(value) == written


def test_intervals_and_leads_say_how_far_they_reach() -> None:
    assert interval(Range(0.5, 0.4, 0.625)) == "0.500 (0.400 to 0.625)"
    assert lead(Range(0.021, -0.004, 0.05)) == "+2.1 (-0.4 to +5.0)"
    assert per_tier(PerTier(0.5, None, 0.75), percent=True) == "50 / – / 75"


def test_both_ways_of_writing_the_figures_hold_the_same_cells(report: Report) -> None:
    head, rows = figures_by_group(report)
    turned, by_group = groups_by_figure(report)
    assert all(len(row) == len(head) for row in rows)
    cells = {(row[0], name): cell for row in rows for name, cell in zip(head[1:], row[1:], strict=True)}
    for group in by_group[: len(head) - 1]:
        for name, cell in zip(turned[1:], group[1:], strict=True):
            assert cells[name, group[0]] == cell
    assert [group[0] for group in by_group] == [*head[1:], "chat", "maths"]


def test_every_dial_of_every_group_and_every_source_has_its_row(report: Report) -> None:
    rows = dial_rows(report)
    assert len(rows) == 9
    assert {len(row) for row in rows} == {len(DIAL_HEAD)}
    assert [row[0] for row in source_rows(report)] == ["chat", "maths"]
    assert {len(row) for row in source_rows(report)} == {len(SOURCE_HEAD)}
    middle = report.all.dials[1]
    assert rows[1][2] == f"{100 * middle.risk:.1f} %"
    assert rows[1][-1] == "better"


def test_a_markdown_table_has_a_head_a_rule_and_its_rows() -> None:
    assert markdown(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
