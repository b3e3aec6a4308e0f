"""How the scripts of this folder tell their figures: a table on stdout and, if asked, in a document."""

import argparse
import datetime
import os
import platform
import sqlite3
import statistics
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

Table = Sequence[tuple[str, ...]]
"""Rows of cells; the first cell is what the row is about."""


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the one that all scripts have."""
    parser.add_argument(
        "--document", type=Path, help="write the figures between this script's markers there, as in docs/ledger.md"
    )
    return parser.parse_args()


def short(number: float) -> str:
    """A number with three significant digits."""
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def spread(values: Sequence[float]) -> str:
    """Median (lowest to highest)."""
    return f"{short(statistics.median(values))} ({short(min(values))} to {short(max(values))})"


def machine() -> str:
    """Processor, cores, kernel and versions."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    model = models[0].split(":", 1)[1].strip() if models else platform.machine()
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return f"{model}, {os.cpu_count()} cores, Linux {platform.release()}; {versions}"


def publish(name: str, rows: Table, *, document: Path | None, note: str, head: tuple[str, ...] = ("", "")) -> None:
    """Print the table, and put it between `<!-- name:start -->` and `<!-- name:end -->` of a document."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    lines = [f"Measured {today} on {machine()}; {note}.", "", _line(head), "|" + "---|" * len(head)]
    text = "\n".join([*lines, *map(_line, rows)])
    print(text, flush=True)
    if document is not None:
        start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
        before, rest = document.read_text(encoding="utf-8").split(start)
        _, after = rest.split(end)
        document.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
