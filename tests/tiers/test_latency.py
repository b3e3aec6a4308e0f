import math

from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.tiers.latency import PeakEwma


def test_nothing_is_known_before_the_first_measurement() -> None:
    assert PeakEwma().read(5.0) is None


def test_it_jumps_to_a_peak_and_comes_down_slowly() -> None:
    average = PeakEwma()
    average.observe(0.0, 0.1)
    average.observe(1.0, 2.0)
    assert average.read(1.0) == 2.0
    average.observe(2.0, 0.1)
    assert 1.9 < (average.read(2.0) or 0) < 2.0
    for second in range(3, 200):
        average.observe(float(second), 0.1)
    assert 0.1 <= (average.read(199.0) or 0) < 0.11


def test_without_news_the_value_fades_with_a_time_constant_of_30_s() -> None:
    average = PeakEwma()
    average.observe(10.0, 3.0)
    assert math.isclose(average.read(40.0) or 0, 3.0 / math.e)
    assert average.read(10.0) == 3.0


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0, 60)), min_size=1, max_size=50))
def test_it_stays_between_the_least_and_the_greatest_measurement(samples: list[tuple[float, float]]) -> None:
    average, now = PeakEwma(), 0.0
    for wait, delay in samples:
        now += wait
        average.observe(now, delay)
        value = average.read(now)
        assert value is not None
        assert value >= delay * (1 - 1e-9)
    delays = [delay for _, delay in samples]
    assert min(delays) * (1 - 1e-9) <= (average.read(now) or 0) <= max(delays) * (1 + 1e-9)
