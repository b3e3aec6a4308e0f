"""Matrices in fewer bytes stand for nearly the same numbers."""

import numpy as np
import pytest

from octoroute_py.neural.compact import Int4, Int8, LowRank, Matrix, Plain, Sparse, pruned, read_matrix, size_bytes


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((200, 15)).astype(np.float32) * np.linspace(0.1, 3, 15, dtype="f4")


def forms(matrix: np.ndarray) -> list[Matrix]:
    thin = LowRank.of(matrix, 4)
    return [Plain(matrix), Int8.of(matrix), Int4.of(matrix), Sparse.of(pruned(matrix, 0.8)), thin]


def test_every_form_is_read_back_from_its_tensors(matrix: np.ndarray) -> None:
    for form in forms(matrix):
        again = read_matrix(form.tensors())
        assert type(again) is type(form)
        np.testing.assert_array_equal(again.dense(), form.dense())
        assert again.shape == again.dense().shape == matrix.shape
        assert again.dense().dtype == np.float32


def test_fewer_bits_take_fewer_bytes_and_are_as_near_as_their_steps(matrix: np.ndarray) -> None:
    eight, four = Int8.of(matrix), Int4.of(matrix)
    assert size_bytes(Plain(matrix)) == 12_000
    assert size_bytes(eight) == 3_000 + 60
    assert size_bytes(four) == 1_600 + 60
    steps = np.abs(matrix).max(axis=0) / 127
    assert (np.abs(eight.dense() - matrix) <= steps / 2 + 1e-6).all()
    worse = np.abs(four.dense() - matrix).mean() / np.abs(eight.dense() - matrix).mean()
    assert 5 < worse < 40
    np.testing.assert_array_equal(Int8.of(eight.dense()).values, eight.values)


def test_pruning_keeps_the_largest_entries(matrix: np.ndarray) -> None:
    thin = pruned(matrix, 0.9)
    assert np.count_nonzero(thin) == 300
    assert np.abs(thin[thin != 0]).min() >= np.abs(matrix[thin == 0]).max()
    assert size_bytes(Sparse.of(thin)) < 0.3 * size_bytes(Int8.of(matrix))
    np.testing.assert_array_equal(pruned(matrix, 0.0), matrix)


def test_low_rank_is_the_best_of_its_rank(matrix: np.ndarray) -> None:
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    best = (left[:, :4] * values[:4]) @ right[:4]
    thin = LowRank.of(matrix, 4)
    assert np.linalg.matrix_rank(thin.dense()) == 4
    assert np.linalg.norm(thin.dense() - matrix) < 1.001 * np.linalg.norm(best - matrix)


def test_columns_of_zeros_stay_zeros() -> None:
    nothing = np.zeros((4, 2), dtype=np.float32)
    for form in (Int8.of(nothing), Int4.of(nothing), Sparse.of(nothing), LowRank.of(nothing, 1)):
        np.testing.assert_array_equal(read_matrix(form.tensors()).dense(), nothing)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({}, "lacks scales"),
        ({"int8": np.zeros((2, 2), "i1")}, "lacks scales"),
        ({"int8": np.zeros((2, 2), "i1"), "scales": np.zeros(3, "f4")}, "scales than of columns"),
        ({"int8": np.zeros((2, 2), "i2"), "scales": np.zeros(2, "f4")}, "int16"),
        ({"int8": np.zeros((2, 2), "i1"), "scales": np.zeros(2, "f8")}, "float64"),
        ({"int4": np.zeros((2, 2), "u1"), "scales": np.zeros(5, "f4")}, "scales than of columns"),
        ({"bits": np.full(1, 255, "u1"), "kept": np.zeros(3, "i1"), "scales": np.zeros(2, "f4")}, "do not agree"),
        ({"odd": np.zeros((2, 2), "f4"), "scales": np.zeros(2, "f4")}, "no known form"),
    ],
)  # fmt: skip
def test_tensors_that_are_no_matrix_are_refused(tensors: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_matrix(tensors)
