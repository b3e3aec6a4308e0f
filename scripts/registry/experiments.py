"""How often experiments on equal arms raise a false alarm, and how soon they find a true effect, by looking always.

Run it as scripts/registry/exam experiments.

Every case is so many simulated experiments of two arms, looked at after every request: by the verdict that the results
of an experiment give, and beside it by repeating the test for one look, which is wrong and shown for that. The numbers
are worked out for all looks at once; that they are those of the gateway's own code is checked on looks drawn at random.
"""

import argparse
import json
import math
import random
import statistics
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from octoroute_py.manage import anytime
from octoroute_py.manage.anytime import BLOCK, BURN_IN, FEWEST_CALLERS, SHARPEST_AT, Block, ShareBet
from octoroute_py.manage.significance import Moments, Share, two_proportions, welch, wilson
from scripts.ledger.figures import parse, publish

ALPHA = 0.05
Z = statistics.NormalDist().inv_cdf(1 - ALPHA / 2)
CHECKED_LOOKS = 3

Numbers = NDArray[np.float64]
Flags = NDArray[np.bool_]
Draw = Callable[[np.random.Generator, Flags], Numbers]
"""What came of each request, given which went to the new arm."""


class Case(NamedTuple):
    """`equal`: the arms do not differ. `share` of the requests go to the new arm; `callers` None: each on its own."""

    name: str
    success: bool
    equal: bool
    draw: Draw
    share: float = 0.5
    callers: int | None = None


class Course(NamedTuple):
    """One experiment: the first request after which a verdict stood, by looking always and by the repeated test."""

    decided_at: int | None
    naive_at: int | None
    one_look: bool


def rates(control: float, new: float) -> Draw:
    """Successes at these rates."""
    return lambda rng, is_new: (rng.random(is_new.size) < np.where(is_new, new, control)).astype(float)


def drifting() -> Draw:
    """Successes at a rate that falls from 0.99 to 0.6 while the experiment runs, the same for both arms."""
    return lambda rng, is_new: (rng.random(is_new.size) < np.linspace(0.99, 0.6, is_new.size)).astype(float)


def lognormal(typical: float, sigma: float, *, factor: float = 1.0, free: float = 0.0) -> Draw:
    """Long-tailed numbers, of which a share is 0; the new arm's are larger by a factor."""

    def draw(rng: np.random.Generator, is_new: Flags) -> Numbers:
        values: Numbers = typical * np.exp(sigma * rng.standard_normal(is_new.size)) * np.where(is_new, factor, 1.0)
        values[rng.random(is_new.size) < free] = 0.0
        return values

    return draw


def differing_callers(rng: np.random.Generator, callers: NDArray[np.int64]) -> Numbers:
    """Successes at each caller's own rate, 0.9 on average."""
    own = rng.beta(9.0, 1.0, callers.max() + 1)
    good: Flags = rng.random(callers.size) < own[callers]
    return good.astype(float)


CASES = (
    Case("equal success 0.5", True, True, rates(0.5, 0.5)),
    Case("equal success 0.9", True, True, rates(0.9, 0.9)),
    Case("equal success 0.99", True, True, rates(0.99, 0.99)),
    Case("equal success 0.9, one tenth new", True, True, rates(0.9, 0.9), share=0.1),
    Case("equal success, drifting", True, True, drifting()),
    Case("equal latency", False, True, lognormal(900.0, 1.0)),
    Case("equal latency, one tenth new", False, True, lognormal(900.0, 1.0), share=0.1),
    Case("equal cost", False, True, lognormal(0.002, 1.2, free=0.05)),
    Case("success 0.5 against 0.55", True, False, rates(0.5, 0.55)),
    Case("success 0.9 against 0.92", True, False, rates(0.9, 0.92)),
    Case("success 0.9 against 0.88", True, False, rates(0.9, 0.88)),
    Case("success 0.99 against 0.98", True, False, rates(0.99, 0.98)),
    Case("success 0.9 against 0.5", True, False, rates(0.9, 0.5)),
    Case("latency 10 % longer", False, False, lognormal(900.0, 1.0, factor=1.1)),
    Case("latency 20 % longer", False, False, lognormal(900.0, 1.0, factor=1.2)),
    Case("cost 20 % less", False, False, lognormal(0.002, 1.2, factor=0.8, free=0.05)),
    Case("equal success, 1,000 unlike callers", True, True, rates(0.9, 0.9), callers=1000),
    Case("equal success, 100 unlike callers", True, True, rates(0.9, 0.9), callers=100),
)


def simulate(case: Case, *, requests: int, seed: int, bet: ShareBet) -> Course:
    """One experiment of so many requests; `bet` remembers what blocks pay and is never added to."""
    rng = np.random.default_rng(seed)
    callers = np.arange(requests)
    if case.callers is None:
        is_new = rng.random(requests) < case.share
        values = case.draw(rng, is_new)
    else:
        callers = rng.integers(0, case.callers, requests)
        is_new = (rng.random(case.callers) < case.share)[callers]
        values = differing_callers(rng, callers)
    looks = _Looks(is_new, values, callers)
    check = random.Random(seed)
    bound = looks.by_bound(check, of_rates=case.success)
    e_values = np.minimum(bound, looks.by_blocks(bet, check)) if case.success else bound
    naive, last = looks.naive(pooled=case.success, check=check)
    return Course(_first(e_values >= 1 / ALPHA), naive, last)


class _Looks:
    """One experiment after each of its requests: the sums of both arms."""

    def __init__(self, is_new: Flags, values: Numbers, callers: NDArray[np.int64]) -> None:
        self.is_new, self.values = is_new, values
        before, had = _before(values, callers)
        self.sums = [
            [
                np.cumsum(each * which)
                for each in (
                    np.ones_like(values),
                    values,
                    values * values,
                    before == 0,
                    2 * before + 1,
                    had + values * (before + 1),
                    2 * had * values + values * values,
                )
            ]
            for which in (is_new, ~is_new)
        ]
        self.count = [sums[0] for sums in self.sums]
        self.total = [sums[1] for sums in self.sums]

    def by_blocks(self, bet: ShareBet, check: random.Random) -> Numbers:
        """The evidence of the bet on shares."""
        full = self.values.size // BLOCK
        new = self.is_new[: full * BLOCK].reshape(full, BLOCK)
        hits = self.values[: full * BLOCK].reshape(full, BLOCK)
        of_new, of_control = new.sum(1), (~new).sum(1)
        hits_new, hits_control = (hits * new).sum(1), (hits * ~new).sum(1)
        blocks = [
            Block(*(int(each) for each in row)) for row in zip(of_new, hits_new, of_control, hits_control, strict=True)
        ]
        logs = np.cumsum([bet.told(block) for block in blocks], axis=0)
        e_values = np.exp(np.minimum(logs, 25.0)).mean(axis=1)  # of larger ones nothing matters but that they are large
        for _ in range(CHECKED_LOOKS):
            at = check.randrange(full)
            own = anytime.shares((block, 1) for block in blocks[: at + 1]).e_value
            assert math.isclose(own, e_values[at], rel_tol=1e-6) or min(own, e_values[at]) > 1e6
        # A block counts from its last request on.
        waiting, rest = np.ones(BLOCK - 1), self.values.size - full * BLOCK + 1
        return np.concatenate(
            (waiting, np.repeat(e_values, BLOCK)[: (full - 1) * BLOCK], np.repeat(e_values[-1], rest))
        )

    def by_bound(self, check: random.Random, *, of_rates: bool) -> Numbers:
        """The evidence of the bound on means."""
        arms = [_smoothed(sums) for sums in self.sums] if of_rates else self.sums
        with np.errstate(divide="ignore", invalid="ignore"):
            effect = arms[0][1] / arms[0][0] - arms[1][1] / arms[1][0]
            spread = np.hypot(_error(arms[0]), _error(arms[1]))
            x = 4 / (1 / _effective(arms[0]) + 1 / _effective(arms[1])) / SHARPEST_AT
            e_values = np.exp(np.minimum((effect / spread) ** 2 / 2 * x / (1 + x), 25.0)) / np.sqrt(1 + x)
        enough = (np.minimum(*self.count) >= BURN_IN) & (spread > 0)
        enough &= np.minimum(self.sums[0][3], self.sums[1][3]) >= FEWEST_CALLERS
        e_values = np.where(enough, e_values, 1.0)
        for _ in range(CHECKED_LOOKS):
            at = check.randrange(self.values.size)
            compare = anytime.rates if of_rates else anytime.means
            found = compare(self._moments(0, at), self._moments(1, at), alpha=ALPHA)
            own = 1.0 if found is None else found.e_value
            assert math.isclose(own, e_values[at], rel_tol=1e-6) or min(own, e_values[at]) > 1e6
        return e_values

    def naive(self, *, pooled: bool, check: random.Random) -> tuple[int | None, bool]:
        """When the test for one look, of requests as if each were independent, first found something; and at the end.

        At the end it is the gateway's own, which knows callers.
        """
        n, m = self.count
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = (self.total[0] + self.total[1]) / (n + m)
            effect = self.total[0] / n - self.total[1] / m
            spread = np.sqrt(rate * (1 - rate) * (1 / n + 1 / m)) if pooled else self._plain_spread()
        found = (np.minimum(n, m) >= BURN_IN) & (np.abs(effect) > Z * spread)
        new, control = self._moments(0, -1), self._moments(1, -1)
        if pooled:
            part = min(new.effective / new.count, control.effective / control.count)
            shares = [Share(each.total, each.count).worth(part) for each in (new, control)]
            last = two_proportions(shares[0], shares[1], alpha=ALPHA)
        else:
            last = welch(new, control, alpha=ALPHA)
        return _first(found), last.p_value is not None and last.p_value < ALPHA

    def _plain_spread(self) -> Numbers:
        spread: Numbers = np.sqrt(sum(_variance(sums) / sums[0] for sums in self.sums))
        return spread

    def _moments(self, arm: int, at: int) -> Moments:
        count, total, squares, callers, *rest = (float(each[at]) for each in self.sums[arm])
        return Moments(int(count), total, squares, int(callers), *rest)


def _smoothed(sums: list[Numbers]) -> list[Numbers]:
    """`Moments.smoothed` of every look."""
    each: Numbers = np.where(sums[3] > 0, sums[0] / np.maximum(sums[3], 1), 1.0)
    square = each**2
    more = (2 * each, each, each, np.full_like(each, 2), 2 * square, square, square)
    return [had + some for had, some in zip(sums, more, strict=True)]


def _variance(sums: list[Numbers]) -> Numbers:
    count, total, squares = sums[:3]
    with np.errstate(divide="ignore", invalid="ignore"):
        variance: Numbers = np.maximum((squares - total * total / count) / (count - 1), 0.0)
    return variance


def _error(sums: list[Numbers]) -> Numbers:
    count, total, _, callers, count_squares, products, total_squares = sums
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        spread = total_squares - 2 * mean * products + mean * mean * count_squares
        error: Numbers = np.sqrt(np.maximum(spread, 0.0) * callers / (callers - 1)) / count
    return error


def _effective(sums: list[Numbers]) -> Numbers:
    with np.errstate(divide="ignore", invalid="ignore"):
        worth = _variance(sums) / _error(sums) ** 2
    return np.where(np.isfinite(worth) & (worth > 0), np.minimum(worth, sums[0]), sums[0])


def _before(values: Numbers, callers: NDArray[np.int64]) -> tuple[Numbers, Numbers]:
    """How many requests the caller of each had before it, and the sum of what came of those."""
    order = np.argsort(callers, kind="stable")
    sums = np.cumsum(values[order]) - values[order]
    starts = np.flatnonzero(np.diff(callers[order], prepend=-1))
    lengths = np.diff(np.append(starts, values.size))
    count, had = np.empty_like(values), np.empty_like(values)
    count[order] = np.arange(values.size) - np.repeat(starts, lengths)
    had[order] = sums - np.repeat(sums[starts], lengths)
    return count, had


def _first(found: Flags) -> int | None:
    """Which request it was after, the first being 1."""
    return int(np.argmax(found)) + 1 if found.any() else None


class Told(NamedTuple):
    """What experiments of a case came to, as shares of them; the interval is Wilson's, of `decided`."""

    case: str
    equal: bool
    experiments: int
    requests: int
    decided: float
    low: float
    high: float
    median_requests: float | None
    repeated_test: float
    one_look_at_the_end: float

    def line(self) -> str:
        """For people."""
        after = "" if self.median_requests is None else f", median after {self.median_requests:,.0f} requests"
        return (
            f"{self.decided:6.1%} ({self.low:.1%} to {self.high:.1%}){after}; "
            f"repeated test {self.repeated_test:.1%}, one look at the end {self.one_look_at_the_end:.1%}"
        )

    def row(self) -> tuple[str, ...]:
        """For a document."""
        after = "" if self.median_requests is None else f"{self.median_requests:,.0f}"
        found = f"{self.decided:.1%} ({self.low:.1%} to {self.high:.1%})"
        return self.case, found, after, f"{self.repeated_test:.1%}", f"{self.one_look_at_the_end:.1%}"


def run(case: Case, *, experiments: int, requests: int) -> Told:
    """What so many experiments of a case came to."""
    bet = ShareBet()
    courses = [simulate(case, requests=requests, seed=seed, bet=bet) for seed in range(experiments)]
    decided = [course.decided_at for course in courses if course.decided_at is not None]
    interval = wilson(Share(len(decided), experiments), alpha=ALPHA)
    return Told(
        case=case.name,
        equal=case.equal,
        experiments=experiments,
        requests=requests,
        decided=len(decided) / experiments,
        low=round(interval.low, 4),
        high=round(interval.high, 4),
        median_requests=statistics.median(decided) if decided else None,
        repeated_test=sum(course.naive_at is not None for course in courses) / experiments,
        one_look_at_the_end=sum(course.one_look for course in courses) / experiments,
    )


HEAD = (
    "two arms",
    "called different by the verdict (95 % interval)",
    "after so many requests (median)",
    "by repeating the test for one look",
    "by one look at the end",
)


def main() -> None:
    """Print a line for each case, or a table of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--requests", type=int, default=10_000, help="of both arms together")
    parser.add_argument("--case", default="", help="only those whose name has this in it")
    parser.add_argument("--json", action="store_true", help="JSON lines")
    given = parse(parser)
    rows: list[tuple[str, ...]] = []
    for case in CASES:
        if given.case not in case.name:
            continue
        told = run(case, experiments=given.experiments, requests=given.requests)
        rows.append(told.row())
        if given.json:
            print(json.dumps(told._asdict()), flush=True)
            continue
        print(f"{case.name:38} {'false alarms' if case.equal else 'found':12} {told.line()}", flush=True)
    note = f"{given.experiments:,} experiments of {given.requests:,} requests each"
    if not given.json:
        publish("experiments", rows, document=given.document, note=note, head=HEAD)


if __name__ == "__main__":
    main()
