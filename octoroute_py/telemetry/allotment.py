"""How many labels of each kind fit on a page, so that no configuration makes it longer than a scraper likes.

What is fixed has its place; of the rest each kind is promised a little, and what is left goes to them in their order.
Whatever finds no place counts as `other`.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

SERIES: Final = 2_000
"""Series that the page never exceeds."""
FIXED: Final = 1_215
"""Of those, what is there whatever is configured, and what grows by itself up to a bound of its own."""


class Kind(msgspec.Struct, frozen=True):
    """Something with labels of its own: what one costs in series, and how many have a place before all others."""

    name: str
    price: int
    promised: int


KINDS: Final = (
    Kind("endpoints", 18, 3),
    Kind("endpoint_latencies", 15, 3),
    Kind("models", 23, 3),
    Kind("rules", 1, 40),
    Kind("scores", 1, 10),
    Kind("canaries", 10, 2),
    Kind("gen_ai", 51, 1),
    Kind("budgets", 2, 5),
)
"""In the order in which they are given what is left."""


def allot(wanted: dict[str, int], *, series: int = SERIES - FIXED, kinds: Sequence[Kind] = KINDS) -> dict[str, int]:
    """How many of each kind get labels of their own, when so many are wanted."""
    given = {kind.name: min(wanted.get(kind.name, 0), kind.promised) for kind in kinds}
    left = series - sum(given[kind.name] * kind.price for kind in kinds)
    for kind in kinds:
        more = min(wanted.get(kind.name, 0) - given[kind.name], max(0, left) // kind.price)
        given[kind.name] += more
        left -= more * kind.price
    return given
