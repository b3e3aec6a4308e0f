"""The shipped artifact keeps its promises; figures on the labelled rows where OCTOROUTE_ROUTING_DATA names them."""

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from octoroute_py.features.vector import Prompt
from octoroute_py.neural.calibrate import floored, losses_of
from octoroute_py.neural.conformal import fit_curve, lost
from octoroute_py.neural.flips import Asked, applied, decide, flips
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.routing.scorer import Scorer
from octoroute_py.training.dataset import Row, read_rows
from octoroute_py.training.evaluate import evaluate
from octoroute_py.training.evidence import evidence_of
from octoroute_py.training.report import BEATS, Report

DATA = os.environ.get("OCTOROUTE_ROUTING_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="OCTOROUTE_ROUTING_DATA names no labelled rows")

STRANGE: dict[str, Callable[[random.Random], str]] = {
    "another script": lambda rng: " ".join("".join(rng.choices("абвгдежзиклмнопрст", k=6)) for _ in range(60)),
    "blobs": lambda rng: "".join(rng.choices("ABCDEFGHIJKLMnopqrstuvwxyz0123456789+/", k=600)),
    "words nobody wrote": lambda rng: " ".join("".join(rng.choices("bcdfghjklmnpqrstvwxz", k=6)) for _ in range(60)),
    "log lines": lambda rng: "\n".join(
        f"2026-01-{rng.randrange(1, 29):02} ERROR [worker-{rng.randrange(64)}] 0x{rng.getrandbits(48):012x} retry=3"
        for _ in range(12)
    ),
}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer(load(shipped_path("default")))


@pytest.fixture(scope="module")
def held_out() -> list[Row]:
    return read_rows(Path(DATA or "") / "public_test.jsonl.gz")


@pytest.fixture(scope="module")
def measured(held_out: list[Row], scorer: Scorer) -> Report:
    linear = load(shipped_path("linear"))
    return evaluate(
        evidence_of(held_out, scorer.artifact, linear=linear), scorer.calibration, artifact="default", data="test"
    )


@pytest.mark.parametrize("kind", STRANGE)
def test_a_planted_shift_trips_the_guard(scorer: Scorer, kind: str) -> None:
    rng = random.Random(1)
    prompts = [STRANGE[kind](rng) for _ in range(100)]
    assert sum(not scorer.score(Prompt(prompt)).in_distribution for prompt in prompts) >= 90


@pytest.mark.labelled_rows
@needs_data
def test_familiar_prompts_are_seldom_turned_away_and_most_are_decided(measured: Report) -> None:
    assert measured.all.in_distribution > 0.96
    assert all(dial.abstained < 0.5 for dial in measured.all.dials)


@pytest.mark.labelled_rows
@needs_data
def test_the_realised_loss_on_rows_never_seen_is_near_what_was_asked(measured: Report) -> None:
    for dial, more in zip(measured.all.dials, (0.010, 0.015, 0.020), strict=True):
        assert dial.risk <= dial.alpha + more


@pytest.mark.labelled_rows
@needs_data
def test_it_beats_a_random_mix_and_is_never_far_behind_the_linear_baseline(measured: Report) -> None:
    assert measured.verdict == BEATS
    for group in measured.groups:
        assert group.apgr_linear is not None
        assert group.apgr.value >= group.apgr_linear - 0.02


@pytest.mark.labelled_rows
@needs_data
def test_its_probabilities_mean_what_they_say(measured: Report) -> None:
    ece = measured.all.ece
    assert max(ece.fast or 0.0, ece.balanced or 0.0, ece.deep or 0.0) <= 0.05
    assert measured.all.covered == pytest.approx(0.9, abs=0.025)


@pytest.mark.labelled_rows
@needs_data
def test_risk_control_is_right_on_the_mean_over_300_resplits(held_out: list[Row], scorer: Scorer) -> None:
    rows = [*held_out, *read_rows(Path(DATA or "") / "calibration.jsonl.gz")]
    evidence = evidence_of(rows, scorer.artifact)
    risks = floored(evidence.raw[:, 3:5], scorer.calibration.probabilities(evidence.raw), scorer.calibration.sets)
    losses, rng = losses_of(evidence.outcomes), np.random.default_rng(0)
    realised = np.zeros((300, 3))
    for split in realised:
        order = rng.permutation(len(rows))
        fitted, new = order[: len(rows) // 2], order[len(rows) // 2 :]
        curve = fit_curve(risks[fitted], losses[fitted])
        split[:] = [lost(risks[new], losses[new], curve.threshold(alpha)).mean() for alpha in (0.02, 0.05, 0.10)]
    assert realised.mean(axis=0) == pytest.approx([0.02, 0.05, 0.10], abs=0.005)


@pytest.mark.labelled_rows
@needs_data
def test_the_stated_change_flips_nearly_every_prompt(held_out: list[Row], scorer: Scorer) -> None:
    flipped = 0
    for row in held_out:
        asked = Asked(score=scorer.score(row.prompt), alpha=0.05)
        now, stated = decide(asked, scorer.calibration), flips(asked, scorer.calibration)
        flipped += bool(stated) and decide(applied(stated[0], asked), scorer.calibration).tier not in (None, now.tier)
    assert flipped >= 0.99 * len(held_out)
