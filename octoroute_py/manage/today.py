"""What today has cost and saved, UTC, by the journal: a running page asks every few seconds."""

from typing import Final

import msgspec

from octoroute_py.core.clock import Wall, iso
from octoroute_py.core.errors import Refused
from octoroute_py.core.money import usd
from octoroute_py.manage.store import Store
from octoroute_py.storage import analytics as sums
from octoroute_py.storage.analytics import Scope
from octoroute_py.storage.rollups import DAY_S, JUDGE

STALE_AFTER_S: Final = 5.0
"""How old figures may be before they are read again."""


class Money(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Since midnight UTC, in USD. `cost_usd` is all that was paid, the judge's share `judge_cost_usd` in it.

    `requests` are those of clients. `saved_usd` is the baseline (every whole answer at the deep tier's price) less the
    cost; that and `saved_percent` (of the baseline) are None while there is no baseline.
    """

    since: str
    requests: int
    cost_usd: float
    judge_cost_usd: float
    baseline_usd: float
    saved_usd: float | None
    saved_percent: float | None


class Today:
    """Today's figures, at most some seconds old. They are read off the event loop, and only when `refresh` is called.

    `money` is None until they were read, while nothing is kept, and while the database cannot be used.
    """

    def __init__(self, store: Store, *, wall: Wall) -> None:
        self._store = store
        self._wall = wall
        self._read_at_s: float | None = None
        self._reading = False
        self.money: Money | None = None

    def is_stale(self) -> bool:
        """Whether it is time to read again."""
        if not self._store.keeps or self._reading:
            return False
        return self._read_at_s is None or not 0.0 <= self._wall() - self._read_at_s < STALE_AFTER_S

    async def refresh(self) -> None:
        """Read them again, if they are stale."""
        if not self.is_stale():
            return
        now_s = self._wall()
        since_s = int(now_s) // DAY_S * DAY_S
        self._reading = True
        try:
            cells = await self._store.read(lambda connection: sums.cells(connection, Scope(since_s), agents=False))
        except Refused:
            self.money = None  # and the store has told why
        else:
            self.money = _money(since_s, cells)
        finally:
            self._reading = False
        self._read_at_s = now_s


def _money(since_s: int, cells: list[sums.Cell]) -> Money:
    cost = sum(cell.cost_uusd for cell in cells)
    baseline = sum(cell.baseline_uusd for cell in cells)
    return Money(
        since=iso(since_s * 1000),
        requests=sum(cell.requests for cell in cells if cell.surface != JUDGE),
        cost_usd=usd(cost),
        judge_cost_usd=usd(sum(cell.cost_uusd for cell in cells if cell.surface == JUDGE)),
        baseline_usd=usd(baseline),
        saved_usd=usd(baseline - cost) if baseline else None,
        saved_percent=round(100.0 * (baseline - cost) / baseline, 4) if baseline else None,
    )
