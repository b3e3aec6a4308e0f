import os
import stat
from pathlib import Path

import pytest

from octoroute_py.storage.files import write_whole


def test_a_file_is_replaced_whole_and_can_be_read_by_anybody(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    write_whole(path, b"after")
    assert path.read_bytes() == b"after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["a.bin"]


def test_what_cannot_be_put_in_place_leaves_nothing_beside_it(tmp_path: Path) -> None:
    folder = tmp_path / "a.bin"
    folder.mkdir()
    (folder / "kept").touch()
    with pytest.raises(OSError, match="irectory"):
        write_whole(folder, b"data")
    assert os.listdir(tmp_path) == ["a.bin"]
    assert os.listdir(folder) == ["kept"]
