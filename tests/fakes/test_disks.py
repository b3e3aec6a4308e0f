"""A disk that is full takes nothing, and one with room takes it again."""

import asyncio
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.disks import CappedFiles, Disk, SmallDisk, may_mount

WRITES = """
import sys
path = sys.argv[1]
open(path, "w").close()
print("ready", flush=True)
for _ in sys.stdin:
    try:
        with open(path, "ab", buffering=0) as file:
            print(file.write(bytes(8192)), flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""


def disks() -> list[Callable[[Path], Disk]]:
    with tempfile.TemporaryDirectory() as folder:
        return [SmallDisk, CappedFiles] if may_mount(Path(folder)) else [CappedFiles]


@pytest.mark.parametrize("make", disks())
async def test_a_full_disk_takes_nothing_until_it_is_free(make: Callable[[Path], Disk], tmp_path: Path) -> None:
    disk = make(tmp_path)
    argv = [*disk.program[:-2], "-c", WRITES, str(tmp_path / "state/octoroute.db")]
    assert disk.program[-3] == sys.executable
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)

    async def write() -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"\n")
        return (await process.stdout.readline()).decode().strip()

    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    assert await write() == "8192"
    disk.fill(process.pid)
    assert await write() in {"No space left on device", "File too large"}
    assert disk.database(process.pid).stat().st_size == 8192
    disk.free(process.pid)
    assert await write() == "8192"
    await process.communicate(b"")
