"""What the scorer does when it serves: how long a decision takes, what the guard notices, which step decides."""

import gc
import random
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from octoroute_py.cli.route import request_body
from octoroute_py.core.clock import wall
from octoroute_py.core.words import Importance, Surface
from octoroute_py.features.facts import Facts, read_facts
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.flips import Asked, applied, decide, flips
from octoroute_py.routing.rulebook import compile_table
from octoroute_py.routing.rules import BUILT_IN
from octoroute_py.routing.scorer import Scorer
from octoroute_py.training.dataset import Row

ALPHA = 0.05
ROUNDS, CALLS = 7, 4_000
CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Round:
    """p50 and p99 of one round in µs: as the clock saw them, and of the processor time alone."""

    p50: float
    p99: float
    cpu_p50: float
    cpu_p99: float


def latency_us(scorer: Scorer, rows: Sequence[Row], *, tokens: int) -> list[Round]:
    """Round by round, the time from a str of about so many tokens to a decision; every prompt is new."""
    text = "\n".join(row.prompt.text for row in rows)
    length = tokens * CHARACTERS_A_TOKEN
    rng = random.Random(tokens)
    found = []
    for _ in range(ROUNDS):
        starts = [rng.randrange(len(text) - length) for _ in range(CALLS)]
        prompts = [text[start : start + length] for start in starts]
        gc.collect()  # what making the prompts left is not the scorer's
        took = [_took_us(scorer, prompt) for prompt in prompts]
        wall, cpu = (statistics.quantiles(column, n=100) for column in zip(*took, strict=True))
        found.append(Round(wall[49], wall[98], cpu[49], cpu[98]))
    return found


def _took_us(scorer: Scorer, prompt: str) -> tuple[float, float]:
    begun, worked = time.perf_counter_ns(), time.thread_time_ns()
    decide(Asked(score=scorer.score(Prompt(prompt)), alpha=ALPHA), scorer.calibration)
    return (time.perf_counter_ns() - begun) / 1000, (time.thread_time_ns() - worked) / 1000


def flipped_share(scorer: Scorer, rows: Sequence[Row]) -> float:
    """The share of prompts whose tier changes when the first stated change is applied."""
    flipped = 0
    for row in rows:
        asked = Asked(score=scorer.score(row.prompt), alpha=ALPHA, tag=row.prompt.tag)
        now, stated = decide(asked, scorer.calibration), flips(asked, scorer.calibration)
        flipped += bool(stated) and decide(applied(stated[0], asked), scorer.calibration).tier not in (None, now.tier)
    return flipped / len(rows)


def steps(scorer: Scorer, rows: Sequence[Row]) -> Counter[str]:
    """Which step of `hybrid` decides each prompt as a request of its own; the judge is not asked."""
    table = compile_table(BUILT_IN)
    found: Counter[str] = Counter()
    for row in rows:
        facts = _facts(row.prompt.text)
        if any(table.matching(facts, wall())):
            found["rules"] += 1
            continue
        choice = decide(Asked(score=scorer.score(row.prompt), alpha=ALPHA, tag=row.prompt.tag), scorer.calibration)
        found["judge" if choice.tier is None else "scorer"] += 1
    return found


def _facts(text: str) -> Facts:
    """The facts of a request that says no more than this."""
    return read_facts(
        Surface.CHAT,
        msgspec.json.decode(request_body(text, model="auto", hints={}), type=dict[str, msgspec.Raw]),
        importance=Importance.NORMAL,
        task_type=None,
        model="auto",
        headers={},
        stream=False,
    )


def strange_prompts(rows: Sequence[Row], *, count: int) -> dict[str, list[str]]:
    """Prompts of kinds that no row is of, made from rows."""
    rng = random.Random(0)
    texts = [row.prompt.text for row in rng.sample(list(rows), count)]
    cyrillic = str.maketrans({chr(97 + n): chr(0x430 + n) for n in range(26)})
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return {
        "another script": [text.lower().translate(cyrillic) for text in texts],
        "base64 blobs": ["".join(rng.choices(alphabet, k=len(text))) for text in texts],
        "words nobody wrote": [
            " ".join("".join(rng.sample("bcdfghjklmnpqrstvwxz", 6)) for _ in text.split()) for text in texts
        ],
        "log lines": [
            "\n".join(
                f"2026-01-{rng.randrange(1, 29):02} ERROR [worker-{rng.randrange(64)}] 0x{rng.getrandbits(48):012x} "
                f"retry={rng.randrange(9)} upstream=10.0.{rng.randrange(256)}.7:{rng.randrange(9999)}"
                for _ in range(12)
            )
            for _ in texts
        ],
        "one letter repeated": ["a " * len(text) for text in texts],
    }


def turned_away(scorer: Scorer, prompts: Sequence[str]) -> float:
    """The share of prompts the guard does not know."""
    return sum(not scorer.score(Prompt(prompt)).in_distribution for prompt in prompts) / len(prompts)


def scorer_of(artifact: Artifact) -> Scorer:
    """The serving scorer, warm."""
    scorer = Scorer(artifact)
    scorer.warm()
    return scorer
