#!/usr/bin/env python3
"""Runs thousands of simulated canary deployments through the code that judges live ones.

Run it as scripts/registry/exam canaries. It exits 1 when too few canaries that are clearly worse were rolled back
within minRequests and twenty more of their requests, when too many of equal quality were rolled back, or when anything
moved without traffic.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Sequence
from typing import Final

from octoroute_py.routing.rollout import Call
from scripts.ledger.figures import parse, publish
from tests.fakes.canary_runs import GRACE, LIMIT, in_time, rolled_back, steady, still, turning

WORSE: Final = (0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
CLEARLY: Final = 3 * LIMIT
EQUAL: Final = (0.01, LIMIT / 2)
LEAST: Final = (50, 100, 200, 500)
ENOUGH: Final = 100
"""What is demanded is demanded from this `minRequests` on."""
IN_TIME: Final = 0.99
FALSE_ALARMS: Final = 0.15
LOOKS: Final = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000, help="of each kind")
    parser.add_argument("--least", type=int, nargs="*", default=LEAST, help="values of minRequests")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="told in the result")
    args = parse(parser)
    chance = random.Random(args.seed)
    rows, problems = [], []
    for least in args.least:
        for rate in WORSE:
            found, late = steady(args.runs, least, rate, chance), turning(args.runs, least, rate, chance)
            soon = in_time(found, least)
            noticed = sum(each <= least + GRACE for each in late) / len(late)
            until = _ends([each.requests for each in found])
            rows.append((f"fails {_part(rate)}, minRequests {least}", _part(soon), until, _part(noticed), _ends(late)))
            if soon < IN_TIME and least >= ENOUGH and rate >= CLEARLY:
                problems.append(f"only {_part(soon)} in time at {rate} and {least}")
        for rate in EQUAL:
            found = steady(args.runs, least, rate, chance)
            back = rolled_back(found)
            done = [each.requests for each in found if each.call is Call.COMPLETE]
            told = f"{_part(len(done) / args.runs)} completed, after {_ends(done)}"
            rows.append((f"fails {_part(rate)}, minRequests {least}", f"{_part(back)} at all", told, "", ""))
            if back > FALSE_ALARMS and least >= ENOUGH:
                problems.append(f"{_part(back)} false alarms at {rate} and {least}")
    moved = still(LOOKS)
    rows.append((f"no traffic, looked at {LOOKS:,} times", f"moved {moved} times", "", "", ""))
    problems += [f"it moved {moved} times without traffic"] * (moved > 0)
    head = (
        f"canary that may fail {_part(LIMIT)}",
        f"rolled back within minRequests + {GRACE}",
        "its requests until the end: median (99th percentile)",
        "in time, where it turned so only later",
        "its requests from then on",
    )
    publish("canaries", rows, document=args.document, note=f"{args.runs} runs each, seed {args.seed}", head=head)
    print("\n".join(problems), file=sys.stderr)
    return int(bool(problems))


def _part(part: float) -> str:
    return f"{part * 100:.3g} %"


def _ends(numbers: Sequence[int]) -> str:
    ordered = sorted(numbers)
    return f"{statistics.median(ordered):.0f} ({ordered[int(len(ordered) * 0.99)]})" if ordered else "none"


if __name__ == "__main__":
    sys.exit(main())
