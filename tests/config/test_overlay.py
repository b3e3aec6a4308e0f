"""What is set over the API lies over the file, by the file's own rules."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.differences import changed_paths
from octoroute_py.config.load import parse_config
from octoroute_py.config.overlay import PLACES, WrongSettings, overlaid, read_patch, usable
from octoroute_py.config.schema import BalancerName, StrategyName, TierFallback
from octoroute_py.core.settings import NO_SETTINGS, Settings
from octoroute_py.core.words import Tier
from tests.fakes.configs import MINIMAL

FILE = parse_config(MINIMAL)
FAST = FILE.endpoints[0].id
SOME = {
    "confidence_threshold": 0.9,
    "max_uncertainty": 0.1,
    "max_quality_loss": 0.2,
    "enable_circuit_breaker": False,
    "circuit_breaker_threshold": 7,
    "strategy": "llm",
    "default_tier": "deep",
    "tier_fallback": "both",
    "balancer": "latency",
    "weights": {FAST: 2.5},
}


def test_every_setting_takes_the_place_of_the_files_value_and_nothing_else_changes() -> None:
    config = overlaid(FILE, SOME)
    routing, neural = config.routing, config.routing.neural
    assert (neural.confidence_threshold, neural.max_uncertainty, neural.max_quality_loss) == (0.9, 0.1, 0.2)
    assert (config.breaker.enabled, config.breaker.failure_threshold) == (False, 7)
    assert (routing.strategy, routing.default_tier) == (StrategyName.LLM, Tier.DEEP)
    assert (routing.tier_fallback, routing.balancer) == (TierFallback.BOTH, BalancerName.LATENCY)
    assert [each.weight for each in config.endpoints] == [2.5, 1.0, 1.0]
    assert changed_paths(FILE, config) == (
        f'models["{FAST}"].weight',
        "routing.strategy",
        "routing.default_tier",
        "routing.tier_fallback",
        "routing.balancer",
        "routing.neural.max_quality_loss",
        "routing.neural.confidence_threshold",
        "routing.neural.max_uncertainty",
        "breaker.enabled",
        "breaker.failure_threshold",
    )
    assert overlaid(FILE, {}) == FILE


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"confidence_threshold": 1.01}, "confidence_threshold: must be at least 0 and at most 1"),
        ({"max_uncertainty": True}, "max_uncertainty: must be a number, not a boolean"),
        ({"circuit_breaker_threshold": 0}, "circuit_breaker_threshold: must be from 1 to 1000000"),
        ({"circuit_breaker_threshold": 2.5}, "circuit_breaker_threshold: must be a whole number, not a number"),
        ({"enable_circuit_breaker": "no"}, "enable_circuit_breaker: must be true or false, not a string"),
        ({"strategy": "nerual"}, 'strategy: "nerual" is not known here; did you mean "neural"?'),
        ({"stratgy": "rule"}, 'stratgy: is no setting that can be changed; did you mean "strategy"?'),
        ({"stratgy": None}, 'stratgy: is no setting that can be changed; did you mean "strategy"?'),
        ({"weights": {FAST: 0}}, f'weights."{FAST}": must be above 0 and at most 1e+06'),
        ({"weights": {"nobody": 1}}, 'weights: the file has no endpoint with the id "nobody"'),
        ({"weights": 3}, "weights: must be an object of weights by endpoint id"),
    ],
)
def test_what_the_file_may_not_say_may_not_be_set(values: dict[str, object], told: str) -> None:
    with pytest.raises(WrongSettings) as caught:
        read_patch(FILE, values)
    assert str(caught.value) == told


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(WrongSettings) as caught:
        read_patch(FILE, {"strategy": "x", "max_quality_loss": -1, "balancer": 4})
    assert caught.value.names == {"strategy", "max_quality_loss", "balancer"}
    assert len(str(caught.value).splitlines()) == 3


def test_kept_settings_that_no_longer_fit_are_left_out_and_told() -> None:
    kept = Settings(strategy="gone", balancer="latency", weights={FAST: -1.0, "removed": 3.0})
    fit, wrong = usable(FILE, kept)
    assert fit == Settings(balancer="latency")
    assert wrong is not None
    assert [line.partition(":")[0] for line in wrong.splitlines()] == ["strategy", f'weights."{FAST}"']
    assert usable(FILE, Settings(weights={"removed": 3.0})) == (NO_SETTINGS, None)


VALUES = st.fixed_dictionaries({}, optional={name: st.sampled_from([SOME[name], None]) for name in PLACES})
WEIGHTS = st.none() | st.dictionaries(
    st.sampled_from([each.id for each in FILE.endpoints]), st.none() | st.floats(0.5, 9)
)
PATCHES = st.builds(lambda values, weights: {**values, "weights": weights}, VALUES, WEIGHTS) | VALUES


@given(st.lists(PATCHES, max_size=5), PATCHES)
def test_a_patch_decides_what_it_is_about_and_leaves_the_rest(before: list[dict[str, object]], last: object) -> None:
    settings = NO_SETTINGS
    for values in before:
        settings = read_patch(FILE, values).applied(settings)
    assert isinstance(last, dict)
    patch = read_patch(FILE, last)
    after = patch.applied(settings)
    for name in PLACES:
        assert getattr(after, name) == (last[name] if name in last else getattr(settings, name))
    weights = last.get("weights", {})
    expected = {} if weights is None else {**settings.weights, **weights}
    assert after.weights == {id_: weight for id_, weight in expected.items() if weight is not None}
    assert patch.applied(after) == after
    assert after.over(NO_SETTINGS) == NO_SETTINGS.over(after) == after
    assert patch.taken_from(after) == patch.taken_from(settings)
