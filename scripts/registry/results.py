"""How long the results of an experiment take over a million journal rows, a tenth of them exposed.

    python -m scripts.registry.results [--rows N] [--json]

A database is made in a temporary folder, rows spread over 30 days; then the results of an experiment are asked for,
first with the file dropped from the system's cache as far as that can be asked for. Prints milliseconds of clock and
processor.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from pathlib import Path

import msgspec
from sqlalchemy import insert

from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus, Metric
from octoroute_py.core.registry import EMPTY_REGISTRY, Kind
from octoroute_py.manage.documents import Documents
from octoroute_py.manage.experiments import Experiments
from octoroute_py.manage.store import Store
from octoroute_py.storage.db import Database
from octoroute_py.storage.schema import feedback, journal
from scripts.ledger.analytics import AT_ONCE, NOW_S, entry, forget, opened

OVER_S = 30 * 86_400
EXPOSED, JUDGED = 0.1, 0.02
CALLERS, KNOWN = 20_000, 0.8
TIMES = 10
LABELS = ("tone:usual", "tone:deep", "tone:deep", "next:canary,tone:usual")


def fill(database: Database, rows: int) -> None:
    """Put the rows into the journal, many in a commit, and what was said of some of them."""
    rng = random.Random(1)
    for first in range(0, rows, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, rows))
        values = []
        for number in numbers:
            one = entry(rng, number, started_s=NOW_S - OVER_S * (1 - number / rows))
            arms = rng.choice(LABELS) if rng.random() < EXPOSED else None
            caller = f"{rng.randrange(CALLERS):012x}" if arms is not None and rng.random() < KNOWN else None
            values.append({**msgspec.structs.asdict(one), "arms": arms, "caller": caller})
        said = [
            {"journal_id": number + 1, "at_ms": 1, "by": "k", "rating": rng.randint(1, 5), "success": None}
            for number in numbers
            if rng.random() < JUDGED
        ]
        database.write(lambda connection, values=values: connection.execute(insert(journal), values) and None)  # type: ignore[misc]
        database.write(lambda connection, said=said: connection.execute(insert(feedback), said) and None)  # type: ignore[misc]


async def nothing() -> None:
    """What happens after a change."""


async def measure(database: Database) -> dict[str, list[float]]:
    """Milliseconds of each look at the results, by metric and clock."""
    store = Store(database)
    documents = Documents(store, wall=time.time, changed=nothing)
    experiments = Experiments(
        documents,
        store,
        wall=time.time,
        endpoints=lambda: (),
        registry=lambda: EMPTY_REGISTRY,
        problems=lambda rule: (),
        unusable=lambda strategy: None,
    )
    found: dict[str, list[float]] = {}
    for metric in Metric:
        experiment = Experiment(
            id="tone",
            name="Tone",
            arms=(Arm(name="usual"), Arm(name="deep")),
            metric=metric,
            status=ExperimentStatus.RUNNING,
            started_ms=int((NOW_S - OVER_S) * 1000),
        )
        await documents.change(lambda desk, it=experiment: desk.put(Kind.EXPERIMENT, it.id, it, action="x"), by="x")  # type: ignore[misc]
        for _ in range(TIMES):
            clock_s, processor_s = time.perf_counter(), time.process_time()
            results = await experiments.results("tone")
            found.setdefault(f"{metric} clock", []).append(1000 * (time.perf_counter() - clock_s))
            found.setdefault(f"{metric} processor", []).append(1000 * (time.process_time() - processor_s))
        found["exposed"] = [sum(arm.requests for arm in results.arms)]
    return found


def main() -> None:
    """Make a database and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        database = Database.open_file(path)
        fill(database, given.rows)
        database.close()
        forget(path)
        database = opened(path)
        found = asyncio.run(measure(database))
        database.close()
    if given.json:
        print(json.dumps({"rows": given.rows, **found}))
        return
    for name, values in found.items():
        print(f"{name:22} first {values[0]:,.0f}, median {statistics.median(values):,.0f}, worst {max(values):,.0f}")


if __name__ == "__main__":
    main()
