import numpy as np
import pytest

from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.decide import DEFAULT_PRICES, Limits
from octoroute_py.neural.flips import Asked, Change, applied, decide, flips
from tests.fakes.outcomes import drawn

PROMPTS = 10_000


def test_the_stated_change_flips_the_tier_of_nearly_every_prompt(calibration: Calibration) -> None:
    raw, _ = drawn(np.random.default_rng(2), rows=PROMPTS)
    flipped = 0
    for row in raw.tolist():
        asked = Asked(score=calibration.score(row), alpha=0.05)
        now, stated = decide(asked, calibration), flips(asked, calibration)
        flipped += bool(stated) and decide(applied(stated[0], asked), calibration).tier not in (None, now.tier)
    assert flipped >= 0.99 * PROMPTS


def test_every_stated_change_leads_to_the_tier_it_names(calibration: Calibration) -> None:
    raw, _ = drawn(np.random.default_rng(3), rows=300)
    for tag in (None, "never seen"):
        for row in raw.tolist():
            asked = Asked(score=calibration.score(row), alpha=0.08, tag=tag)
            for flip in flips(asked, calibration):
                assert decide(applied(flip, asked), calibration).tier is flip.tier


def test_the_first_change_of_the_dial_is_the_smallest(calibration: Calibration) -> None:
    raw, _ = drawn(np.random.default_rng(4), rows=100)
    for row in raw.tolist():
        asked = Asked(score=calibration.score(row), alpha=0.06)
        now = decide(asked, calibration)
        stated = [flip for flip in flips(asked, calibration) if flip.change is Change.MAX_QUALITY_LOSS]
        if now.doubt is not None or not stated:
            continue
        distance = abs(float(stated[0].value) - asked.alpha) - 2e-6  # type: ignore[arg-type]
        for alpha in np.linspace(max(0.0, asked.alpha - distance), asked.alpha + distance, 50):
            nearer = Asked(score=asked.score, alpha=float(alpha))
            assert distance < 0 or decide(nearer, calibration).tier is now.tier


@pytest.mark.parametrize(
    ("limits", "change"),
    [
        (Limits(confidence_threshold=1.0), Change.CONFIDENCE_THRESHOLD),
        (Limits(max_uncertainty=0.0), Change.MAX_UNCERTAINTY),
    ],
)
def test_an_abstention_names_the_limit_that_caused_it(calibration: Calibration, limits: Limits, change: Change) -> None:
    score = calibration.score([0.0, 0.5, 1.0, 0.01, 0.005, 5.0, 0.0])
    (flip,) = flips(Asked(score=score, alpha=0.05, limits=limits), calibration)
    assert flip.change is change


def test_a_prompt_of_an_unknown_kind_would_be_decided_if_it_were_known(calibration: Calibration) -> None:
    score = calibration.score([0.0, 0.5, 1.0, 0.01, 0.005, 1e6, 0.0])
    (flip,) = flips(Asked(score=score, alpha=0.05), calibration)
    assert flip.change is Change.IN_DISTRIBUTION


def test_where_no_price_is_saved_no_change_of_the_dial_is_claimed(calibration: Calibration) -> None:
    score = calibration.score([0.0, 0.5, 1.0, 0.2, 0.1, 5.0, 0.0])
    assert flips(Asked(score=score, alpha=0.05), calibration)
    assert flips(Asked(score=score, alpha=0.05, prices=(1.0, 1.0, 1.0)), calibration) == ()
    assert DEFAULT_PRICES == (1.0, 4.0, 20.0)
