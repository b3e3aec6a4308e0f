import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.allowance import Budgets, WorkspacePolicy
from octoroute_py.core.errors import BadRequest, Refused
from octoroute_py.core.words import Role
from octoroute_py.manage.store import Store
from octoroute_py.manage.workspaces import Workspaces
from octoroute_py.storage import directory
from octoroute_py.storage.db import Database
from tests.fakes.endpoints import endpoint_config

BOB = Principal("bob", Role.OPERATOR, "bob")


class Desk:
    """Workspaces over a database, with the endpoints of a configuration that may change."""

    def __init__(self, database: Database) -> None:
        self.endpoints: list[EndpointConfig] = [endpoint_config("fast/a#1"), endpoint_config("deep/b#1")]
        self.versions: list[int] = []
        self.database = database
        self.workspaces = Workspaces(
            Store(database),
            endpoints=lambda: self.endpoints,
            wall=lambda: 7.0,
            changed=self.changed,
            models=lambda: ("resting",),
        )

    async def changed(self) -> None:
        """Look, at the moment one is told, what is in the database."""
        with self.database.read() as connection:
            self.versions.append(directory.version(connection))

    async def put(self, workspace: str, **policy: object) -> WorkspacePolicy:
        made = WorkspacePolicy(**policy)  # type: ignore[arg-type]
        return (await self.workspaces.put(workspace, made, by=BOB)).policy


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    database = Database.open("sqlite:///test.db", base_dir=tmp_path)
    yield Desk(database)
    database.close()


async def test_a_change_is_on_disk_when_it_is_told_and_told_before_the_call_ends(desk: Desk) -> None:
    await desk.put("a")
    assert desk.versions == [1]
    await desk.workspaces.remove("a", by=BOB)
    assert desk.versions == [1, 2]


async def test_tiers_are_taken_in_any_case_and_each_word_once(desk: Desk) -> None:
    assert (await desk.put("a", restrictions=("Fast", "b", "fast", "deep/b#1"))).restrictions == (
        "fast",
        "b",
        "deep/b#1",
    )
    with pytest.raises(BadRequest):
        await desk.put("a", restrictions=("B",))


async def test_very_many_unknown_names_are_not_all_repeated(desk: Desk) -> None:
    with pytest.raises(BadRequest) as caught:
        await desk.put("a", restrictions=tuple(f"m{at}" for at in range(50)))
    assert caught.value.client_message.endswith("'m19' and 30 more.")


async def test_a_name_that_a_reload_took_away_is_warned_of(desk: Desk) -> None:
    policy = await desk.put("a", restrictions=("a", "b"))
    assert desk.workspaces.warnings(policy) == []
    desk.endpoints = [endpoint_config("fast/a#1")]
    assert desk.workspaces.warnings(policy) == ["modelRestrictions names what there is no more: 'b'."]


async def test_a_budget_for_models_without_prices_is_warned_of(desk: Desk) -> None:
    desk.endpoints = [endpoint_config("fast/a#1"), endpoint_config("deep/b#1", output_cost_per_mtok=0.0)]
    told = "budgetLimits do not count what has no price in the configuration: 'fast/a#1'."
    budgets = Budgets(daily_uusd=1)
    assert desk.workspaces.warnings(WorkspacePolicy(budgets=budgets)) == [told]
    assert desk.workspaces.warnings(WorkspacePolicy(budgets=budgets, restrictions=("deep",))) == []
    assert desk.workspaces.warnings(WorkspacePolicy(restrictions=("fast",))) == []


async def test_changes_at_once_are_all_kept_and_each_counts(desk: Desk) -> None:
    await asyncio.gather(*(desk.put(f"w{at % 4}", max_latency_ms=float(at + 1)) for at in range(40)))
    rows, count = await desk.workspaces.page(among=None, limit=10, offset=0)
    assert (count, [row.id for row in rows]) == (4, ["w0", "w1", "w2", "w3"])
    assert max(desk.versions) == 40


async def test_a_database_that_is_gone_is_told_without_its_place(desk: Desk, tmp_path: Path) -> None:
    desk.database.close()
    with pytest.raises(Refused) as caught:
        await desk.put("a")
    assert (caught.value.status, caught.value.code) == (503, "storage_unavailable")
    assert str(tmp_path) not in caught.value.client_message
    assert desk.versions == []


async def test_a_registered_model_may_be_named_while_it_serves_nobody(desk: Desk) -> None:
    policy = await desk.put("w", restrictions=("a", "resting"))
    assert policy.restrictions == ("a", "resting")
    assert desk.workspaces.warnings(policy) == []
