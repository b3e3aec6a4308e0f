#!/usr/bin/env python3
"""Who decides: sends labelled prompts through a real gateway and counts the step that chose the tier of each.

usage: scripts/decisions.py --data FILE [--data FILE ...] [--prompts N] [--artifact FILE]

Three simulated models answer, one of them as the judge. Each prompt is first explained (POST /v1/routing/explain) and
then sent; the two must name the same tier, strategy and reason. Where the scorer decided, the first change of the dial
that is said to lead to another tier is tried. The script ends with 1 if an explanation was not what happened.
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
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Decided:
    """One prompt: what was explained, what happened, and where the stated change of the dial led instead."""

    source: str
    told: tuple[str, ...]
    live: tuple[str, ...]
    promised: str | None
    changed: str | None


async def decide(client: httpx.AsyncClient, source: str, prompt: str) -> Decided:
    """Explains, then sends; the judge is asked by the first and remembered by the second."""
    body = {"model": "auto", "max_tokens": 1, "messages": [{"role": "user", "content": prompt}]}
    told = (await client.post("/v1/routing/explain?judge=ask", json=body)).raise_for_status().json()
    live = (await client.post("/v1/chat/completions", json=body)).raise_for_status()
    flips = told["scorer"]["flips"] if told["reason"] == "neural_decided" else []
    flip = next((each for each in flips if each["change"] == "max_quality_loss"), None)
    changed = None
    if flip is not None:
        hinted = body | {"octoroute": {"max_quality_loss": flip["value"]}}
        changed = (
            (await client.post("/v1/chat/completions", json=hinted)).raise_for_status().headers["x-octoroute-tier"]
        )
    return Decided(
        source=source,
        told=tuple(told[name] for name in NAMES),
        live=tuple(live.headers[f"x-octoroute-{name}"] for name in NAMES),
        promised=None if flip is None else flip["tier"],
        changed=changed,
    )


async def decide_all(url: str, rows: list[tuple[str, str]]) -> list[Decided]:
    """Every prompt, a few at a time."""
    turns = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False) as client:

        async def in_turn(source: str, prompt: str) -> Decided:
            async with turns:
                return await decide(client, source, prompt)

        return await asyncio.gather(*(in_turn(*row) for row in rows))


def report(decided: list[Decided]) -> bool:
    """Prints the shares; whether every explanation was what happened."""
    steps: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for one in decided:
        for group in (one.source, "all"):
            steps[group][one.live[2]] += 1
    reasons = sorted(steps["all"], key=lambda reason: -steps["all"][reason])
    print(f"{'source':12} {'prompts':>8} " + " ".join(f"{reason:>16}" for reason in reasons))
    for group in sorted(steps, key=lambda name: (name == "all", name)):
        total = steps[group].total()
        shares = " ".join(f"{steps[group][reason] / total:>16.1%}" for reason in reasons)
        print(f"{group:12} {total:>8} {shares}")
    tiers = collections.Counter(one.live[0] for one in decided)
    print("tiers: " + ", ".join(f"{tier} {tiers[tier] / len(decided):.1%}" for tier in ("fast", "balanced", "deep")))
    flips = [one for one in decided if one.promised is not None]
    as_promised = sum(one.changed == one.promised for one in flips)
    print(f"stated changes of the dial that led to the stated tier: {as_promised} of {len(flips)}")
    as_told = sum(one.told == one.live for one in decided)
    print(f"explained as it happened: {as_told} of {len(decided)}")
    return as_told == len(decided)


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
                decided = await decide_all(line.split()[2], rows)
                print(f"{len(rows)} prompts in {time.monotonic() - started:.1f} s")
                return 0 if report(decided) else 1
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
