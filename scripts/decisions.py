#!/usr/bin/env python3
"""Who decides: sends labelled prompts through a real gateway and counts the step that chose the tier of each.

usage: scripts/decisions.py --data FILE [--data FILE ...] [--prompts N] [--artifact FILE]

Three simulated models answer, one of them as the judge. Each prompt is first explained (POST /v1/routing/explain) and
then sent; the two must name the same tier, strategy and reason, or the script ends with 1.
"""

import argparse
import asyncio
import collections
import gzip
import json
import random
import sys
import tempfile
import time
from pathlib import Path

import httpx

from octoroute_py.cli.demo import demo_config
from octoroute_py.simulator.fleet import serve_fleet

AT_ONCE = 8
SPEED = 1e6
NAMES = ("tier", "strategy", "reason")


def prompts_of(paths: list[Path], most: int) -> list[tuple[str, str]]:
    """So many (source, prompt) of the files, drawn without order but always the same."""
    rows: list[tuple[str, str]] = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            rows += [(row.get("source", "own"), row["prompt"]) for row in map(json.loads, file)]
    random.Random(0).shuffle(rows)
    return rows[:most]


async def decide(client: httpx.AsyncClient, prompt: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is explained and what happens; the judge is asked by the first and remembered by the second."""
    body = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]}
    told = (await client.post("/v1/routing/explain?judge=ask", json=body)).raise_for_status().json()
    live = (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    return tuple(told[name] for name in NAMES), tuple(live.headers[f"x-octoroute-{name}"] for name in NAMES)


async def measure(url: str, rows: list[tuple[str, str]]) -> int:
    """Prints the shares; the number of prompts whose explanation was not what happened."""
    steps: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    tiers: collections.Counter[str] = collections.Counter()
    differ = 0
    turns = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:

        async def one(source: str, prompt: str) -> None:
            nonlocal differ
            async with turns:
                told, live = await decide(client, prompt)
            differ += told != live
            tiers[live[0]] += 1
            for group in (source, "all"):
                steps[group][live[2]] += 1

        await asyncio.gather(*(one(*row) for row in rows))
    reasons = sorted(steps["all"], key=lambda reason: -steps["all"][reason])
    print(f"{'source':12} {'prompts':>8} " + " ".join(f"{reason:>16}" for reason in reasons))
    for group in sorted(steps, key=lambda name: (name == "all", name)):
        total = steps[group].total()
        shares = " ".join(f"{steps[group][reason] / total:>16.1%}" for reason in reasons)
        print(f"{group:12} {total:>8} {shares}")
    print("tiers: " + ", ".join(f"{tier} {tiers[tier] / len(rows):.1%}" for tier in ("fast", "balanced", "deep")))
    print(f"explained as it happened: {len(rows) - differ} of {len(rows)}")
    return differ


async def run(asked: argparse.Namespace) -> int:
    """The fleet here, the gateway in a process of its own."""
    rows = prompts_of(asked.data, asked.prompts)
    async with await serve_fleet(speed=SPEED) as fleet:
        with tempfile.TemporaryDirectory(prefix="octoroute-decisions-") as folder:
            config = Path(folder) / "config.toml"
            text = demo_config({tier: each.base_url for tier, each in fleet.simulators.items()})
            if asked.artifact is not None:
                text += f"[routing.neural]\nartifact = {json.dumps(str(asked.artifact.absolute()))}\n"
            config.write_text(text, encoding="utf-8")
            command = (sys.executable, "-m", "octoroute_py", "serve", "-c", str(config), "--port", "0")
            quiet = asyncio.subprocess.DEVNULL
            gateway = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=quiet)
            try:
                line = (await gateway.stdout.readline()).decode() if gateway.stdout is not None else ""
                if not line.startswith("listening on "):
                    print("the gateway did not start", file=sys.stderr)
                    return 1
                started = time.monotonic()
                differ = await measure(line.split()[2], rows)
                print(f"{2 * len(rows)} requests in {time.monotonic() - started:.1f} s")
                return 1 if differ else 0
            finally:
                if gateway.returncode is None:
                    gateway.terminate()
                    await gateway.wait()


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--data", type=Path, action="append", required=True, help="labelled prompts, .jsonl or .jsonl.gz"
    )
    parser.add_argument("--prompts", type=int, default=10_000, help="how many of them")
    parser.add_argument("--artifact", type=Path, help="another artifact than the shipped one")
    sys.exit(asyncio.run(run(parser.parse_args())))


if __name__ == "__main__":
    main()
