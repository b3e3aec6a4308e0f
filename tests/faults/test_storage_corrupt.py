"""A database with a page overwritten is refused, named and left as it is; one that breaks under a gateway stops it from
keeping, not from answering."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tests.fakes.client import Answer, ask, ask_many, get
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import DATABASE, PRICES, Journal, ledger_config
from tests.fakes.office import ENV, Issued, Office
from tests.fakes.orders import Kitchen, Order
from tests.fakes.streams import Audience
from tests.fakes.upstream import FakeUpstream
from tests.fakes.waiting import until

PAGE_BYTES = 4096
ROWS = 300
NOTICED_S = 10.0
GARBAGE = hashlib.shake_256(b"anything").digest(PAGE_BYTES)


def config_of(upstream: FakeUpstream) -> str:
    return ledger_config({tier: [upstream.base_url] for tier in PRICES})


async def fill(port: int, key: Issued, *, name: str, count: int = ROWS) -> list[str]:
    """So many answered requests; their ids."""
    orders = iter([Order(id=f"{name}-{number}") for number in range(count)])
    answers = await ask_many(port, lambda: next(orders).request(key), count=count, at_once=10)
    assert {answer.status for answer in answers} == {200}
    return [answer.headers["x-request-id"] for answer in answers]


def overwrite(path: Path, page: int, data: bytes) -> bytes:
    """Put other bytes in a page's place; what was there."""
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE_BYTES)
        before = file.read(PAGE_BYTES)
        file.seek((page - 1) * PAGE_BYTES)
        file.write(data)
    return before


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command on this configuration; it has to end by itself."""
    argv = [sys.executable, "-m", "octoroute_py", *command, "-c", str(folder / "config.toml")]
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, env={**os.environ, **ENV})


def digests(folder: Path) -> dict[str, str]:
    """What is beside the database, by name; files that are empty are not counted."""
    found = {path.name: path.read_bytes() for path in folder.glob(f"{DATABASE}*")}
    return {name: hashlib.sha256(data).hexdigest() for name, data in found.items() if data}


async def test_a_damaged_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    kitchen = Kitchen()
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        async with gateway(config_of(upstream), tmp_path, env=ENV) as running:
            await fill(running.port, await Office(running.port).issue("any"), name="row")
    path = tmp_path / DATABASE
    pages = path.stat().st_size // PAGE_BYTES
    assert pages > 30
    overwrite(path, pages // 2, GARBAGE)
    before = digests(tmp_path)
    for command in (("serve", "--port", "0"), ("keys", "create", "late"), ("keys", "list"), ("db", "upgrade")):
        refused = run(tmp_path, *command)
        assert (refused.returncode, refused.stdout) == (78, ""), command
        assert "Traceback" not in refused.stderr
        assert str(path) in refused.stderr
        assert ".recover" in refused.stderr
        assert digests(tmp_path)[DATABASE] == before[DATABASE]
    assert run(tmp_path, "db", "check").returncode in (1, 78)
    assert digests(tmp_path)[DATABASE] == before[DATABASE]


async def test_a_database_that_breaks_under_a_gateway_stops_no_answer_and_can_be_mended(tmp_path: Path) -> None:
    kitchen = Kitchen()
    journal = Journal(tmp_path / DATABASE)
    async with FakeUpstream() as upstream:
        upstream.always(kitchen.serve)
        async with gateway(config_of(upstream), tmp_path, env=ENV) as running:
            office = Office(running.port)
            key = await office.issue("plain")
            told = await fill(running.port, key, name="before")
            audience = Audience(running.port, [key], count=5, events=60, pause_s=0.05)
            (page,) = journal.ask("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'")[0]
            await until(lambda: checkpointed(journal.path))
            good = overwrite(journal.path, page, GARBAGE)
            bump(journal.path)
            told += await fill(running.port, key, name="after", count=50)
            await until(lambda: refused(office), NOTICED_S)
            told += await fill(running.port, key, name="later", count=50)
            ready = await ask(running.port, get("/health/ready"))
            assert (ready.status, ready.json["ready"]) == (503, False)
            assert any("database" in reason for reason in ready.json["reasons"])
            assert all(stream.sound for stream in await audience.ended())
            running.signal(signal.SIGTERM)
            await running.wait()
        assert run(tmp_path, "serve", "--port", "0").returncode == 78
        overwrite(journal.path, page, good)
        async with gateway(config_of(upstream), tmp_path, env=ENV) as mended:
            await check_all_there(mended, journal, told)


async def check_all_there(running: RunningGateway, journal: Journal, told: list[str]) -> None:
    answer: Answer = await ask(running.port, get("/health/ready"))
    assert answer.status == 200
    rows = journal.by_id()
    assert [request_id for request_id in told if len(rows.get(request_id, ())) != 1] == []
    assert journal.integrity() == "ok"


async def refused(office: Office) -> bool:
    return await office.storage() == "refused"


async def checkpointed(path: Path) -> bool:
    """Have every page written to the file itself."""
    connection = sqlite3.connect(path, timeout=5)
    try:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy
    finally:
        connection.close()


def bump(path: Path) -> None:
    """Change something, so that whoever remembers pages looks at the file again."""
    connection = sqlite3.connect(path, timeout=5)
    try:
        with connection:
            connection.execute("UPDATE directory_version SET version = version + 1")
    finally:
        connection.close()
