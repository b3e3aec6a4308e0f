"""A gateway's journal as anybody can open it: the SQLite file, read only, and what its figures must come to.

    journal = Journal(folder / "octoroute.db")
    assert journal.count("one-request-id") == 1
    assert journal.spent("key_1") == sum(PRICES["fast"].cost_uusd(prompt=40, completion=20) for _ in range(3))

Nothing here uses the product's code: these are the sums of somebody who does not believe it.
"""

import contextlib
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from tests.fakes.gateway import tier

DATABASE = "octoroute.db"
PATIENCE_S = 5.0


class Prices(NamedTuple):
    """What an endpoint charges, in USD per million tokens as a configuration spells it."""

    input: str
    output: str

    def cost_uusd(self, *, prompt: int, completion: int) -> int:
        """What an answer cost: micro-USD, half up."""
        return math.floor(self._exact(prompt, completion) + Fraction(1, 2))

    def reserve_uusd(self, *, prompt: int, limit: int) -> int:
        """What is set aside before it is asked for: the most it may cost, rounded up."""
        return math.ceil(self._exact(prompt, limit))

    def toml(self) -> str:
        """The lines of an endpoint."""
        return f"input_cost_per_mtok = {self.input}\noutput_cost_per_mtok = {self.output}\n"

    def _exact(self, prompt: int, completion: int) -> Fraction:
        return prompt * Fraction(self.input) + completion * Fraction(self.output)


METER = "deep-0"
"""The endpoint whose output token costs one micro-USD and whose input is free: it measures budgets (`orders`)."""
PRICES: Mapping[str, Prices] = MappingProxyType(
    {"fast": Prices("0.15", "0.6"), "balanced": Prices("0.8", "3.2"), "deep": Prices("0", "1")}
)


def ledger_config(
    urls: Mapping[str, Sequence[str]],
    *,
    prices: Mapping[str, Prices] = PRICES,
    routing: str = "",
    more: str = "",
) -> str:
    """One configuration with a price for every tier, an admin's key (`office.BOSS`), no probes and no breakers.

    `urls` are the base URLs by tier; `routing` is added to that table, `more` to the end.
    """
    tiers = "".join(tier(name, *urls[name], more=prices[name].toml()) for name in ("fast", "balanced", "deep"))
    return (
        f'{tiers}[routing]\nstrategy = "rule"\n{routing}'
        "[health]\nenabled = false\n[breaker]\nenabled = false\n[retry]\nbackoff_seconds = 0.01\n"
        f'[[auth.keys]]\nname = "boss"\nrole = "admin"\nenv = "BOSS_KEY"\n{more}'
    )


class Row(NamedTuple):
    """What the checks ask of a row of the journal."""

    request_id: str
    entry: int
    started_ms: int
    surface: str
    status: int
    error_code: str | None
    stream: bool
    workspace: str
    key_id: str
    tier: str
    endpoint: str
    sends: int
    prompt_tokens: int
    completion_tokens: int
    estimated: bool
    cost_uusd: int


class Standing(NamedTuple):
    """What a key has spent and what is set aside for its requests under way, read in one moment."""

    spent_uusd: int
    held_uusd: int

    @property
    def total_uusd(self) -> int:
        """Both together."""
        return self.spent_uusd + self.held_uusd


class Journal:
    """The file of a gateway that may be running; `copied` if it is a copy that nobody else has."""

    def __init__(self, path: Path, *, copied: bool = False) -> None:
        self.path = path
        self._mode = "rw" if copied else "ro"

    def rows(self, where: str = "TRUE", *values: object) -> list[Row]:
        """Rows of the journal in the order they were written."""
        found = self.ask(f"SELECT {', '.join(Row._fields)} FROM journal WHERE {where} ORDER BY id", *values)  # noqa: S608
        return [Row(*row) for row in found]

    def by_id(self) -> dict[str, list[Row]]:
        """All rows by their request id."""
        found: dict[str, list[Row]] = {}
        for row in self.rows():
            found.setdefault(row.request_id, []).append(row)
        return found

    def count(self, request_id: str) -> int:
        """How many rows have this request id."""
        return len(self.rows("request_id = ?", request_id))

    def total_uusd(self) -> int:
        """The sum of all costs."""
        return int(self.ask("SELECT coalesce(sum(cost_uusd), 0) FROM journal")[0][0])

    def standing(self, key_id: str) -> Standing:
        """What a key has spent and holds."""
        (row,) = self.ask(
            "SELECT (SELECT coalesce(sum(cost_uusd), 0) FROM journal WHERE key_id = :key),"
            " (SELECT coalesce(sum(reserved_uusd), 0) FROM intents WHERE key_id = :key)",
            {"key": key_id},
        )
        return Standing(*row)

    def spent(self, key_id: str) -> int:
        """What a key has spent."""
        return self.standing(key_id).spent_uusd

    def open_intents(self) -> list[str]:
        """The ids of requests that have not ended."""
        return [row[0] for row in self.ask("SELECT request_id FROM intents")]

    def integrity(self) -> str:
        """What SQLite finds; "ok" if nothing."""
        return "; ".join(str(row[0]) for row in self.ask("PRAGMA integrity_check"))

    def ask(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of any question; the database is opened and closed for it."""
        with self._open() as connection:
            given = values[0] if len(values) == 1 and isinstance(values[0], dict) else values
            return connection.execute(sql, given).fetchall()

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"file:{self.path}?mode={self._mode}", uri=True, timeout=PATIENCE_S)
        try:
            yield connection
        finally:
            connection.close()
