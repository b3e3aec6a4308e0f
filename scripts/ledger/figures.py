"""How the scripts of this folder tell their figures: a table on stdout and, if asked, in a document."""

import argparse
import datetime
import platform
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from scripts.recorded import machine, write_between_markers

Table = Sequence[tuple[str, ...]]
"""Rows of cells; the first cell is what the row is about."""


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The arguments, with the one that all scripts have."""
    parser.add_argument(
        "--document", type=Path, help="write the figures between this script's markers there, as in docs/ledger.md"
    )
    return parser.parse_args()


def publish(name: str, rows: Table, *, document: Path | None, note: str, head: tuple[str, ...] = ("", "")) -> None:
    """Print the table, and put it between `<!-- name:start -->` and `<!-- name:end -->` of a document."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    where = f"{machine()}, Linux {platform.release()}"
    versions = f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    lines = [f"Measured {today} on {where}; {versions}; {note}.", "", _line(head), "|" + "---|" * len(head)]
    text = "\n".join([*lines, *map(_line, rows)])
    print(text, flush=True)
    if document is not None:
        write_between_markers(document, name, text)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
