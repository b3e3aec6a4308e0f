#!/usr/bin/env python3
"""Has schemathesis try every operation of the management API, as /openapi.json describes it, at a real gateway.

Run it as scripts/registry/exam fuzz. Part of the calls is what the description allows, part is not, and most name what
is there. It exits 1 when an answer has a status from 500 on that is not told, or a status, type of content, header or
body other than described, or when the gateway's log has an error of its own.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx
import schemathesis

from scripts.ledger.figures import parse, publish
from tests.fakes import turns
from tests.fakes.fuzzing import BASE, Asked, Tried, fuzz
from tests.fakes.gateway import RunningGateway, gateway, rule_config
from tests.fakes.office import BOSS, ENV
from tests.fakes.upstream import FakeUpstream

MORE = """
[[auth.keys]]
name = "boss"
role = "admin"
env = "BOSS_KEY"
[storage]
url = "sqlite:///octoroute.db"
[registry]
allow_networks = ["127.0.0.0/8"]
allow_ports = [9]
[health]
enabled = false
"""
LIMIT_S = 60.0


async def examine(args: argparse.Namespace, folder: Path) -> tuple[list[Tried], list[str]]:
    """What came of every operation, and the errors in the gateway's log."""
    async with FakeUpstream() as upstream:
        upstream.always(turns.good_answer)
        url = [upstream.base_url]
        async with gateway(rule_config(url, url, url, more=MORE), folder, env=ENV) as running:
            found = await asyncio.to_thread(tried, running, args)
            return found, [line for line in running.log.splitlines() if "[error" in line or "Traceback" in line]


def tried(running: RunningGateway, args: argparse.Namespace) -> list[Tried]:
    """Every operation, told as it is done."""
    found = []
    with httpx.Client(headers={"x-api-key": BOSS}, timeout=LIMIT_S) as client:

        def ask(asked: Asked) -> httpx.Response:
            url = asked.url.replace(BASE, running.url, 1)
            return client.request(asked.method, url, headers=asked.headers, content=asked.body)

        document = client.get(f"{running.url}/openapi.json").json()
        for one in fuzz(document, ask, examples=args.examples, seed=args.seed, only=args.only):
            found.append(one)
            print(f"{one.operation:60} {one.cases:5} {one.statuses}", file=sys.stderr, flush=True)
            print(*one.failures, sep="\n", end="\n" if one.failures else "", file=sys.stderr, flush=True)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=200, help="of each operation")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="told in the result")
    parser.add_argument("--only", default="", help="part of a method and path, such as POST /api/models")
    args = parse(parser)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="octoroute-fuzz-") as folder:
        found, errors = asyncio.run(examine(args, Path(folder)))
    took_s = time.monotonic() - began
    statuses: Counter[int] = Counter()
    for one in found:
        statuses.update(one.statuses)
    failures = sum(len(one.failures) for one in found)
    note = f"schemathesis {schemathesis.__version__}, seed {args.seed}, {took_s:.0f} s"
    publish("fuzz", rows(found, statuses), document=args.document, note=note, head=("the API as described", "calls"))
    told = {"operations": len(found), "cases": statuses.total(), "failures": failures, "errors": len(errors)}
    print(json.dumps(told | {"seed": args.seed, "seconds": round(took_s, 1)}), flush=True)
    print("\n".join(errors[:20]), file=sys.stderr)
    return int(bool(failures or errors))


def rows(found: list[Tried], statuses: Counter[int]) -> list[tuple[str, str]]:
    """What was called, and how the calls ended."""
    return [
        ("operations", f"{len(found)}"),
        ("calls", f"{statuses.total():,}"),
        *((f"answered {status}", f"{statuses[status]:,}") for status in sorted(statuses)),
        ("not as described", f"{sum(len(one.failures) for one in found)} kinds"),
    ]


if __name__ == "__main__":
    sys.exit(main())
