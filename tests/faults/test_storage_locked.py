"""Another process holds the database: clients notice nothing, operators do, and no row is lost."""

from pathlib import Path

from tests.fakes.lockdown import PAUSE_S, lockdown

ADDED_GAP_S = 0.25
SLOWEST_S = 1.5


async def test_a_database_locked_for_three_seconds_costs_no_client_anything_and_loses_no_row(tmp_path: Path) -> None:
    found = await lockdown(tmp_path, hold_s=3.0)
    assert (found.broke, set(found.statuses)) == ([], {200})
    assert found.slowest_s < SLOWEST_S
    assert (found.streams, found.unsound) == (20, 0)
    assert found.gap_before_s < PAUSE_S + ADDED_GAP_S
    assert found.gap_held_s < PAUSE_S + ADDED_GAP_S
    assert found.states["degraded"] > 10
    assert set(found.states) <= {"ok", "degraded"}
    assert set(found.ready) == {200}
    assert found.kept > 80
    assert found.problems == []
