"""Whether draws follow the shares they should, by chi-square."""

from collections.abc import Mapping

ONCE_IN_10_000 = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 5: 25.74, 6: 27.86, 9: 33.72}
"""What chi-square exceeds once in 10,000 times when they do, by degrees of freedom."""


def follows(counts: Mapping[str, int], shares: Mapping[str, float]) -> bool:
    """Whether the counts may have come from these shares, which sum to 1; nothing else was drawn."""
    total = sum(counts.values())
    chi = sum((counts.get(name, 0) - share * total) ** 2 / (share * total) for name, share in shares.items())
    degrees = len(shares) - 1
    return set(counts) <= set(shares) and chi < (ONCE_IN_10_000.get(degrees) or _once_in_10_000(degrees))


def _once_in_10_000(degrees: int) -> float:
    """As above for many degrees of freedom, within 1 %, by Wilson and Hilferty."""
    step = 2 / (9 * degrees)
    return degrees * float((1 - step + 3.719 * step**0.5) ** 3)
