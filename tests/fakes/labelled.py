"""Labelled prompts drawn from a known law, as files and as a small artifact that learned from them."""

import random
from pathlib import Path

import msgspec

from octoroute_py.training.dataset import Row, read_rows

HARD = ("integral", "theorem", "compile", "pointer", "derive", "matrix")
EASY = ("colour", "capital", "animal", "name", "hello", "week")


def write_labelled(path: Path, *, rows: int, seed: int, ladder: bool | None = None) -> Path:
    """A file of rows of which hard words make fast fail; every second one has labels of fast and deep alone."""
    rng = random.Random(seed)
    with path.open("wb") as file:
        for number in range(rows):
            file.write(msgspec.json.encode(_line(rng, number, seed=seed, ladder=ladder)) + b"\n")
    return path


def labelled_rows(folder: Path, *, rows: int, seed: int) -> list[Row]:
    """The same as values."""
    return read_rows(write_labelled(folder / f"rows-{seed}.jsonl", rows=rows, seed=seed))


def _line(rng: random.Random, number: int, *, seed: int, ladder: bool | None) -> dict[str, object]:
    hard = rng.random() < 0.5
    words = [rng.choice(HARD if rng.random() < (0.8 if hard else 0.1) else EASY) for _ in range(rng.randrange(6, 20))]
    fast = int(rng.random() < (0.25 if hard else 0.9))
    balanced, deep = (int(fast or rng.random() < chance) for chance in (0.4, 0.8))
    line: dict[str, object] = {
        "id": f"{seed}-{number}",
        "group": f"{seed}-{number // 2}",
        "source": "hard" if hard else "easy",
        "prompt": f"Question {number}: {' '.join(words)}?",
    }
    if ladder if ladder is not None else number % 2:
        return {**line, "tiers": {"fast": fast, "balanced": balanced, "deep": deep}}
    return {**line, "weak_correct": fast, "strong_correct": deep}
