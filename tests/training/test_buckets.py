"""Bucket vectors: the SVD is the SVD, and no row learns from its own label."""

import numpy as np
import pytest

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.features.vector import Matrix
from octoroute_py.training.adamw import AdamW
from octoroute_py.training.buckets import bucket_vectors, topic_vectors
from octoroute_py.training.regression import regress
from octoroute_py.training.sparse import TfIdf, tf_idf
from octoroute_py.training.targets import Targets


def drawn_matrix(*, rows: int = 60, words: int = 40) -> Matrix:
    """Prompts of two topics over a small vocabulary."""
    rng = np.random.default_rng(0)
    lines = [rng.integers(0, words // 2, 12) + (words // 2) * (row % 2) for row in range(rows)]
    offsets = np.arange(rows + 1, dtype=np.int64) * 12
    return Matrix(np.concatenate(lines).astype(np.int32), offsets, np.zeros((rows, 32), dtype=np.float32))


def dense(prompts: TfIdf) -> np.ndarray:
    whole = np.zeros((prompts.count, BUCKETS), dtype=np.float32)
    whole[prompts.rows, prompts.buckets] = prompts.weights
    return whole


def test_tf_idf_has_rows_of_unit_length_and_multiplies() -> None:
    prompts = tf_idf(drawn_matrix())
    whole = dense(prompts)
    np.testing.assert_allclose(np.linalg.norm(whole, axis=1), 1.0, rtol=1e-5)
    factor = np.random.default_rng(1).standard_normal((BUCKETS, 3)).astype(np.float32)
    np.testing.assert_allclose(prompts.times(factor), whole @ factor, atol=1e-4)
    np.testing.assert_allclose(prompts.transposed_times(factor[:60]), whole.T @ factor[:60], atol=1e-4)


def test_topic_vectors_span_the_leading_singular_vectors() -> None:
    prompts = tf_idf(drawn_matrix())
    found = topic_vectors(prompts, dimensions=2, seed=0)
    _, values, right = np.linalg.svd(dense(prompts), full_matrices=False)
    expected = right[:2].T * values[:2]
    used = prompts.seen > 0
    cosines = (found[used] @ found[used].T), (expected[used] @ expected[used].T)
    near, far = (part / np.sqrt(np.outer(np.diag(part), np.diag(part))) for part in cosines)
    np.testing.assert_allclose(near, far, atol=0.02)
    assert (found[~used] == 0).all()


def test_outcome_vectors_of_a_fold_do_not_depend_on_its_labels() -> None:
    matrix, rng = drawn_matrix(), np.random.default_rng(2)
    prompts, scalars = tf_idf(matrix), np.zeros((60, 32), dtype=np.float32)
    folds = np.arange(60, dtype=np.int64) % 3
    values = rng.integers(0, 2, (60, 5)).astype(np.float32)
    known = np.ones((60, 5), dtype=np.float32)
    known[np.arange(60) % 5 < 2, 1] = 0.0
    flipped = np.where((folds == 0)[:, None], 1.0 - values, values).astype(np.float32)
    one, other = (
        bucket_vectors(
            prompts,
            regress(prompts, scalars, np.zeros(60, dtype=np.int64), Targets(each * known, known), folds=folds),
            dimensions=2,
            seed=0,
        )
        for each in (values, flipped)
    )
    assert one.served.shape == (BUCKETS, 2 + 3 + 5)

    def directions(vectors: np.ndarray) -> np.ndarray:
        part = vectors[prompts.seen > 0, 2:]
        centred: np.ndarray = part / np.linalg.norm(part, axis=0)
        return centred

    apart = [np.abs(directions(a) - directions(b)).max() for a, b in zip(one.folds, other.folds, strict=True)]
    assert apart[0] < 1e-5
    assert min(apart[1:]) > 0.1


def test_adamw_walks_down_shortens_and_shrinks() -> None:
    parameters = {"w": np.array([3.0, -2.0], dtype=np.float32), "b": np.array([1.0], dtype=np.float32)}
    optimiser = AdamW(parameters, rate=0.1, decay=0.0, clip=1.0, steps=400, decayed=())
    for _ in range(400):
        optimiser.step({name: 2 * value for name, value in parameters.items()})
    assert all(np.abs(value).max() < 0.02 for value in parameters.values())
    start = {"w": np.ones(2, dtype=np.float32), "b": np.ones(2, dtype=np.float32)}
    AdamW(start, rate=0.5, decay=0.1, clip=1.0, steps=10, decayed={"w"}).step(
        {"w": np.zeros(2, dtype=np.float32), "b": np.zeros(2, dtype=np.float32)}
    )
    assert start["b"].tolist() == [1.0, 1.0]
    assert start["w"].tolist() == pytest.approx([1 - 0.5 * 0.1 * (0.5 + 0.5 * np.cos(np.pi / 10))] * 2)
    first, second = ({"w": np.ones(2, dtype=np.float32)} for _ in range(2))
    for given, size in ((first, 5.0), (second, 500.0)):
        AdamW(given, rate=0.1, decay=0.0, clip=1.0, steps=9, decayed=()).step({"w": np.full(2, size, dtype=np.float32)})
    np.testing.assert_allclose(first["w"], second["w"], rtol=1e-5)
