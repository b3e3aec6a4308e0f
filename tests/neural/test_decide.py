import pytest

from octoroute_py.core.score import Score
from octoroute_py.core.words import TIERS, Tier
from octoroute_py.neural.decide import Basis, Dial, Doubt, Limits, choose, risks_of

FAST, BALANCED, DEEP = TIERS


def score(
    *,
    gains: tuple[float, float] = (0.3, 0.1),
    labels: tuple[Tier, ...] = TIERS,
    uncertainty: float = 0.3,
    known: bool = True,
) -> Score:
    return Score(
        p_fast=0.4,
        p_balanced=0.7,
        p_deep=0.9,
        gain_fast=gains[0],
        gain_balanced=gains[1],
        labels=labels,
        uncertainty=uncertainty,
        in_distribution=known,
    )


def dial(threshold: float, basis: Basis = Basis.GAIN) -> Dial:
    return Dial(alpha=0.05, threshold=threshold, basis=basis)


@pytest.mark.parametrize(
    ("threshold", "tier"), [(0.05, DEEP), (0.1, BALANCED), (0.29, BALANCED), (0.3, FAST), (1e9, FAST), (-1e9, DEEP)]
)
def test_the_cheapest_tier_within_the_dial_is_taken(threshold: float, tier: Tier) -> None:
    choice = choose(score(), dial=dial(threshold))
    assert (choice.tier, choice.leaning, choice.doubt) == (tier, tier, None)


@pytest.mark.parametrize(("threshold", "tier"), [(0.29, DEEP), (0.3, BALANCED), (0.6, FAST)])
def test_without_labels_of_the_kind_the_chance_of_failure_is_held_against_the_dial(
    threshold: float, tier: Tier
) -> None:
    assert risks_of(score(), Basis.FAILURE) == pytest.approx((0.6, 0.3, 0.0))
    assert choose(score(), dial=dial(threshold + 1e-9, Basis.FAILURE)).tier is tier


@pytest.mark.parametrize(
    ("prices", "tier"),
    [
        ((1.0, 4.0, 20.0), FAST),
        ((4.0, 1.0, 20.0), BALANCED),
        ((9.0, 9.0, 1.0), DEEP),
        ((2.0, 2.0, 20.0), BALANCED),
        ((5.0, 5.0, 5.0), DEEP),
        ((0.0, 0.0, 0.0), DEEP),
    ],
)
def test_the_price_says_which_is_cheapest_and_equal_prices_go_up(
    prices: tuple[float, float, float], tier: Tier
) -> None:
    assert choose(score(), dial=dial(0.9), prices=prices).tier is tier


@pytest.mark.parametrize(
    ("labels", "tier"), [((DEEP,), DEEP), ((BALANCED, DEEP), BALANCED), ((FAST, DEEP), FAST), ((FAST,), FAST)]
)
def test_a_tier_below_every_tier_of_the_set_is_never_taken(labels: tuple[Tier, ...], tier: Tier) -> None:
    assert choose(score(labels=labels), dial=dial(0.9)).tier is tier


def test_an_ambiguous_set_is_no_reason_to_abstain_and_takes_its_largest_tier_unless_the_dial_vouches() -> None:
    assert choose(score(labels=TIERS, uncertainty=0.99), dial=dial(0.0)).tier is DEEP


def test_it_abstains_when_the_set_is_empty() -> None:
    choice = choose(score(labels=(), uncertainty=1.0), dial=dial(0.2))
    assert (choice.tier, choice.doubt, choice.leaning) == (None, Doubt.EMPTY_SET, BALANCED)


def test_it_abstains_on_a_prompt_unlike_what_was_learned() -> None:
    choice = choose(score(known=False), dial=dial(0.2))
    assert (choice.tier, choice.doubt, choice.leaning) == (None, Doubt.OUT_OF_DISTRIBUTION, BALANCED)


@pytest.mark.parametrize(
    ("limits", "doubt"),
    [
        (Limits(), None),
        (Limits(confidence_threshold=0.9), None),
        (Limits(confidence_threshold=0.91), Doubt.LOW_CONFIDENCE),
        (Limits(max_uncertainty=0.3), None),
        (Limits(max_uncertainty=0.29), Doubt.HIGH_UNCERTAINTY),
    ],
)
def test_confidence_and_uncertainty_add_abstention_only_where_they_are_set_and_missed(
    limits: Limits, doubt: Doubt | None
) -> None:
    choice = choose(score(), dial=dial(0.2), limits=limits)
    assert choice.doubt is doubt
    assert (choice.tier is None) is (doubt is not None)


def test_the_margin_is_the_distance_of_the_nearest_risk() -> None:
    assert choose(score(), dial=dial(0.25)).margin == pytest.approx(0.05)


@pytest.mark.parametrize(("gain", "confidence"), [(-0.2, 1.0), (0.25, 0.75), (3.0, 0.0)])
def test_confidence_stays_between_0_and_1(gain: float, confidence: float) -> None:
    assert choose(score(gains=(gain, gain)), dial=dial(9.0)).confidence == confidence
