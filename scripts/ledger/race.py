#!/usr/bin/env python3
"""Has 200 clients race for a budget of ten reservations, again and again, and mixes streams, cancels and faults in.

Run it as scripts/ledger/exam race. It exits 1 when more or fewer than ten were admitted, when more was ever spent than
allowed, or when the journal's sum is another.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import uvloop

from scripts.ledger.figures import parse, publish
from tests.fakes.orders import Order, left_uusd
from tests.fakes.race import RESERVED_UUSD, Mixture, Race, Rush, race, usd

ASKING, FITTING = 200, 10
WAVES, A_WAVE = 4, 200
MIXED_FITTING = 100


class Round(NamedTuple):
    """One race and one mixture; what the API told of the budget afterwards."""

    rush: Rush
    mixture: Mixture
    left_uusd: int
    wrong_rows: list[str]

    @property
    def problems(self) -> Iterator[str]:
        """What should not be."""
        if self.rush.statuses != {200: FITTING, 429: ASKING - FITTING} or self.rush.upstream != FITTING:
            yield f"of {ASKING}: {self.rush.statuses}, {self.rush.upstream} reached the upstream"
        limit = MIXED_FITTING * RESERVED_UUSD
        if self.mixture.highest_uusd > limit:
            yield f"{self.mixture.highest_uusd} of {limit} micro-USD were spent or held"
        if self.left_uusd != limit - self.mixture.after.spent_uusd:
            yield f"{self.left_uusd} left of {limit}, by the journal {limit - self.mixture.after.spent_uusd}"
        yield from self.wrong_rows


async def one_round(run: Race, number: int, chance: random.Random) -> Round:
    """With keys of its own."""
    racer = await run.office.issue(f"racer {number}", budgets={"monthly": usd(FITTING * RESERVED_UUSD)})
    orders = [Order(id=f"race{number}-{n}", stream=chance.random() < 0.5) for n in range(ASKING)]
    rush = await run.rush(racer, orders, fitting=FITTING)
    limit = MIXED_FITTING * RESERVED_UUSD
    mixed = await run.office.issue(f"mixed {number}", budgets={"monthly": usd(limit)})
    mixture = await run.mixture(mixed, waves=WAVES, a_wave=A_WAVE, chance=chance, name=f"{number}-")
    left = await left_uusd(run.port, mixed, most=limit)
    return Round(rush, mixture, left, run.wrong_rows(mixture))


async def examine(rounds: int, *, seed: int) -> list[Round]:
    """All on one gateway."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="octoroute-race-") as folder:
        async with race(Path(folder), routing="") as run:
            return [await one_round(run, number, chance) for number in range(rounds)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="told in the result")
    args = parse(parser)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(examine(args.rounds, seed=args.seed))
    problems = [problem for each in found for problem in each.problems]
    mixed = [each.mixture for each in found]
    exact = sum(each.rush.statuses.get(200) == FITTING for each in found)
    highest = max(each.highest_uusd for each in mixed) / (MIXED_FITTING * RESERVED_UUSD)
    rows = [
        (f"races of {ASKING} for {FITTING} reservations, with exactly {FITTING} admitted", f"{len(found)}, {exact}"),
        ("mixed requests: answered, refused for the budget", _counts(mixed)),
        ("clients that left", f"{sum(each.left for each in mixed):,}"),
        ("looks at what is spent and held; the most that was, of the limit", f"{_looks(mixed):,}; {highest:.1%}"),
        ("differences between answers, budgets and the journal's sum", str(len(problems))),
    ]
    publish("race", rows, document=args.document, note=f"{args.rounds} rounds, seed {args.seed}")
    print("\n".join(problems[:50]), file=sys.stderr)
    return 1 if problems else 0


def _counts(mixed: list[Mixture]) -> str:
    return ", ".join(f"{sum(each.statuses[status] for each in mixed):,}" for status in (200, 429))


def _looks(mixed: list[Mixture]) -> int:
    return sum(each.looks for each in mixed)


if __name__ == "__main__":
    sys.exit(main())
