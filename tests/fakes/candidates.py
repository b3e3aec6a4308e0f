"""Networks over candidates that were never trained, for tests that need one that is odd."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.candidate_net import CandidateNet, HeldOut
from octoroute_py.neural.compact import Plain

F32 = NDArray[np.float32]


def random_net(seed: int, *, hidden: int = 6) -> CandidateNet:
    """Weights large enough that every part matters."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> F32:
        return rng.standard_normal(shape).astype(np.float32)

    return net_of(
        {
            "w": normal(5, hidden),
            "u": normal(hidden, hidden) / np.float32(2.0),
            "biases": normal(2, hidden),
            "gates": np.array([0.7, 0.05], np.float32),
            "head": normal(hidden, 1),
            "head_bias": normal(1),
        }
    )


def net_of(parts: Mapping[str, F32]) -> CandidateNet:
    """A network of these parts, which reads signals as they are."""
    held_out = HeldOut(np.linspace(0.4, 1.0, 50, dtype=np.float32), np.linspace(0.0, 0.6, 50, dtype=np.float32))
    return CandidateNet(
        w=Plain(parts["w"]),
        u=Plain(parts["u"]),
        biases=parts["biases"],
        gates=parts["gates"],
        head=Plain(parts["head"]),
        head_bias=parts["head_bias"],
        mean=np.zeros(5, np.float32),
        scale=np.ones(5, np.float32),
        held_out=held_out,
    )


def overflowing_net() -> CandidateNet:
    """Finite, and a probability for most signals; none where similarity is negative and the candidate fresh."""
    w = np.zeros((5, 1), np.float32)
    w[:2] = 3e38
    one = np.ones((1, 1), np.float32)
    parts = {"w": w, "u": 0 * one, "biases": np.zeros((2, 1), np.float32), "gates": np.array([0.5, 0.5], np.float32)}
    net = net_of({**parts, "head": one, "head_bias": np.zeros(1, np.float32)})
    return CandidateNet(
        **{name: getattr(net, name) for name in net.__struct_fields__ if name != "scale"},
        scale=np.full(5, 1e-3, np.float32),
    )
