"""The cell's start: what words foretell has places of its own."""

import numpy as np

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.features.vector import Matrix
from octoroute_py.training.bodies import CellBody, Sequences

TOPICS, OUTCOMES = 6, 3


def drawn_body(*, hidden: int, rank: int | None = None) -> CellBody:
    rng = np.random.default_rng(0)
    return CellBody(TOPICS + OUTCOMES, outcomes=OUTCOMES, hidden=hidden, rank_w=rank, rank_u=None, rng=rng)


def test_the_mean_input_tells_each_outcome_direction_apart_at_the_start() -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((BUCKETS, TOPICS + OUTCOMES)).astype(np.float32)
    tokens = rng.integers(0, BUCKETS, 12).astype(np.int32)
    matrix = Matrix(tokens, np.array([0, 12], dtype=np.int64), np.zeros((1, 32), dtype=np.float32))
    pooled = drawn_body(hidden=8).pool(Sequences(matrix, vectors), np.zeros(1, dtype=np.int64))
    means = vectors[tokens].mean(axis=0)
    np.testing.assert_allclose(pooled[0, 16 : 16 + OUTCOMES], means[TOPICS:] / 3, atol=1e-5)


def test_at_least_half_of_the_hidden_places_are_left_to_topics() -> None:
    w = drawn_body(hidden=4).weight("w")
    np.testing.assert_array_equal(w[:TOPICS, :2], 0.0)
    assert np.count_nonzero(w[TOPICS:, :2]) == 2
    assert (w[:TOPICS, 2:] != 0).all()
    assert (w[-1, 2:] != 0).all()  # the direction that found no place is mixed with the topics


def test_factors_start_from_a_full_matrix() -> None:
    assert (drawn_body(hidden=8, rank=2).weight("w") != 0).all()
