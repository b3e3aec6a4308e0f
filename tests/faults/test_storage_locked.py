"""Another process holds the database: clients notice nothing, operators do, and no row is lost."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from tests.fakes.gateway import gateway
from tests.fakes.ledger import DATABASE, PRICES, ledger_config
from tests.fakes.lockdown import lockdown
from tests.fakes.office import ENV, Office
from tests.fakes.upstream import FakeUpstream

HOLD_S = 3.0
SOON_S = HOLD_S / 2
"""What waited for the database would have waited for all the time that it was held; a busy machine adds much less."""


async def test_a_database_locked_for_three_seconds_costs_no_client_anything_and_loses_no_row(tmp_path: Path) -> None:
    found = await lockdown(tmp_path, hold_s=HOLD_S)
    assert (found.broke, set(found.statuses)) == ([], {200})
    assert found.slowest_s < SOON_S
    assert (found.streams, found.unsound) == (20, 0)
    assert found.gap_held_s < SOON_S
    assert found.states["degraded"] > 10
    assert set(found.states) <= {"ok", "degraded"}
    assert set(found.ready) == {200}
    assert found.kept > 80
    assert found.problems == []


async def test_a_second_gateway_on_the_same_database_does_not_start(tmp_path: Path) -> None:
    async with FakeUpstream() as upstream:
        config = ledger_config({tier: [upstream.base_url] for tier in PRICES})
        async with gateway(config, tmp_path, env=ENV) as running:
            argv = [sys.executable, "-m", "octoroute_py", "serve", "-c", str(tmp_path / "config.toml"), "--port", "0"]
            second = await asyncio.to_thread(
                subprocess.run, argv, capture_output=True, text=True, timeout=30, env={**os.environ, **ENV}
            )
            assert (second.returncode, second.stdout) == (78, "")
            assert str(tmp_path / DATABASE) in second.stderr
            assert len(second.stderr.splitlines()) == 1
            assert await Office(running.port).storage() == "ok"
