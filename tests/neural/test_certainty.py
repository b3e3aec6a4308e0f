"""Uncertainty is a promise about error rates, and it is kept."""

import numpy as np
import pytest

from octoroute_py.neural.candidate_net import HeldOut
from octoroute_py.neural.certainty import p_values, uncertainties


def held_out(light: list[float], heavy: list[float]) -> HeldOut:
    return HeldOut(np.array(sorted(light), np.float32), np.array(sorted(heavy), np.float32))


def test_p_values_count_what_is_at_least_as_odd_with_one_added() -> None:
    known = held_out([0.25, 0.5, 0.5, 0.75], [0.125, 0.25, 0.5])
    light, heavy = p_values(np.array([0.0, 0.25, 0.5, 0.6, 1.0]), known)
    assert list(light) == [1 / 5, 2 / 5, 4 / 5, 4 / 5, 5 / 5]
    assert list(heavy) == [4 / 4, 3 / 4, 2 / 4, 1 / 4, 1 / 4]


def test_it_is_low_where_one_answer_can_be_ruled_out_and_one_where_both_can() -> None:
    known = held_out([0.9] * 99, [0.1] * 99)
    found = uncertainties(np.array([0.95, 0.9, 0.5, 0.1, 0.05]), known, level=0.15)
    assert list(found) == [0.01, 0.01, 1.0, 0.01, 0.01]


def test_it_is_high_where_the_answers_cannot_be_told_apart() -> None:
    same = list(np.linspace(0.0, 1.0, 99))
    found = uncertainties(np.array([0.2, 0.5, 0.8]), held_out(same, same), level=0.15)
    assert found == pytest.approx([0.2, 0.5, 0.2], abs=0.02)


@pytest.mark.parametrize("alpha", [0.05, 0.15, 0.3])
def test_at_most_a_share_alpha_of_new_heavy_requests_passes_at_alpha(alpha: float) -> None:
    rng = np.random.default_rng(3)
    passed = []
    for _ in range(300):
        light, heavy = rng.beta(4, 2, 60), rng.beta(2, 4, 40)
        known = held_out(list(light), list(heavy))
        new = rng.beta(2, 4, 50)
        _, p_heavy = p_values(new, known)
        passed.append(np.mean(p_heavy <= alpha))
    assert np.mean(passed) <= alpha + 0.01
    assert np.mean(passed) >= alpha - 0.05
