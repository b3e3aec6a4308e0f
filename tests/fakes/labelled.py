"""Labelled prompts drawn from a made-up world in which the topic decides how well each tier does."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TOPICS = {
    "rivers": ("river lake water bridge boat fish shore stream valley rain", (0.9, 0.92, 0.95)),
    "proofs": ("prove lemma theorem integral bounded compact sequence converges norm space", (0.15, 0.5, 0.9)),
    "courts": ("court contract plaintiff statute appeal damages tort evidence judge ruling", (0.5, 0.7, 0.85)),
    "cells": ("cell protein enzyme membrane gene tissue nerve blood hormone virus", (0.7, 0.8, 0.9)),
}
"""Words of a topic, and how likely fast, balanced and deep answer rightly."""
FILLERS = "the of which is a in what to and how for with from that"


def drawn_lines(count: int, *, seed: int = 0, tags: bool = False) -> list[dict[str, Any]]:
    """JSON-able rows: two thirds with all tiers, the others with a weak and a strong model only."""
    rng = random.Random(seed)
    lines = []
    for number in range(count):
        topic = rng.choice(sorted(TOPICS))
        words, chances = TOPICS[topic]
        length = rng.randint(6, 30)
        text = " ".join(rng.choice((words if rng.random() < 0.4 else FILLERS).split()) for _ in range(length))
        hit = rng.random()
        fast, balanced, deep = (int(hit < chance) for chance in chances)
        line: dict[str, Any] = {
            "id": f"row-{seed}-{number}",
            "source": "made",
            "subject": topic,
            "group": f"group-{seed}-{number // 2}",
            "prompt": f"{text.capitalize()}, {rng.randint(1, 2000)}?",
            "models": {},
        }
        if number % 3:
            line["tiers"] = {"fast": fast, "balanced": balanced, "deep": deep, "names": ["small", "middle", "big"]}
        else:
            line |= {"weak_model": "weak", "strong_model": "strong", "weak_correct": fast, "strong_correct": deep}
        if tags:
            line["tag"] = topic
        lines.append(line)
    return lines


def write_lines(path: Path, lines: Sequence[dict[str, Any]]) -> Path:
    """The rows as JSONL in that file."""
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path
