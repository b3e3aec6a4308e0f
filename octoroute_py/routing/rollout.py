"""How far a canary deployment may go: the shares it passes through, and what its evidence says of the next move.

Pure: figures and the time in, a verdict out. Nothing here waits, measures or carries anything out.
"""

import enum
import math
from collections.abc import Iterator
from typing import Final

import msgspec

from octoroute_py.core.rollout import (
    CanaryDeployment,
    RollbackCriteria,
    RolloutStatus,
    RolloutStrategy,
    RolloutType,
    SuccessCriteria,
)

NEVER_BY_CHANCE: Final = 0.001
"""Errors this improbable at the limit end a deployment before `minRequests` were measured."""
_FIRST_EXPONENTIAL: Final = 5.0
_USUAL_STEPS: Final = {RolloutType.LINEAR: 10, RolloutType.STEP: 4}
_SMALLEST: Final = 0.01
_NEARLY: Final = 0.1
"""What is missing of the highest share, in parts of a step, that is no step of its own: shares are rounded."""


class Call(enum.StrEnum):
    """What to do next."""

    PROCEED = "proceed"
    HOLD = "hold"
    ROLLBACK = "rollback"
    COMPLETE = "complete"


class Figures(msgspec.Struct, frozen=True, gc=False):
    """What some requests came to; `latency_p95_ms` is that of good answers, None when there was none."""

    requests: int = 0
    errors: int = 0
    latency_p95_ms: float | None = None


NOTHING: Final = Figures()


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured of a canary: in its evaluation window, since the step began, and in its last `minRequests`.

    The window holds what is younger than `evaluationWindow`, and never less than the last `minRequests`. `recent` needs
    no latency. `quality` is the mean of feedback from 0 to 1, None while there is too little of it.
    """

    window: Figures = NOTHING
    step: Figures = NOTHING
    recent: Figures = NOTHING
    quality: float | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What to do and why; `share` is the canary's percentage afterwards, `confidence` how much of `minRequests` is in.

    To roll back needs no `minRequests` where the errors prove enough: its confidence may be low.
    """

    call: Call
    reasons: tuple[str, ...]
    share: float
    confidence: float


def next_share(strategy: RolloutStrategy, share: float) -> float:
    """The percentage after `share`, in hundredths: more, up to the highest and never above it."""
    highest = strategy.max_traffic_percentage
    if strategy.type is RolloutType.EXPONENTIAL:
        growth = _FIRST_EXPONENTIAL if share <= 0 else share
    else:
        growth = highest / (strategy.steps or _USUAL_STEPS[strategy.type])
    after = max(round(share + growth, 2), share + _SMALLEST)
    return highest if highest - after < growth * _NEARLY else after


def shares_of(strategy: RolloutStrategy) -> Iterator[float]:
    """The percentages from the first to the highest."""
    share = 0.0
    while share < strategy.max_traffic_percentage:
        share = next_share(strategy, share)
        yield share


def judge(deployment: CanaryDeployment, evidence: Evidence, *, now_s: float) -> Verdict:
    """What to do now, at Unix time `now_s`; a deployment that is not active only ever holds or rolls back."""
    share = deployment.traffic_split.canary
    least = deployment.success_criteria.min_requests
    confidence = min(1.0, evidence.step.requests / least)
    broken = tuple(_broken(deployment, evidence))
    if broken:
        return Verdict(call=Call.ROLLBACK, reasons=broken, share=0.0, confidence=confidence)
    waits = tuple(_waits(deployment, evidence, now_s))
    if waits:
        return Verdict(call=Call.HOLD, reasons=waits, share=share, confidence=confidence)
    held = f"Every criterion held over {evidence.step.requests} canary requests of this step."
    if share >= deployment.rollout_strategy.max_traffic_percentage:
        return Verdict(call=Call.COMPLETE, reasons=(held,), share=share, confidence=confidence)
    after = next_share(deployment.rollout_strategy, share)
    return Verdict(call=Call.PROCEED, reasons=(held,), share=after, confidence=confidence)


def _broken(deployment: CanaryDeployment, evidence: Evidence) -> Iterator[str]:
    """What ends the deployment."""
    criteria = deployment.rollback_criteria
    if evidence.window.requests >= deployment.success_criteria.min_requests:
        yield from _missed(criteria, evidence.window, "the evaluation window")
        if criteria.min_quality_score is not None and evidence.quality is not None:
            yield from _too_poor(criteria.min_quality_score, evidence.quality)
    limit = error_limit(criteria)
    recent = evidence.recent
    if limit is not None and chance_of(recent.errors, recent.requests, limit) < NEVER_BY_CHANCE:
        yield (
            f"{recent.errors} of the last {recent.requests} canary requests failed: "
            f"as good as impossible with at most {_percent(limit)}."
        )


def _waits(deployment: CanaryDeployment, evidence: Evidence, now_s: float) -> Iterator[str]:
    """What keeps the share as it is."""
    criteria = deployment.success_criteria
    if deployment.status is not RolloutStatus.ACTIVE:
        yield f"It is {deployment.status.value}."
    measured = evidence.step.requests
    if measured < criteria.min_requests:
        yield f"{measured} of {criteria.min_requests} canary requests are measured since this step began."
        return  # nothing else can be said of so few
    left_s = _least_s(deployment) - (now_s - (deployment.step_since_ms or 0) / 1000.0)
    if left_s > 0:
        yield f"This step lasts at least {math.ceil(left_s)} s more."
    yield from _missed(criteria, evidence.window, "the evaluation window")
    yield from _missed(criteria, evidence.step, "this step")
    if criteria.max_latency_p95 is not None and evidence.step.latency_p95_ms is None:
        yield "No canary request of this step was answered: its latency is not known."
    if criteria.min_quality_score is not None:
        if evidence.quality is None:
            yield "There is too little feedback to judge minQualityScore by."
        else:
            yield from _too_poor(criteria.min_quality_score, evidence.quality)


def _missed(criteria: SuccessCriteria | RollbackCriteria, figures: Figures, where: str) -> Iterator[str]:
    """The limits on errors and latency that these figures break."""
    if not figures.requests:
        return
    rate = figures.errors / figures.requests
    if criteria.max_error_rate is not None and rate > criteria.max_error_rate:
        yield f"{_failed(figures, where)}, more than maxErrorRate {_percent(criteria.max_error_rate)}."
    if criteria.min_success_rate is not None and 1.0 - rate < criteria.min_success_rate - 1e-12:
        yield f"{_failed(figures, where)}, fewer than minSuccessRate {_percent(criteria.min_success_rate)} succeeded."
    limit, p95 = criteria.max_latency_p95, figures.latency_p95_ms
    if limit is not None and p95 is not None and p95 > limit:
        yield f"95 % of the canary's answers in {where} took up to {p95:.0f} ms, more than maxLatencyP95 {limit:g} ms."


def _failed(figures: Figures, where: str) -> str:
    failed = f"{figures.errors} of {figures.requests} canary requests in {where} failed"
    return f"{failed} ({_percent(figures.errors / figures.requests)})"


def _too_poor(limit: float, quality: float) -> Iterator[str]:
    if quality < limit:
        yield f"Feedback on the canary averages {quality:.3f}, less than minQualityScore {limit:g}."


def error_limit(criteria: RollbackCriteria) -> float | None:
    """The highest error rate that the criteria bear; None where they ask for none."""
    limits = []
    if criteria.max_error_rate is not None:
        limits.append(criteria.max_error_rate)
    if criteria.min_success_rate is not None:
        limits.append(1.0 - criteria.min_success_rate)
    return min(limits, default=None)


def _least_s(deployment: CanaryDeployment) -> float:
    """How long a step lasts at least."""
    strategy = deployment.rollout_strategy
    if strategy.duration is None:
        return 0.0
    return strategy.duration * 60.0 / sum(1 for _ in shares_of(strategy))


def chance_of(errors: int, requests: int, rate: float) -> float:
    """The probability of that many errors or more if each request fails with probability `rate`.

    Exact (the binomial's upper tail); 1 where there are no more than `rate` lets expect.
    """
    if errors <= requests * rate:
        return 1.0
    if rate <= 0.0:
        return 0.0
    successes = requests - errors
    term = math.exp(
        math.lgamma(requests + 1)
        - math.lgamma(errors + 1)
        - math.lgamma(successes + 1)
        + errors * math.log(rate)
        + successes * math.log1p(-rate)
    )
    odds, total = rate / (1.0 - rate), term
    for more in range(errors, requests):
        term *= (requests - more) / (more + 1) * odds
        total += term
        if term < total * 1e-9:
            break
    return total


def _percent(rate: float) -> str:
    return f"{rate * 100:.3g} %"
