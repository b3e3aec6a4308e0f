"""How long the scorer takes from a str to a decision: python scripts/bench/scorer.py [--artifact F]

Prints p50 and p99 in microseconds for prompts of about 128 and 512 tokens (4 characters a token), for 1 MB, and for the
reading and the policy alone. Garbage is collected before each run, as a gateway at rest would have it.
"""

import argparse
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path

from octoroute_py.features.vector import Prompt
from octoroute_py.neural.decide import choose
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.routing.scorer import Scorer

WORDS = (
    "the of a is which following what value system function energy under law state cell pressure rate number if "
    "contract market theory time between acid current equation best describes mass force patient government"
)


def prompt_of(tokens: int, rng: random.Random) -> str:
    """A multiple-choice question of about so many tokens."""
    words, text = WORDS.split(), ""
    while len(text) < 4 * tokens - 60:
        text += rng.choice(words) + " "
    return f"{text}?\nA. {rng.randint(1, 999)}\nB. {rng.choice(words)}\nC. none of these\nAnswer:"


def measure(decide: Callable[[str], object], prompts: list[str], *, times: int) -> tuple[float, float]:
    """The median and the 99th percentile, in microseconds."""
    for prompt in prompts:
        decide(prompt)
    gc.collect()
    gc.freeze()
    taken = []
    for turn in range(times):
        prompt = prompts[turn % len(prompts)]
        start = time.perf_counter_ns()
        decide(prompt)
        taken.append(time.perf_counter_ns() - start)
    taken.sort()
    return taken[len(taken) // 2] / 1e3, taken[len(taken) * 99 // 100] / 1e3


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--artifact", type=Path, default=shipped_path("default"))
    parser.add_argument("--times", type=int, default=20_000)
    options = parser.parse_args()
    scorer = Scorer(load(options.artifact))
    scorer.warm()
    dial = scorer.calibration.dial(0.05)

    def decide(text: str) -> object:
        return choose(scorer.score(Prompt(text)), dial=dial)

    rng = random.Random(0)
    raw = scorer.raw(Prompt("What is a norm?"))
    short, long = ([prompt_of(tokens, rng) for _ in range(50)] for tokens in (128, 512))
    for name, function, prompts, times in (
        ("str to decision, 128 tokens", decide, short, options.times),
        ("str to decision, 512 tokens", decide, long, options.times),
        ("str to decision, 1 MB", decide, ["word " * 200_000], 2_000),
        ("str to decision, 1 MB of Chinese", decide, ["中文" * 500_000], 2_000),
        ("raw numbers alone, 128 tokens", lambda text: scorer.raw(Prompt(text)), short, options.times),
        ("calibration alone", lambda text: scorer.calibration.score(raw), short, options.times),
    ):
        middle, high = measure(function, prompts, times=times)
        print(f"{name:36} p50 {middle:7.1f} us   p99 {high:7.1f} us")


if __name__ == "__main__":
    main()
