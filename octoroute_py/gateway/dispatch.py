"""From a plan to a committed answer: pick, send, classify, observe, retry or fall back (contract §5, reliability §1.3).

Until the commit point every failure is a reason to try elsewhere: another endpoint of the tier, then the next tier,
and only when nothing else is left the same endpoint again after a back-off. Whatever is tried, the first real cause is
what the client is told.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import GatewayError, Refused
from octoroute_py.core.words import BreakerState, Reason, Tier
from octoroute_py.gateway.accounts import affordable
from octoroute_py.gateway.attempt import Attempting, Sent
from octoroute_py.gateway.context import RequestContext
from octoroute_py.gateway.failures import client_error
from octoroute_py.gateway.plan import Plan
from octoroute_py.gateway.timers import EARLY_WAKE_S
from octoroute_py.tiers.eligibility import Quality, Shortfall
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.live import Unavailability
from octoroute_py.tiers.recent import BUCKET_S
from octoroute_py.tiers.retry_budget import ExtraTry
from octoroute_py.transport.faults import Fault, FaultKind

SAME_AGAIN = frozenset(
    {FaultKind.CONNECT, FaultKind.SERVER_ERROR, FaultKind.UNAVAILABLE, FaultKind.MALFORMED, FaultKind.TRUNCATED}
)
"""Failures after which the same endpoint may be asked again; one that used up its whole time limit is not."""
FAILOVER_JITTER_S = 0.05
SHORT_WAIT_S = 2.0
"""A rate-limited request waits for its endpoint if that is at most this long and at most half of what is left."""
_TOO_DEAR = "What is left of the budget does not pay for any model that is available at the moment."
_NOBODY = "No model that may answer is available at the moment."


class Job:
    """One request on its way to an answer: what was tried and what it came to."""

    __slots__ = ("_extra", "ctx", "excluded", "faults", "first", "grew", "plan", "sends_in", "too_dear", "window")

    def __init__(self, ctx: RequestContext, plan: Plan) -> None:
        self.ctx = ctx
        self.plan = plan
        self.sends_in: dict[Tier, int] = {}
        self.excluded: set[str] = set()
        self.faults: dict[str, Fault] = {}
        self.first: Fault | None = None
        self.window: int | None = None
        self.grew = False
        self.too_dear = False
        self._extra: ExtraTry | None = None

    @property
    def choosy(self) -> bool:
        """Whether not everybody in the plan will do: `fits` says who."""
        return self.window is not None or self.plan.quality is not None

    def fits(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint could serve the request; after a context overflow only a larger window can."""
        if self.window is not None and (endpoint.config.context_window or 0) <= self.window:
            return False
        return self.plan.quality is None or self.shortfall(endpoint, self.plan.quality) is None

    def shortfall(self, endpoint: Endpoint, quality: Quality) -> Shortfall | None:
        """Which requirement of its workspace the endpoint does not meet now, or None."""
        return quality.shortfall(endpoint.live.recent, stream=self.ctx.stream, now=self.ctx.monotonic())

    def swap_extra(self, extra: ExtraTry | None) -> None:
        """Give back the leave of the try that ended and keep that of the next."""
        if self._extra is not None:
            self._extra.close()
        self._extra = extra


class Dispatcher:
    """Runs jobs: the mechanics around breakers, budgets and balancers, which all decide for themselves."""

    def __init__(self, rng: random.Random, *, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._rng = rng
        self._sleep = sleep

    async def run(self, ctx: RequestContext, plan: Plan) -> Sent:
        """The committed answer. Raises the GatewayError the client is to get."""
        job = Job(ctx, plan)
        home = ctx.snapshot.table.budget(plan.decision.tier)
        home.start()
        try:
            while True:
                now = ctx.monotonic()
                if job.first is not None and now >= ctx.deadline_s:
                    raise self._give_up(job, job.first, now)
                endpoint = self._choose(job, now)
                if endpoint is None:
                    await self._wait_for_second_round(job, now)
                    continue
                if not affordable(ctx, endpoint.config):
                    job.excluded.add(endpoint.id)
                    job.too_dear = True
                    continue
                if job.first is not None:
                    await self._before_retry(job, endpoint, job.first, now)
                ctx.sends += 1
                job.sends_in[endpoint.tier] = job.sends_in.get(endpoint.tier, 0) + 1
                ctx.decision = _decision_at(plan, endpoint)
                last_chance = self._may_stretch(job, endpoint, now)
                result = await Attempting(ctx, endpoint, last_chance=last_chance, rng=self._rng).run()
                if isinstance(result, Sent):
                    ctx.snapshot.table.budget(endpoint.tier).success(ctx.monotonic())
                    return result
                self._note(job, endpoint, result, ctx.monotonic())
        finally:
            job.swap_extra(None)
            home.finish()

    def _choose(self, job: Job, now: float) -> Endpoint | None:
        """The best endpoint that was not tried yet, in the first pool of the plan that has one and sends left."""
        retry = job.ctx.snapshot.config.retry
        if job.ctx.sends >= retry.max_total:
            return None
        plan = job.plan
        fits = job.fits if job.choosy else None
        for pool in plan.pools:
            if job.sends_in.get(pool.tier, 0) < retry.max_attempts:
                endpoint = pool.pick(now=now, excluded=job.excluded, fits=fits)
                if endpoint is not None:
                    return endpoint
        return None

    def _may_stretch(self, job: Job, endpoint: Endpoint, now: float) -> bool:
        """Whether our own default limit may give way: nothing else is left to try after this endpoint."""
        ctx = job.ctx
        retry = ctx.snapshot.config.retry
        if ctx.snapshot.timers.attempt(endpoint.id, stream=ctx.stream)[1]:
            return False
        if ctx.sends >= retry.max_total:
            return True
        fits = job.fits if job.choosy else None
        return not any(
            job.sends_in.get(pool.tier, 0) < retry.max_attempts
            and pool.has_any(now=now, besides=endpoint, excluded=job.excluded, fits=fits)
            for pool in job.plan.pools
        )

    def _note(self, job: Job, endpoint: Endpoint, fault: Fault, now: float) -> None:
        """Remember what this attempt came to. Raises when the fault is the request's own."""
        job.ctx.snapshot.table.observe(now)
        job.excluded.add(endpoint.id)
        job.faults[endpoint.id] = fault
        job.first = job.first or fault
        if not fault.kind.may_try_elsewhere:
            raise client_error(fault, retry_after_s=1.0)
        if fault.kind is FaultKind.CONTEXT_LENGTH:
            if job.grew:
                raise client_error(fault, retry_after_s=1.0)
            job.grew = True
            job.first = fault  # a verdict on the request says more than whatever failed before it
            job.window = endpoint.config.context_window or 0

    async def _before_retry(self, job: Job, endpoint: Endpoint, first: Fault, now: float) -> None:
        """Get leave for one more try, and a moment of jitter; the first cause when the tier has spent its budget."""
        elsewhere = endpoint.id not in job.faults
        first_failover = job.ctx.sends == 1 and elsewhere and endpoint.breaker.state(now) is BreakerState.CLOSED
        extra = job.ctx.snapshot.table.budget(endpoint.tier).ask(now, first_failover=first_failover)
        if extra is None:
            raise self._give_up(job, first, now)
        job.swap_extra(extra)
        if elsewhere:
            await self._pause(job, self._rng.uniform(0.0, FAILOVER_JITTER_S))

    async def _wait_for_second_round(self, job: Job, now: float) -> None:
        """Nothing untried is left: wait for an endpoint that may be asked again, or raise what it came to."""
        if job.first is None:
            raise self._none_available(job, now)
        retry = job.ctx.snapshot.config.retry
        if job.window is not None or job.ctx.sends >= retry.max_total:
            raise self._give_up(job, job.first, now)
        again = [e for e in job.plan.endpoints() if self._may_repeat(job, e, now)]
        if again:
            ceiling = min(retry.max_backoff_seconds, retry.backoff_seconds * 2 ** (job.ctx.sends - 1))
            await self._pause(job, self._rng.uniform(0.0, ceiling))
            job.excluded.difference_update(endpoint.id for endpoint in again)
            return
        limited = [e for e in job.plan.endpoints() if _is_limited(job, e)]
        if limited:
            wait_s = job.ctx.snapshot.table.next_eligible_at(limited, now) - now
            if wait_s <= min(SHORT_WAIT_S, (job.ctx.deadline_s - now) / 2):
                await self._pause(job, max(0.0, wait_s) + EARLY_WAKE_S)
                for endpoint in limited:
                    job.excluded.discard(endpoint.id)
                    job.faults.pop(endpoint.id)
                return
        raise self._give_up(job, job.first, now)

    def _may_repeat(self, job: Job, endpoint: Endpoint, now: float) -> bool:
        fault = job.faults.get(endpoint.id)
        return (
            fault is not None
            and fault.kind in SAME_AGAIN
            and endpoint.unavailable(now) is None
            and job.sends_in.get(endpoint.tier, 0) < job.ctx.snapshot.config.retry.max_attempts
        )

    async def _pause(self, job: Job, seconds: float) -> None:
        now = job.ctx.monotonic()
        if now + seconds >= job.ctx.deadline_s and job.first is not None:
            raise self._give_up(job, job.first, now)
        await self._sleep(seconds)

    def _give_up(self, job: Job, first: Fault, now: float) -> GatewayError:
        return client_error(first, retry_after_s=self._retry_after(job, now))

    def _retry_after(self, job: Job, now: float) -> float:
        able = [endpoint for endpoint in job.plan.endpoints() if job.fits(endpoint)]
        return max(1.0, job.ctx.snapshot.table.next_eligible_at(able or job.plan.endpoints(), now) - now)

    def _none_available(self, job: Job, now: float) -> GatewayError:
        """No send was possible at all: everything is full, or out."""
        if job.too_dear:
            return Refused(
                _TOO_DEAR, code="insufficient_quota", status=429, error_type="insufficient_quota", final=True
            )
        reasons = {e.unavailable(now) for e in job.plan.endpoints() if job.fits(e)}
        if not reasons and job.plan.quality is not None:
            return self._too_poor(job, job.plan.quality)
        if Unavailability.FULL in reasons:
            return Refused("Every model that may answer is busy.", code="overloaded", retry_after_s=1.0)
        why = ", ".join(sorted(reason.value for reason in reasons if reason is not None))
        return Refused(
            f"No model that may answer is available at the moment ({why})." if why else _NOBODY,
            code="no_endpoint_available",
            retry_after_s=self._retry_after(job, now),
            final=reasons == {Unavailability.AUTH},
        )

    def _too_poor(self, job: Job, quality: Quality) -> GatewayError:
        """Whoever may answer falls short of what the workspace asks for, as measured lately."""
        missed = {short.value for e in job.plan.endpoints() if (short := job.shortfall(e, quality)) is not None}
        return Refused(
            f"No model that may answer meets this workspace's {' and '.join(sorted(missed))} now.",
            code="no_endpoint_available",
            retry_after_s=BUCKET_S,
        )


def _is_limited(job: Job, endpoint: Endpoint) -> bool:
    fault = job.faults.get(endpoint.id)
    return fault is not None and fault.kind is FaultKind.RATE_LIMITED


def _decision_at(plan: Plan, endpoint: Endpoint) -> Decision:
    """The decision as this endpoint carries it out; one that was asked first is no fallback, whatever its tier."""
    decision, tier = plan.decision, endpoint.tier
    if tier is decision.tier:
        return decision
    if any(each.id == endpoint.id for each in plan.pools[0].endpoints):
        return msgspec.structs.replace(decision, tier=tier)
    return msgspec.structs.replace(decision, tier=tier, reason=Reason.TIER_FALLBACK)
