"""A file that changes is seen once, and only when nobody writes to it any more."""

import os
from pathlib import Path

import pytest

from octoroute_py.app.file_watch import FileWatch


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text("one")
    return path


def looks(watch: FileWatch, count: int) -> list[bool]:
    return [watch.look() for _ in range(count)]


def test_a_change_is_told_once_after_it_has_rested_for_a_look(file: Path) -> None:
    watch = FileWatch(lambda: [file])
    assert looks(watch, 3) == [False, False, False]
    file.write_text("two, longer")
    assert looks(watch, 4) == [False, True, False, False]


def test_a_file_that_is_being_written_is_waited_for(file: Path) -> None:
    watch = FileWatch(lambda: [file])
    looks(watch, 2)
    for part in range(5):
        file.write_text("half" * (part + 2))
        assert not watch.look()
    assert looks(watch, 2) == [True, False]


def test_a_touch_says_nothing_new(file: Path) -> None:
    watch = FileWatch(lambda: [file])
    os.utime(file, ns=(1, 1))
    assert looks(watch, 3) == [False, False, False]


def test_a_link_that_is_swapped_for_another_is_a_change(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.toml").write_text(name[:5].ljust(5))
    link, seen = tmp_path / "..data", tmp_path / "config.toml"
    link.symlink_to("first")
    seen.symlink_to("..data/config.toml")
    watch = FileWatch(lambda: [seen])
    looks(watch, 2)
    swapped = tmp_path / "..data_tmp"
    swapped.symlink_to("second")
    swapped.rename(link)
    assert looks(watch, 3) == [False, True, False]


def test_what_somebody_has_read_in_the_meantime_is_not_new(file: Path) -> None:
    watch = FileWatch(lambda: [file])
    file.write_text("two, longer")
    watch.read()
    assert looks(watch, 3) == [False, False, False]
    file.write_text("three, longer still")
    assert looks(watch, 3) == [False, True, False]


def test_a_file_that_goes_away_and_comes_back_with_the_same_words_is_read_once_for_each(file: Path) -> None:
    watch = FileWatch(lambda: [file])
    file.unlink()
    assert looks(watch, 3) == [False, True, False]
    watch.read()
    file.write_text("one")
    assert looks(watch, 3) == [False, True, False]


def test_a_pipe_in_the_place_of_the_file_keeps_nobody_waiting(file: Path) -> None:
    watch = FileWatch(lambda: [file])
    file.unlink()
    os.mkfifo(file)
    assert looks(watch, 3) == [False, True, False]
