"""The reference network: its gradients, and what compression changes."""

import numpy as np
import pytest

from octoroute_py.neural.fastgrnn import (
    Cell,
    Config,
    FastGRNN,
    backward,
    forward,
    pool,
    rational_sigmoid,
    rational_tanh,
    tanh_slope,
)


def drawn_cell(rng: np.random.Generator, *, inputs: int = 3, hidden: int = 4) -> Cell:
    return Cell(
        rng.standard_normal((inputs, hidden)),
        0.4 * rng.standard_normal((hidden, hidden)),
        rng.standard_normal((2, hidden)),
        rng.uniform(0.1, 0.9, 2),
    )


def test_a_step_is_the_formula_of_the_paper() -> None:
    rng = np.random.default_rng(0)
    cell = drawn_cell(rng)
    x = rng.standard_normal((2, 3))
    h = np.zeros(4)
    for step in x:
        total = cell.w.T @ step + cell.u.T @ h
        z = rational_sigmoid(total + cell.biases[1])
        h = (cell.gates[0] * (1 - z) + cell.gates[1]) * rational_tanh(total + cell.biases[0]) + z * h
    np.testing.assert_allclose(forward(cell, x).states[-1], h)


def test_gradients_equal_finite_differences() -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        cell, x, wanted = drawn_cell(rng), rng.standard_normal((6, 3)), rng.standard_normal((6, 4))

        def loss(cell: Cell, x: np.ndarray, wanted: np.ndarray = wanted) -> float:
            return float((forward(cell, x).states[1:] * wanted).sum())

        found, d_x = backward(cell, x, forward(cell, x), wanted)
        for name in Cell._fields:
            check_gradient(getattr(cell, name), getattr(found, name), lambda: loss(cell, x))  # noqa: B023
        check_gradient(x, d_x, lambda: loss(cell, x))  # noqa: B023


def check_gradient(values: np.ndarray, gradient: np.ndarray, loss: object, *, step: float = 1e-6) -> None:
    assert callable(loss)
    for place in np.ndindex(values.shape):
        kept = values[place]
        values[place] = kept + step
        above = loss()
        values[place] = kept - step
        below = loss()
        values[place] = kept
        assert gradient[place] == pytest.approx((above - below) / (2 * step), rel=1e-4, abs=1e-4)


def test_the_rational_tanh_is_odd_bounded_and_near_the_true_one() -> None:
    x = np.linspace(-8, 8, 4001)
    assert np.abs(rational_tanh(x) - np.tanh(x)).max() < 0.025
    assert np.abs(rational_tanh(x)).max() == 1.0
    np.testing.assert_allclose(rational_tanh(-x), -rational_tanh(x))
    np.testing.assert_allclose(tanh_slope(x[1:-1]), (rational_tanh(x[1:-1] + 1e-6) - rational_tanh(x[1:-1] - 1e-6)) / 2e-6, atol=1e-5)  # noqa: E501 # fmt: skip


def test_what_is_pooled_is_the_last_state_and_two_means() -> None:
    states, projected = np.arange(8.0).reshape(4, 2), np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(pool(states, projected), [6, 7, 4, 5, 2, 3])
    np.testing.assert_allclose(pool(np.zeros((1, 2)), np.zeros((0, 2))), np.zeros(6))


def test_recurrence_has_an_effect() -> None:
    network = FastGRNN(Config())
    x = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)
    turned = np.concatenate((x[1::-1], x[2:]))
    assert not np.allclose(network.predict(x)[-1], network.predict(turned)[-1], atol=1e-7)


@pytest.fixture
def network() -> FastGRNN:
    rng = np.random.default_rng(3)
    config = Config(input_size=16, hidden_size=12, output_size=2)
    cell = Cell(rng.standard_normal((16, 12)), rng.standard_normal((12, 12)), np.ones((2, 12)), np.array([0.7, 0.02]))
    return FastGRNN(config).with_weights(cell, (rng.standard_normal((12, 2)), np.zeros(2)))


def test_quantising_saves_bytes_and_changes_the_numbers_a_little(network: FastGRNN) -> None:
    x = np.random.default_rng(4).standard_normal((9, 16)).astype(np.float32)
    small = network.quantize()
    assert small.size_bytes() < 0.45 * network.size_bytes()
    apart = np.abs(small.predict(x) - network.predict(x)).max()
    assert 0 < apart < 0.05


def test_pruning_drops_what_is_asked_and_saves_bytes(network: FastGRNN) -> None:
    x = np.random.default_rng(4).standard_normal((9, 16)).astype(np.float32)
    thin = network.prune(0.8)
    assert np.mean(thin.cell.w == 0) == pytest.approx(0.8, abs=0.02)
    assert np.mean(thin.cell.u == 0) == pytest.approx(0.8, abs=0.02)
    assert thin.size_bytes() < 0.4 * network.size_bytes()
    assert not np.allclose(thin.predict(x), network.predict(x), atol=1e-3)
    with pytest.raises(ValueError, match="sparsity"):
        network.prune(1.0)


def test_ranks_make_w_and_u_products_of_thin_factors() -> None:
    full, thin = (FastGRNN(Config(input_size=16, hidden_size=16, rank_w=rank, rank_u=rank)) for rank in (None, 3))
    assert np.linalg.matrix_rank(thin.cell.w) == np.linalg.matrix_rank(thin.cell.u) == 3
    assert np.linalg.matrix_rank(full.cell.w) == 16
    assert thin.size_bytes() < 0.5 * full.size_bytes()


def test_the_same_seed_gives_the_same_network() -> None:
    one, same, other = (FastGRNN(Config(seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.cell.w, same.cell.w)
    assert (one.cell.w != other.cell.w).any()
    with pytest.raises(ValueError, match="do not fit"):
        one.with_weights(drawn_cell(np.random.default_rng(0)), (np.zeros((4, 1)), np.zeros(1)))
