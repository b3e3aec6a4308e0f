"""A report on the terminal."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from octoroute_py.training.report import Report
from octoroute_py.training.tables import DIAL_HEAD, SOURCE_HEAD, Row, dial_rows, figures_by_group, source_rows


def show(report: Report, *, console: Console) -> None:
    """Prints the figures, what the dial did, and whether that beats a random mix."""
    console.print(f"{report.artifact} on {report.data}: {report.rows:,} rows, calibrated on {report.calibrated_on:,}.")
    console.print("Three numbers are fast / balanced / deep; ranges hold the true value in 98 of 100 cases.\n")
    console.print(_table(*figures_by_group(report)))
    console.print(
        "\nThe dial: where rows went, what was lost, and what it cost (fast = 1, right answers of deep only).\n"
    )
    console.print(_table(DIAL_HEAD, dial_rows(report)))
    console.print("\nEach source at a tolerated loss of 5 %.\n")
    console.print(_table(SOURCE_HEAD, source_rows(report)))
    console.print(f"\nAt a tolerated loss of 5 %: {report.verdict}.", soft_wrap=True)


def _table(head: Row, rows: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for place, name in enumerate(head):
        table.add_column(name, justify="right" if place else "left", no_wrap=not place)
    for row in rows:
        table.add_row(*row)
    return table
