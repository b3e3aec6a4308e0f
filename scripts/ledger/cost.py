#!/usr/bin/env python3
"""Measures what keeping costs a request: the same gateway with and without storage, and with a budget, round by round.

Run it as scripts/ledger/exam cost, after scripts/bench/setup nginx. Upstream, load and counting are those of
scripts/bench: the gateway alone on core 0, everything else on core 1. Wants two idle cores.
"""

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import replace

import measure
from bench import program
from measure import Row
from scripts.ledger.figures import parse, publish
from scripts.recorded import ROOT, short, spread
from targets import NOTHING_KEPT, OUR_PORT, UPSTREAM_PORT, Options, Target, Workspace, octoroute, our_config
from tests.fakes.office import BOSS, ENV

BOUND_US = 40.0
PRICED = 'base_url = "http://127.0.0.1:{port}/v1"\n'
PRICES = "input_cost_per_mtok = 0.15\noutput_cost_per_mtok = 0.6\ncached_input_cost_per_mtok = 0.075\n"
BOSS_TOML = '[[auth.keys]]\nname = "boss"\nrole = "admin"\nenv = "BOSS_KEY"\n'
BUDGETS = {"daily": 1e6, "monthly": 1e6}
LIMITS = {"requestsPerMinute": 1_000_000_000, "tokensPerMinute": 1_000_000_000_000}
KINDS = ("without storage", "with storage", "with a key's limits and budgets")
CONNECTIONS = (32, 1)


def targets(space: Workspace, options: Options) -> Mapping[str, Target]:
    """The gateway in three ways, each with a folder of its own."""
    found = {}
    for kind in KINDS:
        folder = space.work / kind.replace(" ", "-").replace("'", "")
        folder.mkdir()
        endpoint = PRICED.format(port=UPSTREAM_PORT)
        config = our_config(upstream=UPSTREAM_PORT).replace(endpoint, endpoint + PRICES) + BOSS_TOML
        if kind != KINDS[0]:
            config = config.replace(NOTHING_KEPT, "")
        (folder / "config.toml").write_text(config)
        target = octoroute(options, config=folder / "config.toml")
        found[kind] = replace(target, name=folder.name, environment=dict(ENV))
    return found


def with_key(target: Target) -> Target:
    """The target with a key that has limits and budgets, asked for at the running gateway."""
    name = f"bench {time.monotonic_ns()}"  # each round asks for its own, in the same database
    body = json.dumps({"name": name, "role": "inference", "limits": LIMITS, "budgets": BUDGETS}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {BOSS}"}
    request = urllib.request.Request(f"http://127.0.0.1:{OUR_PORT}/api/keys", body, headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        return replace(target, headers={"x-api-key": json.load(answer)["key"]})


def run(
    space: Workspace, known: Mapping[str, Target], *, rounds: int, seconds: int
) -> dict[tuple[str, int], list[Row]]:
    """Every window of every round, the ways interleaved."""
    found: dict[tuple[str, int], list[Row]] = {}
    with measure.upstream(space, port=UPSTREAM_PORT):
        for _ in range(rounds):
            for kind, target in known.items():
                with measure.running(space, replace(target, headers={"x-api-key": BOSS})) as process:
                    asking = with_key(target) if kind == KINDS[2] else replace(target, headers={"x-api-key": BOSS})
                    measure.requests(space, asking, process, connections=32, seconds=1, kb=1)  # warm
                    for connections in CONNECTIONS:
                        row = measure.requests(space, asking, process, connections=connections, seconds=seconds, kb=1)
                        found.setdefault((kind, connections), []).append(row)
    return found


def added(found: Mapping[tuple[str, int], list[Row]], kind: str, connections: int, key: str) -> list[float]:
    """What a way has more than the one without storage, round by round."""
    pairs = zip(found[kind, connections], found[KINDS[0], connections], strict=True)
    return [mine[key] - bare[key] for mine, bare in pairs]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--octoroute", type=program, default=str(ROOT / ".venv/bin/octoroute"), help="our program")
    parser.add_argument("--model", default="fast", help="what it is asked for")
    args = parse(parser)
    space = Workspace()
    measure.allow_many_files()
    known = targets(space, Options(octoroute=args.octoroute, model=args.model))
    found = run(space, known, rounds=args.rounds, seconds=args.seconds)
    rows = []
    for kind in KINDS:
        for connections in CONNECTIONS:
            of = found[kind, connections]
            rows.append(
                (
                    kind,
                    str(connections),
                    spread([row["cpu_per_1k"] * 1000 for row in of]),
                    spread([1000 * each for each in added(found, kind, connections, "cpu_per_1k")]),
                    spread([row["p50_us"] for row in of]),
                    short(max(row["p99_us"] for row in of)),
                    short(sum(row["bad"] for row in of)),
                )
            )
    head = ("", "at once", "CPU a request (µs)", "more than without (µs)", "p50 (µs)", "worst p99 (µs)", "failed")
    note = f"{args.rounds} interleaved rounds, {args.seconds} s a window, bound {BOUND_US:.0f} µs more at 32 at once"
    publish("cost", rows, document=args.document, note=note, head=head)
    costs = added(found, KINDS[1], 32, "cpu_per_1k")
    failed = sum(row["bad"] for of in found.values() for row in of)
    return 1 if failed or sorted(costs)[len(costs) // 2] * 1000 > BOUND_US else 0


if __name__ == "__main__":
    sys.exit(main())
