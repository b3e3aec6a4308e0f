"""The network over candidates computes FastGRNN, compiled or not, and carries its state as far as it has learned to."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.neural.candidate_kernel import CompiledRunner
from octoroute_py.neural.candidate_net import CONTEXT, quantise
from octoroute_py.neural.fastgrnn import Config, FastGRNN
from tests.fakes.candidates import random_net


def signals(seed: int, length: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).uniform(-1.0, 1.0, (length, 5))


def test_it_is_fastgrnn_with_a_logistic_readout_at_every_step() -> None:
    net = random_net(1)
    cell = FastGRNN(Config(hidden_size=6)).cell._replace(
        w=net.w.dense(), u=net.u.dense(), biases=net.biases, gates=net.gates
    )
    reference = FastGRNN(Config(hidden_size=6)).with_weights(cell, (net.head.dense(), net.head_bias))
    given_signals = signals(2, CONTEXT)
    expected = reference.predict(given_signals.astype(np.float32))[:, 0]
    assert net.runner().confidences(given_signals) == pytest.approx(expected, abs=1e-6)


@given(seed=st.integers(0, 10_000), length=st.integers(1, 150))
@settings(max_examples=60, deadline=None)
def test_the_compiled_twin_gives_the_same_numbers(seed: int, length: int) -> None:
    net = random_net(seed)
    given_signals = signals(seed, length)
    assert CompiledRunner(net).confidences(given_signals) == pytest.approx(
        net.runner().confidences(given_signals), abs=1e-5
    )


def test_beyond_the_context_every_candidate_is_judged_alike_and_by_itself() -> None:
    runner = random_net(3).runner()
    long = signals(4, CONTEXT + 20)
    found = runner.confidences(long)
    swapped = long.copy()
    swapped[CONTEXT:] = long[CONTEXT:][::-1]
    assert runner.confidences(swapped)[CONTEXT:] == pytest.approx(found[CONTEXT:][::-1], abs=1e-6)
    for at in (CONTEXT, CONTEXT + 19):
        shown = runner.confidences(np.concatenate([long[: CONTEXT - 1], long[at : at + 1]]))[-1]
        assert found[at] == pytest.approx(shown, abs=1e-6)


def test_what_comes_before_a_candidate_matters_and_what_comes_after_does_not() -> None:
    runner = random_net(5).runner()
    some = signals(6, 10)
    found = runner.confidences(some)
    changed = some.copy()
    changed[4] += 1.0
    now = runner.confidences(changed)
    assert now[:4] == pytest.approx(found[:4], abs=1e-7)
    assert np.all(np.abs(now[5:] - found[5:]) > 1e-6)


def test_quantising_makes_it_small_and_changes_it_a_little_once() -> None:
    net = random_net(7, hidden=16)
    small = quantise(net)
    assert small.quantised
    assert not net.quantised
    assert small.size_bytes < 0.55 * net.size_bytes
    some = signals(8, 30)
    off = np.abs(small.runner().confidences(some) - net.runner().confidences(some))
    assert 0.0 < off.max() < 0.05
    assert quantise(small) is small
