"""A file that takes rows while the database does not, and gives back all that it took."""

import contextlib
import errno
import os
import random
import stat
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.storage.entries import Intent, JournalEntry
from octoroute_py.storage.errors import CannotOpen, Full, InUse, Unreadable
from octoroute_py.storage.spool import AHEAD_BYTES, READ_ROWS, Spool, count_rows, spool_path
from tests.fakes.rows import an_entry, an_intent

ROWS: list[Intent | JournalEntry] = [an_intent("a"), an_entry("a", user_id="zwei\nZeilen \u2028"), an_entry("b")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return spool_path(str(tmp_path / "octoroute.db"))


def all_rows(spool: Spool) -> list[Intent | JournalEntry]:
    found: list[Intent | JournalEntry] = []
    start = 0
    while start < spool.end:
        batch = spool.read(start)
        found += batch.rows
        start = batch.next
    return found


def appended(path: Path, rows: Sequence[Intent | JournalEntry]) -> None:
    spool = Spool(path)
    spool.append(rows)
    spool.close()


def test_rows_come_back_in_their_order_also_to_another_process(path: Path) -> None:
    appended(path, ROWS[:1])
    appended(path, ROWS[1:])
    spool = Spool(path)
    assert (spool.rows, all_rows(spool)) == (3, ROWS)
    assert path.name == "octoroute.db.spool"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    spool.close()


def test_a_spool_is_read_in_batches(path: Path) -> None:
    rows = [an_entry(str(number)) for number in range(READ_ROWS + 10)]
    spool = Spool(path)
    spool.append(rows)
    first = spool.read()
    assert (first.rows, first.damaged) == (rows[:READ_ROWS], 0)
    assert spool.read(first.next) == (rows[READ_ROWS:], spool.end, 0)
    assert spool.read(spool.end).rows == []
    spool.close()


def test_what_is_cleared_is_gone_and_there_is_room_again(path: Path) -> None:
    spool = Spool(path)
    spool.append(ROWS)
    spool.clear()
    assert (spool.rows, spool.end, all_rows(spool)) == (0, 0, [])
    spool.append(ROWS[:1])
    spool.close()
    again = Spool(path)
    assert all_rows(again) == ROWS[:1]
    again.close()


def test_only_one_gateway_owns_a_spool(path: Path) -> None:
    first = Spool(path)
    with pytest.raises(InUse, match="another gateway"):
        Spool(path)
    first.append(ROWS)
    first.close()
    second = Spool(path)
    assert second.rows == 3
    second.close()


@pytest.mark.parametrize("cut", [1, 40, 120])
def test_the_torn_line_of_a_killed_process_is_dropped_without_a_word(path: Path, cut: int) -> None:
    appended(path, ROWS)
    whole = path.read_bytes().rstrip(b"\0")
    path.write_bytes(whole[:-cut])
    spool = Spool(path)
    batch = spool.read()
    assert (batch.rows, batch.damaged, spool.rows) == (ROWS[:2], 0, 2)
    spool.append(ROWS[2:])
    assert all_rows(spool) == ROWS
    spool.close()


def test_a_damaged_line_is_skipped_and_told(path: Path) -> None:
    appended(path, ROWS)
    content = bytearray(path.read_bytes())
    content[content.index(b"anonymous")] ^= 1
    path.write_bytes(content)
    spool = Spool(path)
    assert spool.read() == (ROWS[1:], spool.end, 1)
    spool.close()


def test_a_line_that_is_whole_but_no_row_of_this_version_is_skipped_and_told(path: Path) -> None:
    spool = Spool(path)
    spool.append(ROWS[:1])
    row = b'["x",0]'
    with path.open("r+b") as file:
        file.seek(spool.end)
        file.write(b"e%08x %b\n" % (zlib.crc32(b"e" + row), row))
    spool.close()
    again = Spool(path)
    assert again.read() == (ROWS[:1], again.end, 1)
    again.close()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=40, deadline=None)
def test_whatever_was_overwritten_the_other_rows_come_back(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    rng = random.Random(seed)
    path = tmp_path_factory.mktemp("spool") / "s"
    rows = [an_entry(str(number), user_id="x" * rng.randint(0, 500)) for number in range(40)]
    appended(path, rows)
    content = bytearray(path.read_bytes())
    ends = [at + 1 for at, byte in enumerate(content) if byte == ord("\n")]
    start = rng.randrange(ends[-1])
    end = min(start + rng.choice([1, 100, 4096]), ends[-1])
    content[start:end] = rng.choice([rng.randbytes(end - start), bytes(end - start)])
    path.write_bytes(content)
    spool = Spool(path)
    found = all_rows(spool)
    spool.close()
    # A line also needs the end of the one before it.
    untouched = [row for row, low, high in zip(rows, [0, *ends], ends, strict=False) if high <= start or low > end]
    assert [row for row in rows if row in found] == found
    assert [row for row in untouched if row not in found] == []


def test_a_full_spool_takes_all_of_a_batch_or_nothing(path: Path) -> None:
    spool = Spool(path, max_bytes=1000)
    spool.append(ROWS)
    with pytest.raises(Full, match="the spool is full"):
        spool.append([an_entry(str(number)) for number in range(3)])
    assert all_rows(spool) == ROWS
    spool.append([an_intent("c")])
    assert path.stat().st_size <= 1000
    spool.close()


def test_a_disk_that_is_full_takes_what_was_set_aside_and_then_no_part_of_a_row(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(path)
    room = path.stat().st_size
    assert room == AHEAD_BYTES
    write = os.pwrite

    def full_disk(file: int, data: bytes, at: int) -> int:
        if at >= room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, bytes(data)[: room - at], at)

    def no_space(file: int, at: int, length: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full_disk)
    monkeypatch.setattr(os, "posix_fallocate", no_space)
    rows = [an_entry(str(number)) for number in range(100)]
    kept: list[Intent | JournalEntry] = []
    with contextlib.suppress(Full):
        while True:
            spool.append(rows)
            kept += rows
    assert len(kept) > AHEAD_BYTES // 400 - 100
    assert all_rows(spool) == kept
    monkeypatch.undo()
    spool.append(ROWS)
    spool.close()
    again = Spool(path)
    assert all_rows(again) == [*kept, *ROWS]
    again.close()


def test_a_disk_that_fails_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(file: int, data: bytes, at: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    spool = Spool(path)
    monkeypatch.setattr(os, "pwrite", broken)
    with pytest.raises(Unreadable, match="Input/output error"):
        spool.append(ROWS)
    monkeypatch.undo()
    spool.append(ROWS)
    assert all_rows(spool) == ROWS
    spool.close()


def test_a_spool_that_loses_no_power_waits_for_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    for durable in (False, True):
        spool = Spool(path, durable=durable)
        spool.append(ROWS)
        spool.close()
    assert len(synced) == 1


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(CannotOpen, match="No such file or directory"):
        Spool(tmp_path / "nowhere" / "x.spool")


def test_rows_are_counted_without_owning_the_spool(path: Path) -> None:
    assert count_rows(path) == 0
    spool = Spool(path)
    spool.append(ROWS)
    assert count_rows(path) == 3
    spool.close()
