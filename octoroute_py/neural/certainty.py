"""How sure one may be of a confidence: split-conformal p-values of the two answers, light and heavy.

Each answer is tried on in turn. The p-value of "heavy" is the share of held-out requests which turned out heavy and
had a confidence at least as high, with the (n + 1) correction; that of "light" the share of those which turned out
light and had one at most as high. Held out are the leading candidates of new requests, so the promise is about those:
of the requests like them that are heavy, at most a share a gets a p-value of "heavy" of a or less.
"""

import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.candidate_net import HeldOut

F64 = NDArray[np.float64]


def p_values(confidences: NDArray[np.floating], held_out: HeldOut) -> tuple[F64, F64]:
    """The p-values (T,) of "light" and of "heavy" for confidences (T,)."""
    light, heavy = held_out.light, held_out.heavy
    exact = confidences.astype(np.float32)
    at_most = np.searchsorted(light, exact, side="right")
    at_least = len(heavy) - np.searchsorted(heavy, exact, side="left")
    return (at_most + 1) / (len(light) + 1), (at_least + 1) / (len(heavy) + 1)


def uncertainties(confidences: NDArray[np.floating], held_out: HeldOut, *, level: float) -> F64:
    """The smallest error level (T,) at which one answer can be ruled out, 1 where both can be at `level`.

    It is at most `level` exactly where the prediction set at `level` holds one answer: neither both, which is
    ambiguous, nor none, which is unlike anything held out.
    """
    light, heavy = p_values(confidences, held_out)
    ruled_out: F64 = np.where(np.maximum(light, heavy) <= level, 1.0, np.minimum(light, heavy))
    return ruled_out
