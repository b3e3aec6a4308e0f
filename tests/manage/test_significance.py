"""Effects, intervals and p-values, held against scipy and against published figures."""

import builtins
import math
import random
import statistics
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from octoroute_py.manage import significance
from octoroute_py.manage.significance import Moments, Share, mean_interval, newcombe, two_proportions, welch, wilson
from tests.fakes.moments import of_singles

ALPHAS = st.sampled_from([0.01, 0.05, 0.2])


@st.composite
def share_strategy(draw: st.DrawFn) -> Share:
    of = draw(st.integers(1, 5000))
    return Share(draw(st.integers(0, of)), of)


def of_callers(numbers: Sequence[Sequence[float]]) -> Moments:
    """The numbers that each caller gave."""
    singles = moments([each for given in numbers for each in given])
    return Moments(
        count=singles.count,
        total=singles.total,
        squares=singles.squares,
        callers=len(numbers),
        count_squares=sum(len(given) ** 2 for given in numbers),
        products=math.fsum(len(given) * math.fsum(given) for given in numbers),
        total_squares=math.fsum(math.fsum(given) ** 2 for given in numbers),
    )


def moments(numbers: Sequence[float]) -> Moments:
    return of_singles(len(numbers), math.fsum(numbers), math.fsum(each * each for each in numbers))


SHARES = share_strategy()
NUMBERS = st.lists(st.floats(-1e4, 1e4), min_size=2, max_size=40)


@settings(deadline=None)
@given(SHARES, ALPHAS)
def test_wilson_is_that_of_scipy(share: Share, alpha: float) -> None:
    expected = stats.binomtest(int(share.hits), int(share.of)).proportion_ci(1 - alpha, method="wilson")
    assert wilson(share, alpha=alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)


@settings(deadline=None)
@given(SHARES, SHARES, ALPHAS)
def test_the_z_test_is_the_chi_square_test_without_correction(arm: Share, control: Share, alpha: float) -> None:
    hits = arm.hits + control.hits
    assume(0 < hits < arm.of + control.of)
    table = [[arm.hits, arm.of - arm.hits], [control.hits, control.of - control.hits]]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    found = two_proportions(arm, control, alpha=alpha)
    assert found.p_value == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert found.effect == pytest.approx(arm.rate - control.rate)


@pytest.mark.parametrize(
    ("arm", "control", "low", "high"),
    # The examples of Newcombe 1998, table II, method 10.
    [
        (Share(56, 70), Share(48, 80), 0.0524, 0.3339),
        (Share(9, 10), Share(3, 10), 0.1705, 0.8090),
        (Share(6, 7), Share(2, 7), 0.0582, 0.8062),
        (Share(5, 56), Share(0, 29), -0.0381, 0.1926),
        (Share(0, 10), Share(0, 20), -0.1611, 0.2775),
        (Share(0, 10), Share(0, 10), -0.2775, 0.2775),
        (Share(10, 10), Share(0, 20), 0.6791, 1.0000),
        (Share(10, 10), Share(0, 10), 0.6075, 1.0000),
    ],
)
def test_the_interval_is_that_of_newcombe(arm: Share, control: Share, low: float, high: float) -> None:
    assert newcombe(arm, control, alpha=0.05) == pytest.approx((low, high), abs=6e-5)


@settings(deadline=None)
@given(SHARES, SHARES, ALPHAS)
def test_the_interval_of_a_difference_holds_it_and_turns_with_it(arm: Share, control: Share, alpha: float) -> None:
    found, reverse = newcombe(arm, control, alpha=alpha), newcombe(control, arm, alpha=alpha)
    assert -1 - 1e-9 <= found.low <= arm.rate - control.rate <= found.high <= 1 + 1e-9
    assert (-reverse.high, -reverse.low) == pytest.approx(found)


@settings(deadline=None)
@given(SHARES)
def test_equal_shares_of_nothing_or_all_do_not_differ(share: Share) -> None:
    none, every = Share(0, share.of), Share(share.of, share.of)
    assert two_proportions(none, none, alpha=0.05).p_value == 1
    assert two_proportions(every, every, alpha=0.05).p_value == 1
    assert two_proportions(every, none, alpha=0.05).relative_effect is None


@settings(deadline=None)
@given(NUMBERS, NUMBERS, ALPHAS)
def test_welch_is_that_of_scipy(arm: list[float], control: list[float], alpha: float) -> None:
    of_arm, of_control = moments(arm), moments(control)
    # Sums of squares lose what varies less than a millionth of the size.
    assume(all(m.variance > 1e-6 * m.squares / m.count for m in (of_arm, of_control)))
    expected = stats.ttest_ind(arm, control, equal_var=False)
    bounds = expected.confidence_interval(1 - alpha)
    found = welch(of_arm, of_control, alpha=alpha)
    assert found.interval is not None
    assert found.p_value == pytest.approx(expected.pvalue, rel=1e-4, abs=1e-9)
    assert found.interval == pytest.approx((bounds.low, bounds.high), rel=1e-4, abs=1e-4)


@settings(deadline=None)
@given(NUMBERS, ALPHAS)
def test_the_interval_of_a_mean_is_that_of_scipy(numbers: list[float], alpha: float) -> None:
    of = moments(numbers)
    assume(of.variance > 1e-6 * of.squares / of.count)
    expected = stats.t.interval(1 - alpha, of.count - 1, loc=of.mean, scale=stats.sem(numbers))
    found = mean_interval(of, alpha=alpha)
    assert found == pytest.approx(tuple(float(each) for each in expected), rel=1e-4, abs=1e-4)


@settings(deadline=None)
@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20), st.integers(2, 6))
def test_what_a_caller_repeats_tells_nothing_new(numbers: list[float], times: int) -> None:
    once, often = moments(numbers), of_callers([[each] * times for each in numbers])
    assume(once.variance > 1e-6 * once.squares / once.count)
    assert often.mean == pytest.approx(once.mean, rel=1e-6, abs=1e-6)
    assert often.error == pytest.approx(once.error, rel=1e-4)
    assert often.effective == pytest.approx(len(numbers), rel=0.6)
    assert often.effective < often.count


def test_the_error_of_a_mean_is_what_it_is_over_many_draws_of_callers() -> None:
    rng = random.Random(4)
    drawn = []
    for _ in range(400):
        callers = []
        for _ in range(60):
            own = rng.gauss(0, 1)
            callers.append([own + rng.gauss(0, 1) for _ in range(rng.choice((1, 2, 10)))])
        drawn.append(of_callers(callers))
    true = statistics.stdev(each.mean for each in drawn)
    assert statistics.fmean(each.error for each in drawn) == pytest.approx(true, rel=0.1)
    plain = statistics.fmean(math.sqrt(each.variance / each.count) for each in drawn)
    assert plain < 0.6 * true  # what taking requests as independent would have said


def test_a_share_of_unlike_callers_is_worth_fewer_requests() -> None:
    share = Share(90, 100)
    less = share.worth(0.25)
    assert (less.hits, less.of, less.rate) == (22.5, 25.0, 0.9)
    narrow, wide = wilson(share, alpha=0.05), wilson(less, alpha=0.05)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_smoothing_adds_a_caller_who_always_succeeds_and_one_who_never_does() -> None:
    callers = [[1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
    found, expected = of_callers(callers).smoothed(), of_callers([*callers, [1.0, 1.0], [0.0, 0.0]])
    assert found == expected
    assert moments([1.0] * 9).smoothed() == moments([*[1.0] * 10, 0.0])
    assert moments([1.0] * 9).error == 0 < moments([1.0] * 9).smoothed().error


def test_one_caller_says_nothing_of_how_callers_differ() -> None:
    one, many = of_callers([[1.0, 2.0, 3.0]]), moments([1.0, 2.0, 4.0])
    assert (one.error, one.effective) == (0.0, 3.0)
    assert welch(one, many, alpha=0.05).p_value is None
    assert mean_interval(one, alpha=0.05) is None


def test_what_does_not_vary_has_no_p_value() -> None:
    found = welch(moments([3.0, 3.0]), moments([2.0, 2.0]), alpha=0.05)
    assert (found.effect, found.p_value, found.interval) == (1.0, None, None)
    assert found.relative_effect == 0.5


def test_one_number_says_nothing_of_how_it_varies() -> None:
    found = welch(moments([3.0]), moments([2.0, 4.0]), alpha=0.05)
    assert (found.effect, found.p_value, found.interval) == (0.0, None, None)
    assert mean_interval(moments([3.0]), alpha=0.05) is None


def test_equal_numbers_have_no_variance_left_by_rounding() -> None:
    assert moments([0.1] * 1000).variance == 0


def test_without_scipy_means_have_no_p_value_and_shares_keep_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(
        name: str,
        globals_: Mapping[str, object] | None = None,
        locals_: Mapping[str, object] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> object:
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, globals_, locals_, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    assert significance.student_t() is None
    found = welch(moments([1.0, 2.0]), moments([3.0, 5.0]), alpha=0.05)
    assert (found.effect, found.p_value, found.interval) == (-2.5, None, None)
    assert mean_interval(moments([1.0, 2.0]), alpha=0.05) is None
    assert two_proportions(Share(5, 10), Share(9, 10), alpha=0.05).p_value == pytest.approx(0.0510, abs=1e-4)
