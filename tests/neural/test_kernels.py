"""The compiled network is the reference: forward, backward, and the whole prediction."""

import numpy as np
import pytest
from numpy.typing import NDArray

from octoroute_py.neural import kernels
from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.fastgrnn import Cell, backward, forward, pool
from octoroute_py.neural.network import Network
from tests.fakes.artifacts import drawn_artifact

F32 = NDArray[np.float32]


def reference_raw(artifact: Artifact, tokens: NDArray[np.int32], scalars: F32, tag: int) -> NDArray[np.float64]:
    """The seven raw numbers in numpy, in double precision."""
    head, familiar = artifact.head, artifact.familiar
    inputs = artifact.table.dense()[tokens].astype(np.float64)
    if artifact.cell is not None:
        u = artifact.cell.u.dense().astype(np.float64)
        whole = Cell(np.eye(len(u)), u, artifact.cell.biases.astype(float), artifact.cell.gates.astype(float))
        pooled = pool(forward(whole, inputs).states, inputs)
    else:
        pooled = inputs.sum(axis=0) / max(1, len(tokens))
    standard = (scalars - head.mean) * head.inverse_std
    read = np.concatenate((pooled, np.clip(standard, -4, 4)))
    out = read @ head.weights + head.bias + head.tags[tag]
    out = out + np.maximum(read @ head.units + head.units_bias, 0) @ head.units_out
    white = (familiar.whitening @ (scalars - head.mean))[head.inverse_std > 0]
    off = np.concatenate(((pooled - familiar.centre) * familiar.inverse_spread, white))
    strange = np.mean(~familiar.buckets[tokens]) if len(tokens) else 0.0
    return np.concatenate((out, [np.sqrt(np.mean(off**2)), strange]))


@pytest.mark.parametrize("kind", ["fastgrnn", "linear"])
def test_predictions_equal_numpy_on_ten_thousand_prompts(kind: str) -> None:
    artifact = drawn_artifact(kind=kind, tags=("shop",))
    network, rng = Network(artifact), np.random.default_rng(0)
    worst = 0.0
    for _ in range(10_000 if kind == "fastgrnn" else 1_000):
        tokens = rng.integers(0, 16_384, rng.integers(0, 7)).astype(np.int32)
        scalars = rng.standard_normal(32).astype(np.float32) * 3
        tag = (None, "shop", "unheard of")[rng.integers(3)]
        expected = reference_raw(artifact, tokens, scalars, int(tag == "shop"))
        worst = max(worst, np.abs(np.array(network.raw(tokens, scalars, tag=tag)) - expected).max())
    assert worst < 1e-5


def test_long_prompts_equal_numpy_too() -> None:
    artifact, rng = drawn_artifact(), np.random.default_rng(1)
    network = Network(artifact)
    for length in (1, 255, 256):
        tokens = rng.integers(0, 16_384, length).astype(np.int32)
        scalars = rng.standard_normal(32).astype(np.float32)
        np.testing.assert_allclose(network.raw(tokens, scalars), reference_raw(artifact, tokens, scalars, 0), atol=1e-5)


@pytest.mark.parametrize("hidden", [16, 5])
def test_training_kernels_equal_the_reference(hidden: int) -> None:
    rng = np.random.default_rng(hidden)
    table = rng.standard_normal((40, hidden)).astype(np.float32)
    cell = Cell(
        np.eye(hidden),
        (0.3 * rng.standard_normal((hidden, hidden))).astype(np.float32),
        rng.standard_normal((2, hidden)).astype(np.float32),
        np.array([0.6, 0.1], dtype=np.float32),
    )
    lengths = np.array([7, 0, 1, 12])
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    tokens = rng.integers(0, 40, offsets[-1]).astype(np.int32)
    rows = np.array([3, 0, 2, 1], dtype=np.int64)
    pooled = np.empty((4, 3 * hidden), dtype=np.float32)
    states, sums = np.zeros((4, 13, hidden), dtype=np.float32), np.empty((4, 12, hidden), dtype=np.float32)
    kernels.pool_rows(table, cell.u, cell.biases, cell.gates, tokens, offsets, rows, states, sums, pooled)
    d_pooled = rng.standard_normal(pooled.shape).astype(np.float32)
    found = [np.zeros_like(part) for part in (table, cell.u, cell.biases, cell.gates)]
    kernels.pool_rows_back(cell.u, cell.biases, cell.gates, tokens, offsets, rows, states, sums, d_pooled, *found)

    expected = [np.zeros_like(part, dtype=np.float64) for part in (table, cell.u, cell.biases, cell.gates)]
    for place, row in enumerate(rows):
        mine = tokens[offsets[row] : offsets[row + 1]]
        inputs = table[mine].astype(np.float64)
        trace = forward(cell, inputs)
        np.testing.assert_allclose(pooled[place], pool(trace.states, inputs), atol=1e-5)
        last, mean_state, mean_input = d_pooled[place].reshape(3, hidden).astype(np.float64)
        steps = max(1, len(mine))
        d_states = np.tile(mean_state / steps, (len(mine), 1))
        if len(mine):
            d_states[-1] += last
        slopes, d_inputs = backward(cell, inputs, trace, d_states)
        np.add.at(expected[0], mine, d_inputs + mean_input / steps)
        for total, part in zip(expected[1:], (slopes.u, slopes.biases, slopes.gates), strict=True):
            total += part
    for got, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-4)
