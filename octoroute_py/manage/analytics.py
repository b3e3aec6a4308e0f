"""What operators want to know of the requests that were made, from the ledger's sums and newest rows.

A range begins at the start of the minute (1h, 24h) or of the hour (7d, 30d) that lies so long ago, and ends now. A
request belongs to the time it began. Judge calls are the gateway's own: told apart, and in no other figure.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from octoroute_py.core.clock import Wall, iso
from octoroute_py.core.errors import Refused
from octoroute_py.core.money import usd
from octoroute_py.core.words import TIERS
from octoroute_py.manage.figures import MOST_NAMES, UNSPECIFIED, by_status, figures, most, together
from octoroute_py.manage.reports import (
    ALL,
    Figures,
    JudgeCalls,
    ModelFigures,
    ModelsReport,
    SavingsReport,
    TierSavings,
    TimeRange,
    WorkspaceReport,
)
from octoroute_py.manage.store import TRY_AGAIN_S, Store
from octoroute_py.storage import analytics as sums
from octoroute_py.storage.analytics import Agents, Cell, Scope
from octoroute_py.storage.errors import TooLong
from octoroute_py.storage.history import EVERYTHING, Filter, Page, Place, Record, named, page
from octoroute_py.storage.limited import within
from octoroute_py.storage.rollups import JUDGE
from octoroute_py.storage.transaction import Transaction

T = TypeVar("T")

LONGEST_LOOK_S = 2.0
"""A page of requests takes milliseconds; a search that takes longer than this is given up."""
AT_ONCE = 2
"""Reports that are read at the same time; the others wait, and leave the threads to whom a request waits for."""
NOTE = (
    "The baseline is what the tokens of every whole answer would have cost at the baseline endpoint. "
    "Failed requests and attempts count with their cost and have no baseline."
)


class Model(NamedTuple):
    """A configured endpoint."""

    id: str
    name: str
    tier: str


class _Found(NamedTuple):
    """A range as the database tells it."""

    since_s: int
    requests: list[Cell]
    judged: list[Cell]
    by_hour: list[int]
    latencies: dict[str, dict[int, int]]
    agents: Agents

    @property
    def since(self) -> str:
        return iso(self.since_s * 1000)


class Analytics:
    """Answers from one store; every answer is of one moment.

    `wall` is the clock of the journal's rows, `models` the endpoints as configured now, `baseline` the id of the
    endpoint whose price savings are measured by, `budgets` what the budgets of a workspace say, as JSON. `workspaces`
    of a call are the only ones it may look at, None for all. Raises Refused (503).
    """

    def __init__(
        self,
        store: Store,
        *,
        wall: Wall,
        models: Callable[[], Sequence[Model]],
        baseline: Callable[[], str | None],
        budgets: Callable[[str], object] | None = None,
    ) -> None:
        self._store = store
        self._wall = wall
        self._models = models
        self._baseline = baseline
        self._budgets = budgets
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def models(
        self, time_range: TimeRange, *, model: str | None = None, workspaces: Sequence[str] | None = None
    ) -> ModelsReport:
        """Every endpoint's figures and their sum; `model`, an endpoint's id or name, leaves only those."""
        configured = self._models()
        endpoints = None if model is None else [each.id for each in configured if each.name == model] or [model]
        found = await self._find(time_range, workspaces=workspaces, endpoints=endpoints, agents=True)
        return ModelsReport(
            **_fields(figures(found.requests, together(found.latencies.values()))),
            time_range=time_range,
            since=found.since,
            model_id=ALL if model is None else model,
            requests_by_agent=_by_agent(found.agents),
            requests_by_status=by_status(found.requests),
            hourly_distribution={f"{hour:02}:00": requests for hour, requests in enumerate(found.by_hour)},
            models=_by_model(found, {each.id: each.name for each in configured}),
            judge=None if workspaces is not None else _judge(found.judged),
        )

    async def workspace(self, time_range: TimeRange, workspace: str) -> WorkspaceReport:
        """One workspace's figures, by model and agent type."""
        found = await self._find(time_range, workspaces=[workspace], by_hour=False, agents=True)
        return WorkspaceReport(
            **_fields(figures(found.requests, together(found.latencies.values()))),
            workspace_id=workspace,
            time_range=time_range,
            since=found.since,
            unique_agents=found.agents.named,
            model_usage=most((cell for cell in found.requests if cell.endpoint), lambda cell: cell.endpoint),
            agent_usage=_by_agent(found.agents),
            requests_by_status=by_status(found.requests),
            budgets=None if self._budgets is None else self._budgets(workspace),
        )

    async def savings(self, time_range: TimeRange, *, workspaces: Sequence[str] | None = None) -> SavingsReport:
        """What was paid, and what it would have been with every answer from the deep tier."""
        found = await self._find(time_range, workspaces=workspaces, by_hour=False, latencies=False)
        cost = sum(cell.cost_uusd for cell in found.requests)
        judged = sum(cell.cost_uusd for cell in found.judged)
        baseline = sum(cell.baseline_uusd for cell in found.requests)
        saved = baseline - cost - judged
        return SavingsReport(
            time_range=time_range,
            since=found.since,
            requests=sum(cell.requests for cell in found.requests),
            cost=usd(cost),
            judge_cost=None if workspaces is not None else usd(judged),
            total_cost=usd(cost + judged),
            baseline=usd(baseline),
            baseline_endpoint=self._baseline(),
            saved=usd(saved) if baseline else None,
            saved_share=round(saved / baseline, 6) if baseline else None,
            tiers={tier.value: _tier([cell for cell in found.requests if cell.tier == tier]) for tier in TIERS},
            note=NOTE,
        )

    async def last_hour(self) -> Figures | None:
        """All requests of the last hour, None where nothing is kept."""
        if not self._store.keeps:
            return None
        found = await self._find(TimeRange.HOUR, by_hour=False)
        return figures(found.requests, together(found.latencies.values()))

    async def requests(
        self,
        *,
        limit: int,
        before: tuple[int, int] | None = None,
        workspaces: Sequence[str] | None = None,
        only: Filter = EVERYTHING,
    ) -> Page:
        """A page of the requests themselves, newest first; `before` is the place where the page before ended."""
        place = None if before is None else Place(*before)

        def look(connection: Transaction) -> Page:
            try:
                with within(connection, LONGEST_LOOK_S):
                    return page(connection, limit=limit, before=place, workspaces=workspaces, only=only)
            except TooLong:
                raise _too_long() from None

        return await self._read(look)

    async def named(
        self, request_id: str, *, workspaces: Sequence[str] | None = None, key_id: str | None = None
    ) -> list[Record]:
        """The newest requests of this id, in these workspaces and with this key; None for all."""
        return await self._read(lambda connection: named(connection, request_id, workspaces=workspaces, key_id=key_id))

    @property
    def keeps(self) -> bool:
        """Whether there is a journal at all."""
        return self._store.keeps

    async def _find(
        self,
        time_range: TimeRange,
        *,
        workspaces: Sequence[str] | None = None,
        endpoints: Sequence[str] | None = None,
        by_hour: bool = True,
        latencies: bool = True,
        agents: bool = False,
    ) -> _Found:
        scope = Scope(time_range.since_s(self._wall()), workspaces, endpoints)

        def look(connection: Transaction) -> _Found:
            cells = sums.cells(connection, scope, agents=False)
            return _Found(
                since_s=scope.since_s,
                requests=[cell for cell in cells if cell.surface != JUDGE],
                judged=[cell for cell in cells if cell.surface == JUDGE],
                by_hour=sums.requests_by_hour(connection, scope) if by_hour else [],
                latencies=sums.latencies(connection, scope) if latencies else {},
                agents=sums.requests_by_agent(connection, scope, most=MOST_NAMES) if agents else Agents({}, 0),
            )

        return await self._read(look)

    async def _read(self, look: Callable[[Transaction], T]) -> T:
        async with self._turns:
            return await self._store.read(look)


def _too_long() -> Refused:
    return Refused(
        "The search took too long and was given up: ask for a shorter time.",
        code="search_too_long",
        retry_after_s=TRY_AGAIN_S,
    )


def _by_agent(agents: Agents) -> dict[str, int]:
    """As reports show it."""
    told: Counter[str] = Counter()
    for agent, requests in agents.requests.items():
        told[agent or UNSPECIFIED] += requests  # somebody may call itself that
    return dict(told)


def _fields(values: Figures) -> dict[str, Any]:
    return msgspec.structs.asdict(values)


def _by_model(found: _Found, names: dict[str, str]) -> list[ModelFigures]:
    """One row an endpoint that was tried, the busiest first."""
    grouped: dict[tuple[str, str], list[Cell]] = {}
    for cell in found.requests:
        if cell.endpoint:
            grouped.setdefault((cell.endpoint, cell.tier), []).append(cell)
    rows = [
        ModelFigures(
            **_fields(figures(cells, found.latencies.get(endpoint, {}))),
            model_id=endpoint,
            name=names.get(endpoint),
            tier=tier,
        )
        for (endpoint, tier), cells in grouped.items()
    ]
    return sorted(rows, key=lambda row: (-row.total_requests, row.model_id))


def _judge(cells: list[Cell]) -> JudgeCalls:
    return JudgeCalls(
        requests=sum(cell.requests for cell in cells),
        total_tokens=sum(cell.prompt_tokens + cell.completion_tokens for cell in cells),
        total_cost=usd(sum(cell.cost_uusd for cell in cells)),
    )


def _tier(cells: list[Cell]) -> TierSavings:
    cost, baseline = sum(cell.cost_uusd for cell in cells), sum(cell.baseline_uusd for cell in cells)
    return TierSavings(
        requests=sum(cell.requests for cell in cells),
        failed_requests=sum(cell.failures for cell in cells),
        total_tokens=sum(cell.prompt_tokens + cell.completion_tokens for cell in cells),
        cost=usd(cost),
        baseline=usd(baseline),
        saved=usd(baseline - cost),
    )
