"""Whether draws follow the shares they should, by chi-square."""

from collections.abc import Mapping

ONCE_IN_10_000 = {1: 15.14, 2: 18.42, 3: 21.11, 4: 23.51, 5: 25.74, 6: 27.86, 9: 33.72}
"""What chi-square exceeds once in 10,000 times when they do, by degrees of freedom."""


def follows(counts: Mapping[str, int], shares: Mapping[str, float]) -> bool:
    """Whether the counts may have come from these shares, which sum to 1; nothing else was drawn."""
    total = sum(counts.values())
    chi = sum((counts.get(name, 0) - share * total) ** 2 / (share * total) for name, share in shares.items())
    return set(counts) <= set(shares) and chi < ONCE_IN_10_000[len(shares) - 1]
