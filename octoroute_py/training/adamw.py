"""AdamW with a cosine schedule and a bound on the gradient's length."""

import math
from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

Parameters = dict[str, NDArray[np.float32]]

_FIRST = 0.9
_SECOND = 0.999
_TINY = 1e-8


class AdamW:
    """Steps parameters down their gradient, in place; weights in `decayed` also shrink.

    Over `steps` steps the learning rate falls from `rate` to 0 along half a cosine. Source: Loshchilov and Hutter,
    Decoupled Weight Decay Regularization (ICLR 2019).
    """

    def __init__(
        self, parameters: Parameters, *, rate: float, decay: float, clip: float, steps: int, decayed: Collection[str]
    ) -> None:
        self._parameters = parameters
        self._rate, self._decay, self._clip, self._steps = rate, decay, clip, steps
        self._decayed = decayed
        self._first = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._second = {name: np.zeros_like(value) for name, value in parameters.items()}
        self._taken = 0

    def step(self, gradients: Parameters) -> None:
        """One step; gradients longer than the clip are shortened to it, all by the same factor."""
        self._taken += 1
        length = math.sqrt(sum(float((gradient.astype(np.float64) ** 2).sum()) for gradient in gradients.values()))
        scale = np.float32(min(1.0, self._clip / max(length, 1e-12)))
        rate = self._rate * (0.5 + 0.5 * math.cos(math.pi * min(1.0, self._taken / self._steps)))
        for name, gradient in gradients.items():
            value, first, second = self._parameters[name], self._first[name], self._second[name]
            gradient = gradient * scale
            first += np.float32(1.0 - _FIRST) * (gradient - first)
            second += np.float32(1.0 - _SECOND) * (gradient * gradient - second)
            even = first / np.float32(1.0 - _FIRST**self._taken)
            spread = np.sqrt(second / np.float32(1.0 - _SECOND**self._taken)) + np.float32(_TINY)
            if name in self._decayed:
                value -= np.float32(rate * self._decay) * value
            value -= np.float32(rate) * even / spread
