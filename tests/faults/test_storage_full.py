"""The disk is full and has room again: the gateway goes on, says so, and writes down afterwards what it owes.

A small file system is filled where one can be mounted; a limit on what the process may write stands in everywhere.
"""

import asyncio
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.client import ask, get
from tests.fakes.disks import CappedFiles, Disk, SmallDisk, may_mount
from tests.fakes.gateway import gateway
from tests.fakes.ledger import PRICES, ledger_config
from tests.fakes.office import ENV, Office
from tests.fakes.orders import Kitchen, left_uusd
from tests.fakes.streams import Audience
from tests.fakes.traffic import Traffic, broken
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

STORAGE = '[storage]\nurl = "sqlite:///state/octoroute.db"\n'
BUDGET_UUSD = 1_000_000
FULL_S = 3.0
RECOVERY_S = 10.0


def disks() -> list[Callable[[Path], Disk]]:
    with tempfile.TemporaryDirectory() as folder:
        return [SmallDisk, CappedFiles] if may_mount(Path(folder)) else [CappedFiles]


@pytest.mark.parametrize("make", disks())
async def test_a_full_disk_stops_no_plain_request_and_loses_no_row(
    make: Callable[[Path], Disk], tmp_path: Path
) -> None:
    disk, kitchen = make(tmp_path), Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        config = ledger_config({tier: [upstream.base_url, upstream.base_url] for tier in PRICES}, more=STORAGE)
        async with gateway(config, tmp_path, env=ENV, program=disk.program) as running:
            pid, office = running.process.pid, Office(running.port)
            plain = await office.issue("plain")
            budgeted = await office.issue("budgeted", budgets={"monthly": BUDGET_UUSD / 1_000_000})
            audience = Audience(running.port, [plain], count=5, events=round(FULL_S / 0.05) + 40, pause_s=0.05)
            chance = random.Random(3)
            unpaid = Traffic(running.port, [plain], chance=chance, name="plain")
            paid = Traffic(running.port, [budgeted], chance=chance, name="paid")
            async with unpaid.running(20), paid.running(20):
                await asyncio.sleep(0.5)
                disk.fill(pid)
                states, ready = await look(office, running.port)
                disk.free(pid)

                async def well() -> bool:
                    return await office.storage() == "ok"

                await until(well, RECOVERY_S)
            assert (unpaid.broke, set(unpaid.statuses)) == ([], {200})
            assert (paid.broke, set(paid.statuses) - {503}) == ([], {200})
            assert states["degraded"] > 5
            assert set(states) <= {"ok", "degraded"}
            assert set(ready) == {200}
            assert all(stream.sound for stream in await audience.ended())
            journal = disk.journal(pid)
            assert broken([*unpaid.kept, *paid.kept], journal) == []
            assert journal.open_intents() == []
            left = await left_uusd(running.port, budgeted, most=BUDGET_UUSD)
            assert left == BUDGET_UUSD - journal.spent(budgeted.id)
            assert journal.integrity() == "ok"


async def look(office: Office, port: int) -> tuple[Counter[str], Counter[int]]:
    """What operators are told for a while."""
    states: Counter[str] = Counter()
    ready: Counter[int] = Counter()
    for _ in range(round(FULL_S / 0.1)):
        states[await office.storage()] += 1
        ready[(await ask(port, get("/health/ready"))).status] += 1
        await asyncio.sleep(0.1)
    return states, ready
