"""The five signals are what their formulas say, for every input."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.neural.signals import SIGNALS, WEIGHTS, cosines, frequency, overlap, recency, weighted

floats = st.floats(-1e6, 1e6, width=32)


def vectors(size: int) -> st.SearchStrategy[list[float]]:
    return st.lists(floats, min_size=size, max_size=size)


def exact_cosine(one: list[float], other: list[float]) -> float:
    """With fractions of whole precision; 0 for a vector of length zero."""
    lengths = math.sqrt(math.fsum(x * x for x in one)) * math.sqrt(math.fsum(x * x for x in other))
    return math.fsum(x * y for x, y in zip(one, other, strict=True)) / lengths if lengths else 0.0


@given(vectors(4), vectors(4))
def test_similarity_is_the_cosine(one: list[float], other: list[float]) -> None:
    (found,) = cosines(np.array(one, np.float32), np.array([other], np.float32))
    assert -1.0 <= found <= 1.0
    largest = max(abs(x) for x in one) or 1.0, max(abs(x) for x in other) or 1.0
    scaled = [x / largest[0] for x in one], [x / largest[1] for x in other]
    assert found == pytest.approx(exact_cosine(*scaled), abs=1e-9)


@pytest.mark.parametrize("size", [1e-44, 1e-30, 1.0, 1e30, 3e38])
def test_similarity_knows_no_length(size: float) -> None:
    query = np.array([size, 0.0], np.float32)
    rows = np.array([[size, 0.0], [0.0, size], [-size, 0.0], [0.0, 0.0]], np.float32)
    assert list(cosines(query, rows)) == [1.0, 0.0, -1.0, 0.0]


@pytest.mark.parametrize(
    ("age_s", "expected"), [(-50, 1.0), (0, 1.0), (math.log(2) * 1000, 0.5), (3600, 0.0273), (86_400, 0.0)]
)
def test_recency_halves_every_693_seconds(age_s: float, expected: float) -> None:
    assert recency(np.array([age_s]))[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("count", "expected"), [(0, 0.0), (10, 0.2603), (100, 0.5011), (1000, 0.7501), (10_000, 1.0), (10**12, 1.0)]
)
def test_frequency_is_logarithmic_and_full_at_ten_thousand(count: int, expected: float) -> None:
    assert frequency(np.array([float(count)]))[0] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [
        ({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}, 0.5),
        ({"a": 1}, {"a": 1, "b": 2}, 1.0),
        ({"a": 1, "b": 2, "c": 3}, {"a": 1}, 1 / 3),
        ({"a": None}, {}, 0.0),
        ({"a": None}, {"a": None}, 1.0),
        ({"a": None}, {"b": None}, 0.0),
        ({"a": True}, {"a": 1}, 0.0),
        ({"a": [1, {"x": "y"}]}, {"a": [1, {"x": "y"}]}, 1.0),
        ({}, {"a": 1}, 0.0),
        (None, {"a": 1}, 0.0),
        ({"a": 1}, None, 0.0),
    ],
)
def test_overlap_is_the_share_of_the_queries_own_keys(
    wanted: dict[str, object] | None, has: dict[str, object] | None, expected: float
) -> None:
    assert overlap(wanted, has) == pytest.approx(expected)


def test_the_weights_are_those_of_the_documents_and_scale_each_signal() -> None:
    assert dict(zip(SIGNALS, WEIGHTS, strict=True)) == {
        "semantic_similarity": 0.40,
        "recency": 0.20,
        "frequency": 0.15,
        "success_rate": 0.15,
        "metadata_overlap": 0.10,
    }
    assert list(weighted(np.ones((1, 5)))[0]) == list(WEIGHTS)
