#!/usr/bin/env python3
"""Holds a gateway's database from another process while streams run and requests come, and tells what they saw of it.

Run it as scripts/ledger/exam locked. It exits 1 when a client met an error, a stream waited or a row was lost.
"""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

import uvloop

from scripts.ledger.figures import parse, publish
from scripts.recorded import short
from tests.fakes.lockdown import PAUSE_S, Lockdown, lockdown

ADDED_GAP_S = 0.25


async def examine(seconds: list[float]) -> list[Lockdown]:
    """One gateway after the other."""
    found = []
    for hold_s in seconds:
        with tempfile.TemporaryDirectory(prefix="octoroute-locked-") as folder:
            found.append(await lockdown(Path(folder), hold_s=hold_s))
    return found


def wrong(found: Lockdown) -> list[str]:
    """What should not have happened."""
    problems = list(found.problems)
    if set(found.statuses) != {200}:
        problems.append(f"clients got {dict(found.statuses)}: {found.broke[:5]}")
    if found.unsound:
        problems.append(f"{found.unsound} streams were not as they should be")
    if found.gap_held_s > PAUSE_S + ADDED_GAP_S:
        problems.append(f"a stream was silent for {found.gap_held_s:.3f} s")
    if not found.states["degraded"]:
        problems.append("operators were not told")
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="+", default=[3.0, 60.0])
    args = parse(parser)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(examine(args.seconds))
    rows = [
        ("requests answered, with an error", *(f"{sum(x.statuses.values()):,}, {_errors(x)}" for x in found)),
        ("slowest buffered answer (s)", *(short(x.slowest_s) for x in found)),
        ("live streams, broken", *(f"{x.streams}, {x.unsound}" for x in found)),
        (
            f"longest gap between events {PAUSE_S * 1000:.0f} ms apart, before and meanwhile (ms)",
            *(f"{short(x.gap_before_s * 1000)}, {short(x.gap_held_s * 1000)}" for x in found),
        ),
        ("all rows in after the release (s)", *(short(x.caught_up_s) for x in found)),
        ("rows missing, doubled or wrong", *(str(len(x.problems)) for x in found)),
    ]
    head = ("held for", *(f"{seconds:.0f} s" for seconds in args.seconds))
    publish("locked", rows, document=args.document, note="another process holds BEGIN EXCLUSIVE", head=head)
    problems = [problem for each in found for problem in wrong(each)]
    print("\n".join(problems[:50]), file=sys.stderr)
    return 1 if problems else 0


def _errors(found: Lockdown) -> int:
    return sum(count for status, count in found.statuses.items() if status != 200)


if __name__ == "__main__":
    sys.exit(main())
