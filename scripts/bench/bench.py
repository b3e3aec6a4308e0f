#!/usr/bin/env python3
"""Our gateway, the peers, the floor and nginx in one run: CPU per request, rates, latency, streaming, memory.

    setup                                                                # once
    bench.py --rounds 3 direct nginx floor vllm smg litellm portkey octoroute
    bench.py --octoroute .venv/bin/octoroute --config my.toml octoroute  # a configuration of your own (upstream: 9100)

Targets are interleaved round by round; medians are printed, and every window is appended to --out as a JSON line. CPU
repeats within a few per cent where latencies do not. Needs two cores and a machine that does nothing else.
"""

import argparse
import json
import statistics
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import measure
from measure import Row, Running
from targets import UPSTREAM_PORT, Options, Target, Workspace, all_targets

Results = dict[tuple[str, str], list[Row]]
"""The rows of each (target, window), one a round."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is run in a round."""

    rounds: int
    seconds: int
    connections: tuple[int, ...]
    kb: tuple[int, ...]
    streams: bool


def window(*, connections: int, kb: int) -> str:
    """The name of a window of buffered requests."""
    return f"c{connections} {kb}KB"


def run_windows(space: Workspace, target: Target, process: Running, *, plan: Plan) -> dict[str, Row]:
    """One round of one running target: a row for each window; memory is read after the first size and the streams."""
    measure.requests(space, target, process, connections=32, seconds=1, kb=1)  # warm
    rows: dict[str, Row] = {}

    def run_size(kb: int) -> None:
        for connections in plan.connections:
            rows[window(connections=connections, kb=kb)] = measure.requests(
                space, target, process, connections=connections, seconds=plan.seconds, kb=kb
            )

    run_size(plan.kb[0])
    if plan.streams:
        rows["stream"] = measure.streams(space, target, process)
    rows["process"] = {"start_s": process.start_s, "rss_mb": measure.rss_mb(process.pids())}
    for kb in plan.kb[1:]:
        run_size(kb)
    rows["process"]["rss_end_mb"] = measure.rss_mb(process.pids())
    return rows


def run_rounds(space: Workspace, targets: Iterable[Target], *, plan: Plan, out: Path) -> Results:
    """All rounds of all targets, interleaved."""
    targets = list(targets)
    results: Results = {}
    with measure.upstream(space, port=UPSTREAM_PORT) as server, out.open("a") as log:
        for number in range(plan.rounds):
            for target in targets:
                started = nullcontext(server) if target.command is None else measure.running(space, target)
                with started as process:
                    rows = run_windows(space, target, process, plan=plan)
                for name, row in rows.items():
                    results.setdefault((target.name, name), []).append(row)
                    log.write(json.dumps({"target": target.name, "window": name, "round": number, **row}) + "\n")
    return results


def numbers(text: str) -> tuple[int, ...]:
    """A comma-separated list of whole numbers."""
    return tuple(int(word) for word in text.split(","))


def program(text: str) -> str:
    """A program to run, independent of the folder it is run in."""
    return str(Path(text).absolute()) if "/" in text else text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["direct", "nginx", "floor", "vllm", "smg", "portkey", "octoroute"]
    parser.add_argument("names", nargs="*", default=default)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--conns", type=numbers, default=(1, 32, 256))
    parser.add_argument("--kb", type=numbers, default=(1,))
    parser.add_argument("--no-stream", action="store_true")
    parser.add_argument("--octoroute", type=program, default="octoroute", help="our program")
    parser.add_argument("--config", type=Path, help="a configuration for it; its upstream listens on port 9100")
    parser.add_argument("--model", default="fast", help="what it is asked for: a tier, or auto for the whole decision")
    parser.add_argument("--header", action="append", default=[], help="NAME=VALUE, sent to it")
    parser.add_argument("--out", type=Path, default=Path("bench.jsonl"))
    args = parser.parse_args()

    headers = dict(header.split("=", 1) for header in args.header)
    config = args.config.resolve() if args.config else None
    options = Options(octoroute=args.octoroute, model=args.model, config=config, headers=headers)
    space = Workspace()
    known = all_targets(space, options)
    if unknown := set(args.names) - set(known):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    plan = Plan(
        rounds=args.rounds, seconds=args.seconds, connections=args.conns, kb=args.kb, streams=not args.no_stream
    )
    measure.allow_many_files()
    results = run_rounds(space, [known[name] for name in args.names], plan=plan, out=args.out)
    for (name, of), rows in results.items():
        medians = {key: round(statistics.median(row[key] for row in rows), 4) for key in rows[0]}
        print(f"{name:10s} {of:10s} " + " ".join(f"{key}={value}" for key, value in medians.items()))


if __name__ == "__main__":
    main()
