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
from octoroute_py.manage.anytime import BLOCK, BURN_IN, SHARPEST_AT, Block, ShareBet
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
)


def simulate(case: Case, *, requests: int, seed: int, bet: ShareBet) -> Course:
    """One experiment of so many requests; `bet` remembers what blocks pay and is never added to."""
    rng = np.random.default_rng(seed)
    if case.callers is None:
        is_new = rng.random(requests) < case.share
        values = case.draw(rng, is_new)
    else:
        callers = rng.integers(0, case.callers, requests)
        is_new = (rng.random(case.callers) < case.share)[callers]
        values = differing_callers(rng, callers)
    looks = _Looks(is_new, values)
    check = random.Random(seed)
    decided = looks.by_blocks(bet, check) if case.success else looks.by_bound(check)
    naive, last = looks.naive(pooled=case.success, check=check)
    return Course(decided, naive, last)


class _Looks:
    """One experiment after each of its requests: counts, sums and sums of squares of both arms."""

    def __init__(self, is_new: Flags, values: Numbers) -> None:
        self.is_new, self.values = is_new, values
        self.count = [np.cumsum(which) for which in (is_new, ~is_new)]
        self.total = [np.cumsum(values * which) for which in (is_new, ~is_new)]
        self.squares = [np.cumsum(values * values * which) for which in (is_new, ~is_new)]

    def by_blocks(self, bet: ShareBet, check: random.Random) -> int | None:
        """When the verdict on shares stood."""
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
        first = _first(e_values >= 1 / ALPHA)
        return None if first is None else (first + 1) * BLOCK

    def by_bound(self, check: random.Random) -> int | None:
        """When the verdict on means stood."""
        effect, spread = self._welch()
        n, m = self.count
        x = 4 * n * m / np.maximum(n + m, 1) / SHARPEST_AT
        with np.errstate(divide="ignore", invalid="ignore"):
            e_values = np.exp((effect / spread) ** 2 / 2 * x / (1 + x)) / np.sqrt(1 + x)
        e_values = np.where(np.minimum(n, m) >= BURN_IN, e_values, 1.0)
        for _ in range(CHECKED_LOOKS):
            at = check.randrange(self.values.size)
            found = anytime.means(self._moments(0, at), self._moments(1, at), alpha=ALPHA)
            own = 1.0 if found is None else found.e_value
            assert math.isclose(own, e_values[at], rel_tol=1e-6) or min(own, e_values[at]) > 1e6
        first = _first(e_values >= 1 / ALPHA)
        return None if first is None else first + 1

    def naive(self, *, pooled: bool, check: random.Random) -> tuple[int | None, bool]:
        """When the test for one look first found something, and whether it does in the last look."""
        n, m = self.count
        if pooled:
            rate = (self.total[0] + self.total[1]) / (n + m)
            with np.errstate(divide="ignore", invalid="ignore"):
                effect = self.total[0] / n - self.total[1] / m
                spread = np.sqrt(rate * (1 - rate) * (1 / n + 1 / m))
        else:
            effect, spread = self._welch()
        found = (np.minimum(n, m) >= BURN_IN) & (np.abs(effect) > Z * spread)
        at = check.randrange(self.values.size // 2, self.values.size)
        if min(n[at], m[at]) >= BURN_IN:
            one = (
                two_proportions(self._share(0, at), self._share(1, at), alpha=ALPHA)
                if pooled
                else welch(self._moments(0, at), self._moments(1, at), alpha=ALPHA)
            )
            near = one.p_value is None or abs(one.p_value - ALPHA) < 0.002  # Student's bound is a little wider
            assert near or (one.p_value is not None and bool(found[at]) == (one.p_value < ALPHA))
        first = _first(found)
        return (None if first is None else first + 1), bool(found[-1])

    def _welch(self) -> tuple[Numbers, Numbers]:
        with np.errstate(divide="ignore", invalid="ignore"):
            means = [total / count for total, count in zip(self.total, self.count, strict=True)]
            variances = [
                (squares - total * mean) / (count - 1) / count
                for squares, total, mean, count in zip(self.squares, self.total, means, self.count, strict=True)
            ]
            return means[0] - means[1], np.sqrt(np.maximum(variances[0] + variances[1], 0.0))

    def _moments(self, arm: int, at: int) -> Moments:
        return Moments(int(self.count[arm][at]), float(self.total[arm][at]), float(self.squares[arm][at]))

    def _share(self, arm: int, at: int) -> Share:
        return Share(int(self.total[arm][at]), int(self.count[arm][at]))


def _first(found: Flags) -> int | None:
    return int(np.argmax(found)) if found.any() else None


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
