"""Simulated canary deployments, through the code that judges live ones; requests fail independently of each other."""

import random
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import msgspec

from octoroute_py.core.rollout import (
    CanaryDeployment,
    RollbackCriteria,
    RolloutStatus,
    RolloutStrategy,
    RolloutType,
    Side,
    Split,
    SuccessCriteria,
)
from octoroute_py.manage.canary_evidence import Measured, Sample
from octoroute_py.routing.rollout import Call, judge

LIMIT: Final = 0.05
"""The error rate that every deployment here bears."""
GRACE: Final = 20
"""How many requests beyond `minRequests` it may take until a worse canary is rolled back."""
MOST_REQUESTS: Final = 60_000
"""A run that takes longer than this is told as one that did not end."""
_NOON_S: Final = 1_800_000_000.0
_SIDES: Final = {"new": Side.CANARY}

Failing = Callable[[int], float]
"""The chance that the canary request of that number fails."""


class Run(NamedTuple):
    """How one deployment ended, after so many canary requests."""

    call: Call | None
    requests: int
    highest: float


def deployment(least: int) -> CanaryDeployment:
    """Ten linear steps to everybody, the same limit for growing and for staying."""
    return CanaryDeployment(
        id="d",
        name="d",
        production_model_id="old",
        canary_model_id="new",
        traffic_split=Split(production=90.0, canary=10.0),
        rollout_strategy=RolloutStrategy(type=RolloutType.LINEAR),
        success_criteria=SuccessCriteria(min_requests=least, max_error_rate=LIMIT, evaluation_window=24 * 60.0),
        rollback_criteria=RollbackCriteria(max_error_rate=LIMIT),
        status=RolloutStatus.ACTIVE,
        step=1,
        started_ms=int(_NOON_S * 1000),
        step_since_ms=int(_NOON_S * 1000),
    )


def run(least: int, failing: Failing, chance: random.Random, *, most: int = MOST_REQUESTS) -> Run:
    """One deployment to its end, a canary request a second."""
    now = deployment(least)
    measured = Measured(now, _SIDES)
    for number in range(1, most + 1):
        at_s = _NOON_S + number
        ok = chance.random() >= failing(number)
        measured.take([Sample("new", at_s, ok, 100.0 if ok else None, 10)])
        verdict = judge(now, measured.evidence(at_s), now_s=at_s)
        if verdict.call in (Call.ROLLBACK, Call.COMPLETE):
            return Run(verdict.call, number, now.traffic_split.canary)
        if verdict.call is Call.PROCEED:
            now = msgspec.structs.replace(
                now,
                traffic_split=Split(production=100.0 - verdict.share, canary=verdict.share),
                step=now.step + 1,
                step_since_ms=int(at_s * 1000) + 1,
            )
            measured.follow(now, _SIDES)
    return Run(None, most, now.traffic_split.canary)


def steady(runs: int, least: int, rate: float, chance: random.Random) -> list[Run]:
    """Canaries that fail that often from the start."""
    return [run(least, lambda _: rate, chance) for _ in range(runs)]


def in_time(found: Sequence[Run], least: int) -> float:
    """The part of them that was rolled back soon enough."""
    return sum(each.call is Call.ROLLBACK and each.requests <= least + GRACE for each in found) / len(found)


def rolled_back(found: Sequence[Run]) -> float:
    """The part of them that was rolled back at all."""
    return sum(each.call is Call.ROLLBACK for each in found) / len(found)


def turning(runs: int, least: int, rate: float, chance: random.Random) -> list[int]:
    """How many requests were made of canaries that turned that bad in the first steps, from then until they ended."""
    after: list[int] = []

    def rate_at(number: int) -> float:
        return rate if number > turns else LIMIT / 10

    while len(after) < runs:
        turns = int(chance.uniform(1.0, 3.0) * least)
        ended = run(least, rate_at, chance)
        if ended.requests > turns:
            after.append(ended.requests - turns if ended.call is Call.ROLLBACK else MOST_REQUESTS)
    return after


def still(looks: int) -> int:
    """How often a deployment without any traffic was to move, looked at once an hour."""
    now = deployment(1)
    measured = Measured(now, _SIDES)
    times = (_NOON_S + 3600.0 * hour for hour in range(looks))
    return sum(judge(now, measured.evidence(at_s), now_s=at_s).call is not Call.HOLD for at_s in times)
