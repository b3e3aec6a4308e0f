"""Whose turn it is, told by a hash: the same caller gets the same answer in every process and after every restart.

A salt names the split, so that different splits know nothing of each other: who is in the first half of one is in
either half of another. Changing how any of this is computed would move callers of running splits; tests hold it.
"""

import hashlib
from collections.abc import Sequence
from itertools import accumulate
from typing import Final

_BITS: Final = 53
"""As many as a float holds exactly, so that no hash is rounded up to 1."""


def fraction(salt: str, id_: str) -> float:
    """Where an id falls, in [0, 1): uniform over ids and independent between salts."""
    said = f"{len(salt)}:{salt}{id_}".encode(errors="surrogatepass")
    hashed = int.from_bytes(hashlib.blake2b(said, digest_size=8).digest())
    return (hashed >> (64 - _BITS)) * 2.0**-_BITS


def digest(id_: str) -> str:
    """Twelve letters that stand for an id where only the same and another one have to be told apart."""
    return hashlib.blake2b(id_.encode(errors="surrogatepass"), digest_size=6).hexdigest()


def share_of(salt: str, id_: str) -> float:
    """Where an id falls, in [0, 100): those below a percentage get it, and none loses it when it grows."""
    return 100.0 * fraction(salt, id_)


def weighted(salt: str, id_: str, weights: Sequence[float]) -> int:
    """The index that an id falls on, each with a chance by its weight; one of weight 0 is never fallen on.

    Raises ValueError unless a weight is above 0 and none below.
    """
    ends = list(accumulate(weights))
    if not ends or ends[-1] <= 0 or min(weights) < 0:
        raise ValueError("Weights must be 0 or more, and one of them more.")
    point = fraction(salt, id_) * ends[-1]
    last = 0
    for index, end in enumerate(ends):
        if weights[index] > 0:
            if point < end:
                return index
            last = index
    return last  # the product was rounded up to the sum
