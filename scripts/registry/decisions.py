#!/usr/bin/env python3
"""Has thousands of random requests decided about twice: by POST /api/routing/test, and for real.

Run it as scripts/registry/exam decisions. Every 200 requests there is another world of 40 rules with all conditions,
registered models of every status, preferences, workspaces, a canary deployment or two and an experiment; some endpoints
are out. It exits 1 when tier, rule, arms or the model tried first differ for any request, or an error does.
"""

import argparse
import asyncio
import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import structlog

from scripts.ledger.figures import parse, publish
from tests.fakes.decisions import Figures, compare

_SHOWN = 20


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--strategy", choices=("rule", "neural"), default="rule")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000, help="told in the result")
    args = parse(parser)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory() as folder:
        work = compare(requests=args.requests, seed=args.seed, folder=Path(folder), strategy=args.strategy)
        found = asyncio.run(work)
    note = f"strategy {args.strategy}, seed {args.seed}"
    publish("decisions", rows(found), document=args.document, note=note, head=("dry and for real", "requests"))
    told = {"requests": found.requests, "differ": len(found.wrong), "by": found.by, "refused": found.refused}
    print(json.dumps(told | {"rules": len(found.rules), "seed": args.seed}), flush=True)
    print("\n".join(found.wrong[:_SHOWN]), file=sys.stderr)
    return int(bool(found.wrong))


def rows(found: Figures) -> list[tuple[str, str]]:
    """What was compared, and how it came out."""
    return [
        ("decided about twice", f"{found.requests:,}"),
        ("differ", f"{len(found.wrong):,}"),
        *((f"decided by {name}", f"{count:,}") for name, count in found.by.most_common()),
        *((f"refused with {code}", f"{count:,}") for code, count in found.refused.most_common()),
        ("rules that decided", f"{len(found.rules):,}"),
        ("with a part in an experiment or a canary deployment", f"{found.arms:,}"),
        ("with a single model to be tried first", f"{found.one:,}"),
    ]


if __name__ == "__main__":
    sys.exit(main())
