#!/usr/bin/env python3
"""Measures what the shipped scorer is worth and writes it into docs/routing.md, between the two markers there.

Run it as scripts/routing-figures, which installs what it needs. The labelled rows come from --data.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bounds
import serving
import studies
from bounds import Bound, group_named
from octoroute_py import __version__
from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.training.dataset import read_rows
from octoroute_py.training.evaluate import ALPHAS
from octoroute_py.training.plots import plot_calibration, plot_cost, plot_learning
from octoroute_py.training.report import Report
from octoroute_py.training.tables import DIAL_HEAD, dial_rows, groups_by_figure, markdown, number
from scripts.recorded import ROOT, machine, write_between_markers

SIZES = (250, 500, 1_000, 2_000, 4_000, 8_000, 1_000_000)
VERSIONS = ("numpy", "numba")
FLIP_ROWS = 10_000
STRANGE = 300


def say(text: str) -> None:
    """Progress, apart from the result."""
    print(text, file=sys.stderr, flush=True)


def versions() -> str:
    """Ours, Python and what computes."""
    ours = f"octoroute-py {__version__}, Python {platform.python_version()}"
    return ", ".join([ours, *(f"{name} {importlib.metadata.version(name)}" for name in VERSIONS)])


def bounded(sets: studies.Sets, artifact: Artifact, report: Report, size_bytes: int) -> list[Bound]:
    """Every figure that has a bound."""
    folded = studies.folds(sets, say=say)
    pair, ladder = group_named(report, "2"), group_named(report, "3")
    pairs, ladders = ([group_named(each, start) for each in folded] for start in ("2", "3"))
    found = bounds.figures("pair A", pair, pairs, apgr=0.63, cpt50=33, right=0.70)
    found += bounds.only_pairs(pair, pairs)
    found += bounds.figures("ladder B", ladder, ladders, apgr=0.55, cpt50=45, right=0.64)
    found += [bounds.linear("pair A", pair, pairs), bounds.linear("ladder B", ladder, ladders)]
    found += _unseen(sets)
    say("resplits")
    found += [bounds.control(alpha, losses.tolist()) for alpha, losses in _resplits(sets, artifact).items()]
    found += bounds.errors(report)
    found += _times(sets, artifact)
    return [*found, Bound(name="artifact (kB)", value=size_bytes / 1000, must=300, digits=1)]


def _resplits(sets: studies.Sets, artifact: Artifact) -> dict[float, studies.Floats]:
    return studies.resplits(sets, artifact, alphas=ALPHAS)


def _unseen(sets: studies.Sets) -> list[Bound]:
    """Subjects no row of which was seen: the gain score, and the chance of failure beside it."""
    must = {"mmlu": 0.53, "mmlu_pro": 0.50}
    found = []
    for source, groups in studies.subjects(sets, sources=tuple(must), say=say).items():
        gains, failures = studies.apgr_of(groups)
        mean = sum(gains) / len(gains)
        spread = f"{bounds.across(gains)}; by 1 - p {number(sum(failures) / len(failures))}"
        found.append(
            Bound(name=f"unseen subjects, {source}: APGR", value=mean, must=must[source], at_least=True, spread=spread)
        )
    return found


def _times(sets: studies.Sets, artifact: Artifact) -> list[Bound]:
    say("latency")
    scorer = serving.scorer_of(artifact)
    found = []
    for tokens, must, most in ((128, 30, 150), (512, 100, 150)):
        rounds = serving.latency_us(scorer, sets.test, tokens=tokens)
        for name, bound in (("p50", must), ("p99", most)):
            wall, cpu = ([getattr(each, prefix + name) for each in rounds] for prefix in ("", "cpu_"))
            found.append(
                Bound(
                    name=f"str to decision, {tokens} tokens, {name} (µs)",
                    value=statistics.median(wall), must=bound, digits=1,
                    spread=f"rounds: {min(wall):.1f} to {max(wall):.1f}; processor alone: {statistics.median(cpu):.1f}",
                )
            )  # fmt: skip
    say("training time")
    begun, worked = time.perf_counter(), time.process_time()
    studies.learn(sets.train, sets.calibration)
    took, cpu_s = time.perf_counter() - begun, time.process_time() - worked
    name = f"training on {len(sets.train):,} rows (s), kernels compiled"
    found.append(Bound(name=name, value=took, must=15, digits=1, spread=f"processor alone: {cpu_s:.1f}"))
    return found


def beside(sets: studies.Sets, artifact: Artifact) -> list[str]:
    """Figures without a bound: what each step decides, the guard, the flips, random scorers, subjects' names."""
    scorer = serving.scorer_of(artifact)
    say("steps, guard, flips, random scorers")
    rows = [*sets.train, *sets.calibration, *sets.test]
    taken = serving.steps(scorer, sets.test)
    shares = ", ".join(f"{step} {100 * taken[step] / len(sets.test):.1f} %" for step in ("rules", "scorer", "judge"))
    strange = serving.strange_prompts(sets.test, count=STRANGE)
    told = ", ".join(f"{kind} {100 * serving.turned_away(scorer, each):.0f} %" for kind, each in strange.items())
    false = serving.turned_away(scorer, [row.prompt.text for row in sets.test])
    flipped = serving.flipped_share(scorer, rows[:FLIP_ROWS])
    no_better = studies.random_scorers(sets, artifact)
    names = ", ".join(f"{name} {number(apgr)}" for name, apgr in studies.subject_name_alone(sets).items())
    return [
        f"- Steps of `hybrid` on the test rows, each as a request of its own: {shares}.",
        f"- The guard: {100 * false:.1f} % of test rows are turned away, and of planted strangers {told}.",
        f"- The first stated change flips the tier of {100 * flipped:.2f} % of {FLIP_ROWS:,} prompts.",
        f"- A scorer whose numbers are shuffled among the rows is called no better than a random mix in {no_better} of "
        f"{studies.RANDOM_RUNS} runs.",
        f"- Ranking by the subject's name alone, which the scorer is not told, has APGR: {names}.",
    ]


def text_of(report: Report, found: Sequence[Bound], more: Sequence[str], *, rows: str) -> str:
    """The Markdown between the markers."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    met = sum(bound.met for bound in found)
    return "\n".join(
        [
            f"Measured {today} on {machine()}; {versions()}; load average at the end {os.getloadavg()[1]:.1f}.",
            f"{rows} The spread is over five folds of the training rows, each by an artifact that learned from the "
            "other four; intervals are of the bootstrap over test rows. Pair A are the rows answered by two models, "
            "ladder B those answered by three.",
            "",
            f"{met} of {len(found)} bounds are met.",
            "",
            markdown(bounds.HEAD, [bound.row() for bound in found]),
            "",
            *more,
            "",
            "### The report on the test rows",
            "",
            markdown(*groups_by_figure(report)),
            "",
            markdown(DIAL_HEAD, dial_rows(report)),
            "",
            f"At a tolerated loss of 5 %, the shipped artifact is {report.verdict}.",
            "",
            "![Mean cost against right answers as the dial turns](routing-cost.png)",
            "",
            "![Stated against real success rates](routing-calibration.png)",
            "",
            "![APGR by the number of labelled outcomes learned from](routing-learning.png)",
        ]
    )


def main() -> int:
    """Measures everything and writes it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train, calibration and public_test")
    parser.add_argument("--document", type=Path, default=ROOT / "docs/routing.md")
    args = parser.parse_args()

    train, calibration, test = (
        read_rows(args.data / f"{name}.jsonl.gz") for name in ("train", "calibration", "public_test")
    )
    sets = studies.Sets(train=train, calibration=calibration, test=test)
    path = shipped_path("default")
    artifact, linear = load(path), load(shipped_path("linear"))
    report = studies.measured(test, artifact, linear=linear, name="default")
    found = bounded(sets, artifact, report, path.stat().st_size)
    more = beside(sets, artifact)
    rows = f"{len(train):,} rows to learn from, {len(calibration):,} to calibrate on, {len(test):,} to test."
    folder = args.document.parent
    plot_cost(report, folder / "routing-cost.png")
    plot_calibration(report, folder / "routing-calibration.png")
    plot_learning(studies.learning_curve(sets, sizes=SIZES, say=say), folder / "routing-learning.png")
    text = text_of(report, found, more, rows=rows)
    write_between_markers(args.document, "routing", text)
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
