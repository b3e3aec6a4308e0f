"""Search finds exactly what comparing with everything finds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.neural.errors import InvalidInput
from octoroute_py.neural.search import VectorIndex
from octoroute_py.neural.signals import cosines


def brute_force(vectors: dict[str, list[float]], query: list[float], k: int) -> list[tuple[str, float]]:
    found = []
    for id, vector in vectors.items():
        (similarity,) = cosines(np.array(query, np.float32), np.array([vector], np.float32))
        found.append((id, float(similarity)))
    return sorted(found, key=lambda each: (-round(each[1], 12), each[0]))[:k]


def index_of(vectors: dict[str, list[float]]) -> VectorIndex:
    index = VectorIndex()
    for id, vector in vectors.items():
        index.put(id, np.array(vector, np.float32))
    return index


numbers = st.sampled_from([0.0, 1.0, -1.0, 0.5, 1e-30, 1e30, -3e38, 1e-44, 0.3333])
kept = st.dictionaries(st.text(max_size=3), st.lists(numbers, min_size=3, max_size=3), min_size=1, max_size=25)


@given(kept, st.lists(numbers, min_size=3, max_size=3), st.integers(0, 30))
@settings(max_examples=100, deadline=None)
def test_the_best_are_those_of_brute_force_ties_and_odd_lengths_included(
    vectors: dict[str, list[float]], query: list[float], k: int
) -> None:
    found = index_of(vectors).nearest(np.array(query, np.float32), k)
    expected = brute_force(vectors, query, k)
    assert [similarity for _, similarity in found] == pytest.approx([s for _, s in expected], abs=1e-12)
    assert [id for id, _ in found] == [id for id, _ in expected]


def test_it_is_exact_among_thousands() -> None:
    rng = np.random.default_rng(1)
    vectors = {f"{at:04}": list(map(float, row)) for at, row in enumerate(rng.standard_normal((3000, 24)))}
    index = index_of(vectors)
    for _ in range(20):
        query = list(map(float, rng.standard_normal(24)))
        found = index.nearest(np.array(query, np.float32), 10)
        assert [id for id, _ in found] == [id for id, _ in brute_force(vectors, query, 10)]


def test_a_vector_that_is_put_again_replaces_the_one_before() -> None:
    index = index_of({"a": [1.0, 0.0], "b": [0.0, 1.0]})
    assert index.nearest(np.array([1.0, 0.0], np.float32), 1) == [("a", 1.0)]
    index.put("a", np.array([0.0, -1.0], np.float32))
    index.put("b", np.array([1.0, 0.0, 0.0], np.float32))
    assert index.nearest(np.array([0.0, 1.0], np.float32), 5) == [("a", -1.0)]
    assert index.nearest(np.array([1.0, 0.0, 0.0], np.float32), 5) == [("b", 1.0)]


def test_dimensions_that_nothing_has_are_an_error_and_an_empty_index_is_not() -> None:
    assert VectorIndex().nearest(np.array([1.0], np.float32), 3) == []
    with pytest.raises(InvalidInput, match="has 1 dimensions, those stored have 2"):
        index_of({"a": [1.0, 0.0]}).nearest(np.array([1.0], np.float32), 3)
