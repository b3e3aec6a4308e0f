"""Labelled prompts: every documented shape is read, every wrong line is named."""

import gzip
from pathlib import Path
from typing import Any

import pytest

from octoroute_py.training.dataset import DatasetError, Labels, read_prompts, read_rows
from tests.fakes.labelled import drawn_lines, write_lines


def read(tmp_path: Path, *lines: dict[str, Any]) -> Any:
    return read_rows(write_lines(tmp_path / "rows.jsonl", lines))


def test_ladders_pairs_and_both_are_labels(tmp_path: Path) -> None:
    tiers = {"fast": 0, "balanced": 1, "deep": 1}
    ladder, pair, both, partial = read(
        tmp_path,
        {"prompt": "a", "tiers": tiers},
        {"prompt": "b", "weak_correct": 1, "strong_correct": 0},
        {"prompt": "c", "tiers": tiers, "weak_correct": 1, "strong_correct": 0},
        {"prompt": "d", "tiers": {"fast": 0.25}},
    )
    assert ladder.labels == Labels(0, 1, 1)
    assert pair.labels == Labels(1, None, 0)
    assert both.labels == Labels(0.5, 1, 0.5)
    assert partial.labels == Labels(0.25)


def test_a_pair_that_repeats_the_ladder_counts_once(tmp_path: Path) -> None:
    tiers = {"fast": 0, "balanced": 1, "deep": 1, "names": ["small", "middle", "big"]}
    line = {"prompt": "a", "tiers": tiers, "weak_correct": 0, "strong_correct": 0}
    same, other = read(tmp_path, line | {"weak_model": "small"}, line | {"weak_model": "another"})
    assert same.pair is None
    assert other.pair == Labels(0, None, 0)


def test_a_conversation_becomes_its_last_user_turn_and_what_stands_around_it(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "What is a norm?"},
        {"role": "assistant", "content": "A length."},
        {"role": "user", "content": [{"type": "text", "text": "And why?"}, {"type": "image_url", "image_url": {}}]},
    ]
    (row,) = read(tmp_path, {"messages": messages, "tools": [{}], "tag": "shop", "tiers": {"fast": 1}})
    prompt = row.prompt
    assert (prompt.text, prompt.context) == ("And why?", "What is a norm?\nA length.")
    assert (prompt.turns, prompt.tools, prompt.images, prompt.system_chars, prompt.tag) == (2, 1, 1, 8, "shop")


def test_rows_without_id_are_named_by_their_line_and_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress(b'\n{"prompt": "a", "tiers": {"deep": 1}}\n\n{"id": 7, "prompt": "b"}\n'))
    assert [(identity, prompt.text) for identity, prompt in read_prompts(path)] == [("line-2", "a"), (7, "b")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"prompt": "a"}', "has no outcome"),
        ('{"prompt": "a", "tiers": {}}', "has no outcome"),
        ('{"prompt": "a", "tiers": {"fast": 2}}', "from 0 to 1, not 2"),
        ('{"prompt": "a", "weak_correct": -1, "strong_correct": 1}', "from 0 to 1, not -1"),
        ('{"tiers": {"fast": 1}}', "needs either `prompt` or `messages`"),
        ('{"prompt": "a", "messages": [], "tiers": {"fast": 1}}', "needs either"),
        ('{"prompt": 5, "tiers": {"fast": 1}}', "prompt"),
        ("{", "truncated"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "fine", "tiers": {"fast": 1}}\n\n' + line + "\n")
    with pytest.raises(DatasetError, match=message) as caught:
        read_rows(path)
    assert f"{path}:3: " in str(caught.value)


def test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="No such file"):
        read_rows(tmp_path / "none.jsonl")
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n\n")
    with pytest.raises(DatasetError, match="holds no rows"):
        read_rows(empty)
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"prompt": "a", "tiers": {"fast": 1}}\n' * 50)[:-9])
    with pytest.raises(DatasetError, match="not a complete gzip file"):
        read_rows(broken)
    plain = tmp_path / "plain.jsonl.gz"
    write_lines(plain, drawn_lines(2))
    with pytest.raises(DatasetError, match="not a complete gzip file"):
        read_rows(plain)
