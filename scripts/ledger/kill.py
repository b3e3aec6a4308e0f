#!/usr/bin/env python3
"""Kills a gateway again and again under load, and looks whether its journal lost or doubled anything.

Run it as scripts/ledger/exam kill. The load, the upstream and the record of what clients received live in this
process, the gateway in one of its own. It exits 1 when the journal is not what clients were told.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import uvloop

from scripts.ledger.figures import Table, parse, publish
from scripts.recorded import spread
from tests.fakes.gateway import RunningGateway, gateway
from tests.fakes.ledger import DATABASE, Journal, Row, ledger_config
from tests.fakes.office import ENV, Issued, Office
from tests.fakes.orders import Kitchen, left_uusd
from tests.fakes.traffic import Promise, Traffic, broken
from tests.fakes.upstream import FakeUpstream

BUDGET_USD = 1.0
BUDGET_UUSD = round(BUDGET_USD * 1_000_000)
SETTLED_WITHIN_S = 60.0
START_WITHIN_S = 3.0
LIVES_S = (0.3, 2.5)


class Round(NamedTuple):
    """What one kill came to."""

    sent: int
    whole: int
    done_only: int
    interrupted: int
    start_s: float
    settled_s: float
    problems: list[str]


class Exam:
    """A gateway that dies, its journal and what clients were told so far."""

    def __init__(self, folder: Path, upstream: FakeUpstream, kitchen: Kitchen, *, rate: float, seed: int) -> None:
        self._folder = folder
        self._kitchen = kitchen
        self._rate = rate
        self._chance = random.Random(seed)
        self._config = ledger_config(
            {tier: [upstream.base_url, upstream.base_url] for tier in ("fast", "balanced", "deep")}
        )
        self._journal = Journal(folder / DATABASE)
        self._promises: list[Promise] = []
        self._on_budgets: set[str] = set()
        self._budgeted: list[Issued] = []
        self._keys: list[Issued] = []

    async def run(self, rounds: int) -> list[Round]:
        """So many kills; one start more than that."""
        found: list[Round] = []
        traffic: Traffic | None = None
        for number in range(rounds + 1):
            began = time.monotonic()
            async with AsyncExitStack() as stack:
                running = await stack.enter_async_context(gateway(self._config, self._folder, env=ENV))
                start_s = time.monotonic() - began
                if traffic is not None:
                    found.append(await self._look(running, traffic, start_s))
                    print(f"kill {len(found)}: {found[-1]}", file=sys.stderr, flush=True)
                if not self._keys:
                    await self._issue(Office(running.port))
                if number < rounds:
                    traffic = await self._live(running, number)
        return found

    async def _issue(self, office: Office) -> None:
        for name in ("a", "b"):
            self._budgeted.append(await office.issue(f"budgeted {name}", budgets={"monthly": BUDGET_USD}))
        self._keys = [*self._budgeted, await office.issue("plain")]

    async def _live(self, running: RunningGateway, number: int) -> Traffic:
        traffic = Traffic(running.port, self._keys, chance=self._chance, name=f"r{number}")
        async with traffic.running(self._rate):
            await asyncio.sleep(self._chance.uniform(*LIVES_S))
            running.process.kill()
            await running.process.wait()
        self._promises += traffic.kept
        self._on_budgets |= {sent for key in self._budgeted for sent in traffic.sent_by[key.id]}
        return traffic

    async def _look(self, running: RunningGateway, traffic: Traffic, start_s: float) -> Round:
        """What the journal says of everything that was told so far."""
        began = time.monotonic()
        while self._journal.open_intents() and time.monotonic() - began < SETTLED_WITHIN_S:  # noqa: ASYNC110 - a file
            await asyncio.sleep(0.005)
        settled_s = time.monotonic() - began
        rows = self._journal.by_id()
        problems = [*broken(self._promises, self._journal), *self._of_rows(rows), *await self._of_sums(running)]
        if start_s > START_WITHIN_S:
            problems.append(f"the start took {start_s:.2f} s")
        if self._journal.open_intents():
            problems.append(f"reservations are still held after {SETTLED_WITHIN_S:.0f} s")
        return Round(
            sent=traffic.sent,
            whole=sum(promise.whole for promise in traffic.kept),
            done_only=sum(
                not promise.whole and promise.order.stream and promise.answer.done for promise in traffic.kept
            ),
            interrupted=sum(row.error_code == "interrupted" for found in rows.values() for row in found),
            start_s=start_s,
            settled_s=settled_s,
            problems=problems,
        )

    def _of_rows(self, rows: Mapping[str, list[Row]]) -> Iterator[str]:
        for request_id, found in rows.items():
            if len(found) > 1 and not request_id.startswith("left-"):
                yield f"{request_id} stands {len(found)} times in the journal"
        for missing in self._on_budgets & set(self._kitchen.seen) - set(rows):
            yield f"{missing} was sent on a budget and left no row"

    async def _of_sums(self, running: RunningGateway) -> list[str]:
        problems = []
        if (integrity := self._journal.integrity()) != "ok":
            problems.append(f"integrity_check: {integrity}")
        for key in self._budgeted:
            left, due = await left_uusd(running.port, key, most=BUDGET_UUSD), BUDGET_UUSD - self._journal.spent(key.id)
            if left != due:
                problems.append(f"{key.id} has {left} micro-USD left, by the journal {due}")
        told = await Office(running.port).look("/api/analytics/savings?timeRange=24h")
        if round(told["cost"] * 1_000_000) != self._journal.total_uusd():
            problems.append(f"the API says {told['cost']} USD, the journal {self._journal.total_uusd()} micro-USD")
        return problems


async def examine(rounds: int, *, rate: float, seed: int) -> list[Round]:
    """Run it in a temporary folder."""
    kitchen = Kitchen()
    with tempfile.TemporaryDirectory(prefix="octoroute-kill-") as folder:
        async with FakeUpstream() as upstream:
            upstream.always(kitchen.serve)
            return await Exam(Path(folder), upstream, kitchen, rate=rate, seed=seed).run(rounds)


def table(found: list[Round], *, rate: float) -> Table:
    """What the rounds came to."""
    problems = [problem for each in found for problem in each.problems]
    return [
        (f"kill -9 under {rate:.0f} requests/s", f"{len(found)} times"),
        ("requests sent, answers received whole", f"{sum(r.sent for r in found):,}, {sum(r.whole for r in found):,}"),
        ("rows missing, doubled, with a wrong cost; wrong sums", f"{len(set(problems))}"),
        ("requests that a kill interrupted, settled at the next start", f"{found[-1].interrupted:,}"),
        ("streams cut between `[DONE]` and their last byte", f"{sum(r.done_only for r in found)}"),
        ("start to listening (s)", spread([r.start_s for r in found])),
        ("from there until no reservation of the dead is held (s)", spread([r.settled_s for r in found])),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="told in the result")
    args = parse(parser)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(examine(args.rounds, rate=args.rate, seed=args.seed))
    publish(
        "kill", table(found, rate=args.rate), document=args.document, note=f"{args.rounds} rounds, seed {args.seed}"
    )
    problems = [problem for each in found for problem in each.problems]
    print("\n".join(problems[:50]), file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
