import math

import pytest

from octoroute_py.telemetry.samples import Histogram, Percentiles, Window


def test_a_value_on_a_bound_belongs_to_that_bucket() -> None:
    histogram = Histogram((0.1, 1.0, 10.0))
    for value in (0.0, 0.1, 0.100001, 1.0, 10.0, 10.1):
        assert histogram.observe(value)
    buckets, total = histogram.cumulative()
    assert buckets == [("0.1", 2), ("1", 4), ("10", 5), ("+Inf", 6)]
    assert total == pytest.approx(21.300001)


@pytest.mark.parametrize("value", [-0.001, math.inf, -math.inf, math.nan])
def test_what_is_no_duration_is_not_counted(value: float) -> None:
    histogram = Histogram((1.0,))
    assert not histogram.observe(value)
    assert histogram.cumulative() == ([("1", 0), ("+Inf", 0)], 0.0)


def test_an_empty_window_has_no_percentiles() -> None:
    assert Window(4).percentiles() is None


def test_percentiles_are_values_that_were_seen() -> None:
    window = Window(1000)
    for value in range(100, 0, -1):
        window.add(float(value))
    assert window.percentiles() == Percentiles(100, 50.0, 95.0, 99.0)


def test_one_value_is_every_percentile() -> None:
    window = Window(8)
    window.add(0.25)
    assert window.percentiles() == Percentiles(1, 0.25, 0.25, 0.25)


def test_only_the_last_values_count() -> None:
    window = Window(10)
    for value in range(1000):
        window.add(float(value))
    assert window.percentiles() == Percentiles(10, 994.0, 999.0, 999.0)
