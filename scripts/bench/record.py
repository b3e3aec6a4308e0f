#!/usr/bin/env python3
"""Measures what a request costs and writes the figures into docs/performance.md, between the two markers there.

Run it as scripts/bench/record, which installs what it needs: the gateway stage, or with --all-on everything there is
(a key, limits, hybrid with the scorer, the journal). It exits 1 when one of our own requests failed.
"""

import argparse
import datetime
import importlib.metadata
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import measure
from bench import Plan, Results, program, run_rounds, window
from scripts.recorded import ROOT, machine, short, spread, write_between_markers
from targets import KEY, UPSTREAM_PORT, Options, Workspace, all_targets, octoroute, our_config

COMPARED = ("octoroute", "floor", "nginx", "direct")
VERSIONS = ("octoroute-py", "uvicorn", "uvloop", "httptools", "starlette", "msgspec")
SLOW_PORT, SLOW_EVENTS, SLOW_GAP_US = 9101, 40, 200_000
LIVE_STREAMS = 500
C1, C32, BIG = window(connections=1, kb=1), window(connections=32, kb=1), window(connections=32, kb=100)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure: how it is read from a round, its bounds if any; `at_least` turns them round.

    `bound` is that of the gateway stage, `all_on` that with everything on.
    """

    name: str
    of: Callable[[int], float]
    bound: float | None = None
    all_on: float | None = None
    aim: float | None = None
    at_least: bool = False


def figures(results: Results, live_kb: list[float]) -> list[Figure]:
    """The figures with their bounds."""

    def value(target: str, of: str, key: str) -> Callable[[int], float]:
        return lambda n: results[target, of][n][key]

    def ratio(of: str, key: str) -> Callable[[int], float]:
        return lambda n: results["octoroute", of][n][key] / results["floor", of][n][key]

    def added(target: str, of: str, key: str) -> Callable[[int], float]:
        return lambda n: results[target, of][n][key] - results["direct", of][n][key]

    def in_units_of_nginx(n: int) -> float:
        return added("octoroute", C1, "p50_us")(n) / added("nginx", C1, "p50_us")(n)

    def milliseconds(key: str) -> Callable[[int], float]:
        return lambda n: results["octoroute", C32][n][key] / 1000

    cpu = value("octoroute", C32, "cpu_per_1k")
    return [
        Figure(name="CPU-s per 1,000, c=32, 1 KB", of=cpu, bound=0.075, all_on=0.10, aim=0.050),
        Figure(name="× the floor in the same round", of=ratio(C32, "cpu_per_1k"), bound=2.3, all_on=3.1, aim=1.6),
        Figure(
            name="rps per core, c=32",
            of=lambda n: 1000 / cpu(n),
            bound=13_000,
            all_on=10_000,
            aim=20_000,
            at_least=True,
        ),
        Figure(name="added p50 at c=1, in units of nginx's", of=in_units_of_nginx, bound=1.6, all_on=1.9, aim=1.4),
        Figure(name="p50 at c=32 (ms)", of=milliseconds("p50_us"), bound=2.5, all_on=3.2, aim=1.7),
        Figure(name="p99 at c=32 (ms)", of=milliseconds("p99_us"), bound=6, all_on=7, aim=3.5),
        Figure(
            name="CPU-s per 10k stream events",
            of=value("octoroute", "stream", "cpu_per_10k_events"),
            bound=0.42,
            all_on=0.45,
            aim=0.30,
        ),
        Figure(
            name="added time to first event, 64 starts in 10 ms, p50 (ms)",
            of=added("octoroute", "stream", "ttfe_p50_ms"),
            bound=4,
            all_on=6,
            aim=1,
        ),
        Figure(name="100 KB prompts, CPU × floor, c=32", of=ratio(BIG, "cpu_per_1k"), bound=1.5, all_on=1.8, aim=1.2),
        Figure(name="RSS after load (MB)", of=value("octoroute", "process", "rss_mb"), bound=80, all_on=190),
        Figure(name="RSS after 100 KB prompts too (MB)", of=value("octoroute", "process", "rss_end_mb")),
        Figure(
            name=f"RSS per live stream, {LIVE_STREAMS} live (KB)", of=lambda n: live_kb[n], bound=60, all_on=80, aim=40
        ),
        Figure(
            name="start to first 200 (s)", of=value("octoroute", "process", "start_s"), bound=1.5, all_on=1.5, aim=0.7
        ),
    ]


def limit(bound: float | None, *, at_least: bool) -> str:
    """A bound as it is written in the table."""
    return "" if bound is None else f"{'≥' if at_least else '≤'} {short(bound)}"


def verdict(median: float, bound: float | None, *, at_least: bool) -> str:
    """Whether the figure is within its bound."""
    if bound is None:
        return ""
    within = median >= bound if at_least else median <= bound
    return "yes" if within else "**no**"


def bounds_table(results: Results, live_kb: list[float], *, rounds: int, all_on: bool) -> list[str]:
    """Our figures beside their bounds."""
    lines = ["| figure | octoroute, median (spread) | bound | aim | within |", "|---|---|---|---|---|"]
    for figure in figures(results, live_kb):
        values = [figure.of(n) for n in range(rounds)]
        number = figure.all_on if all_on else figure.bound
        within = verdict(statistics.median(values), number, at_least=figure.at_least)
        bound, aim = (limit(each, at_least=figure.at_least) for each in (number, figure.aim))
        lines.append(f"| {figure.name} | {spread(values)} | {bound} | {aim} | {within} |")
    return lines


def windows_table(results: Results) -> list[str]:
    """Every window of buffered requests and the streams, target by target."""
    lines = [
        "| window | target | requests/s | p50 (ms) | p99 (ms) | CPU-s per 1,000 | failed |",
        "|---|---|---|---|---|---|---|",
    ]
    for (target, of), rows in sorted(results.items(), key=lambda item: (item[0][1], COMPARED.index(item[0][0]))):
        if "rps" not in rows[0]:
            continue
        rate, cpu = (spread([row[key] for row in rows]) for key in ("rps", "cpu_per_1k"))
        p50, p99 = (spread([row[key] / 1000 for row in rows]) for key in ("p50_us", "p99_us"))
        failed = round(sum(row["bad"] for row in rows))
        lines.append(f"| {of} | {target} | {rate} | {p50} | {p99} | {cpu} | {failed} |")
    lines += [
        "",
        "| streams (64 at once) | CPU-s per 10k events | first event p50 (ms) | first event p99 (ms) | failed |",
    ]
    lines += ["|---|---|---|---|---|"]
    for target in COMPARED:
        rows = results[target, "stream"]
        keys = ("cpu_per_10k_events", "ttfe_p50_ms", "ttfe_p99_ms")
        cells = " | ".join(spread([row[key] for row in rows]) for key in keys)
        lines.append(f"| {target} | {cells} | {round(sum(row['bad'] for row in rows))} |")
    return lines


def versions() -> str:
    """Python, ours, the packages on the hot path and nginx."""
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=True).stderr.strip().split("/")[-1]
    packages = [f"{name} {importlib.metadata.version(name)}" for name in VERSIONS]
    return ", ".join([f"Python {platform.python_version()}", *packages, f"nginx {nginx}"])


def report(results: Results, live_kb: list[float], *, plan: Plan, model: str, all_on: bool) -> str:
    """The Markdown between the markers."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    head = [
        f"Measured {today} on {machine()}, Linux {platform.release()}; {versions()}.",
        f"{plan.rounds} interleaved rounds, {plan.seconds} s a window, `model: {model}`; median (lowest to highest).",
    ]
    bounds = bounds_table(results, live_kb, rounds=plan.rounds, all_on=all_on)
    return "\n".join([*head, "", *bounds, "", *windows_table(results)])


def live_stream_memory(space: Workspace, options: Options, *, rounds: int, all_on: bool) -> list[float]:
    """KB a live stream, by round, against an upstream slow enough that nothing is CPU-bound."""
    target = octoroute(options, config=space.write("live.toml", our_config(upstream=SLOW_PORT, all_on=all_on)))
    found = []
    with measure.upstream(space, port=SLOW_PORT, events=SLOW_EVENTS, gap_us=SLOW_GAP_US):
        for _ in range(rounds):
            with measure.running(space, target) as process:
                measure.requests(space, target, process, connections=32, seconds=1, kb=1)  # warm
                found.append(measure.kb_per_live_stream(space, target, process, connections=LIVE_STREAMS))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--octoroute", type=program, default=str(ROOT / ".venv/bin/octoroute"), help="our program")
    parser.add_argument("--model", default="auto", help="what it is asked for: auto for the whole decision, or a tier")
    parser.add_argument("--all-on", action="store_true", help="with a key, limits, hybrid and the journal")
    parser.add_argument("--document", type=Path, default=ROOT / "docs/performance.md")
    parser.add_argument("--out", type=Path, default=ROOT / "bench.jsonl", help="every window as a JSON line")
    args = parser.parse_args()

    space = Workspace()
    headers = {"Authorization": f"Bearer {KEY}"} if args.all_on else {}
    config = space.write("ours.toml", our_config(upstream=UPSTREAM_PORT, all_on=args.all_on))
    options = Options(octoroute=args.octoroute, model=args.model, headers=headers, config=config)
    known = all_targets(space, options)
    plan = Plan(rounds=args.rounds, seconds=args.seconds, connections=(1, 32, 256), kb=(1, 100), streams=True)
    measure.allow_many_files()
    results = run_rounds(space, [known[name] for name in COMPARED], plan=plan, out=args.out)
    live_kb = live_stream_memory(space, options, rounds=args.rounds, all_on=args.all_on)
    text = report(results, live_kb, plan=plan, model=args.model, all_on=args.all_on)
    write_between_markers(args.document, "bench-all-on" if args.all_on else "bench", text)
    print(text)
    failed = sum(row.get("bad", 0) for (target, _), rows in results.items() if target == "octoroute" for row in rows)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
