"""The judge: a language model that names the tier, asked once for equal requests and never waited for too long.

What it said is kept for an hour. Requests with equal words that come while it is being asked wait for the same answer;
one that leaves does not end the question for the others, the last one does. A judge that keeps failing is left alone
by a breaker of its own, apart from those of its endpoints. Whatever goes wrong is a `JudgeFailed`, never more.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import msgspec

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.clock import Monotonic
from octoroute_py.core.trace import Trace
from octoroute_py.core.words import Tier
from octoroute_py.routing.judge_prompt import Case, Form
from octoroute_py.routing.router import Notes
from octoroute_py.routing.verdict import JudgeFailed, JudgeFailure, read_verdict
from octoroute_py.tiers.breaker import Breaker

KEPT_S: Final = 3600.0
"""How long a verdict is kept."""
MOST_KEPT: Final = 10_000
"""How many verdicts are kept; the oldest goes first."""
SHARE_OF_WAIT: Final = 0.5
"""A client's own time limit must leave room for the answer: this much of it may go to the judge."""

_SAYS_NOTHING: Final = frozenset({JudgeFailure.UNAVAILABLE, JudgeFailure.REFUSED})
"""Failures that the breaker does not count: nobody was asked, or it was for what the request says."""


class Question(msgspec.Struct, frozen=True):
    """A case put in words, the preferred form first; an answer after `deadline_s` (monotonic seconds) is of no use.

    `trace` is that of the request it was first asked for.
    """

    case: Case
    forms: tuple[Form, ...]
    deadline_s: float
    trace: Trace | None = None


Ask: TypeAlias = Callable[[Question], Awaitable[bytes]]
"""Puts the question to an endpoint of the judge's tier; its chat completion. Raises JudgeFailed."""

Report: TypeAlias = Callable[[JudgeFailure, Exception | None], None]
"""Told of every question that came to nothing, with the exception where it is a defect of ours."""


class Verdicts:
    """What was said about cases lately."""

    __slots__ = ("_kept", "_kept_s", "_most")

    def __init__(self, *, kept_s: float = KEPT_S, most: int = MOST_KEPT) -> None:
        self._kept: dict[bytes, tuple[Tier, float]] = {}
        self._kept_s = kept_s
        self._most = most

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, digest: bytes, now: float) -> Tier | None:
        """The verdict on a case, unless it is too old."""
        found = self._kept.get(digest)
        return found[0] if found is not None and now < found[1] else None

    def keep(self, digest: bytes, tier: Tier, now: float) -> None:
        """Remember a verdict from `now` on."""
        self._kept.pop(digest, None)
        if len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[digest] = (tier, now + self._kept_s)


class _Flight:
    """One question under way and how many wait for it."""

    __slots__ = ("passengers", "task")

    def __init__(self, task: "asyncio.Task[Tier | JudgeFailure]") -> None:
        self.task = task
        self.passengers = 0


class Judge:
    """Names the tier of a case. `limit_s` bounds one question, both of its attempts together."""

    def __init__(
        self,
        ask: Ask,
        *,
        forms: Callable[[Case], tuple[Form, ...]],
        limit_s: float,
        breaker: Breaker,
        now: Monotonic,
        report: Report,
        verdicts: Verdicts | None = None,
    ) -> None:
        self._ask = ask
        self._forms = forms
        self._limit_s = limit_s
        self._breaker = breaker
        self._now = now
        self._report = report
        self._verdicts = Verdicts() if verdicts is None else verdicts
        self._flights: dict[bytes, _Flight] = {}

    @property
    def breaker(self) -> Breaker:
        """What keeps it from being asked after it failed too often."""
        return self._breaker

    def follow(self, policy: BreakerConfig) -> None:
        """Go on with another policy of the breaker; what it learnt stays."""
        self._breaker.follow(policy)

    def known(self, case: Case) -> Tier | None:
        """What it said about the case lately; nobody is asked."""
        return self._verdicts.find(case.digest(), self._now())

    async def judge(self, case: Case, *, by_s: float, notes: Notes | None = None, trace: Trace | None = None) -> Tier:
        """The tier for the case, within half of the time that is left until `by_s`. Raises JudgeFailed.

        `notes` learn of a verdict that was remembered.
        """
        digest, now = case.digest(), self._now()
        tier = self._verdicts.find(digest, now)
        if tier is not None:
            if notes is not None:
                notes.remembered = True
            return tier
        flight = self._flights.get(digest)
        if flight is None:
            if not self._breaker.admits(now):
                raise JudgeFailed(JudgeFailure.PAUSED)
            task = asyncio.get_running_loop().create_task(self._fly(case, digest, trace), name="judge")
            flight = self._flights[digest] = _Flight(task)
        wait_s = (by_s - now) * SHARE_OF_WAIT
        return await self._board(flight, digest, None if wait_s > self._limit_s else max(0.0, wait_s))

    async def settled(self) -> None:
        """Wait for the questions under way; none takes longer than the limit."""
        await asyncio.gather(*(flight.task for flight in self._flights.values()), return_exceptions=True)

    async def _board(self, flight: _Flight, digest: bytes, wait_s: float | None) -> Tier:
        flight.passengers += 1
        task = flight.task
        try:
            await asyncio.wait({task}, timeout=wait_s)
        finally:
            flight.passengers -= 1
            if flight.passengers == 0 and not task.done():
                task.cancel()
                if self._flights.get(digest) is flight:
                    del self._flights[digest]
        if not task.done():
            raise JudgeFailed(JudgeFailure.TIMEOUT)
        result = JudgeFailure.UNAVAILABLE if task.cancelled() else task.result()
        if isinstance(result, JudgeFailure):
            raise JudgeFailed(result)
        return result

    async def _fly(self, case: Case, digest: bytes, trace: Trace | None) -> Tier | JudgeFailure:
        now, breaker = self._now(), self._breaker
        epoch, trial = breaker.epoch, breaker.begin(now)
        told = False
        try:
            result = await self._answer(case, now + self._limit_s, trace)
            now = self._now()
            told = result not in _SAYS_NOTHING
            if isinstance(result, Tier):
                breaker.success(now, trial=trial, epoch=epoch)
                self._verdicts.keep(digest, result, now)
            elif told:
                breaker.failure(now, epoch=epoch)
            return result
        finally:
            if not told:
                breaker.abandon(trial=trial, epoch=epoch)
            flight = self._flights.get(digest)
            if flight is not None and flight.task is asyncio.current_task():
                del self._flights[digest]

    async def _answer(self, case: Case, deadline_s: float, trace: Trace | None) -> Tier | JudgeFailure:
        try:
            return read_verdict(await self._ask(Question(case, self._forms(case), deadline_s, trace)))
        except JudgeFailed as failed:
            self._report(failed.failure, None)
            return failed.failure
        except Exception as error:  # noqa: BLE001 - a request must not fail because its judge has a defect
            self._report(JudgeFailure.UPSTREAM, error)
            return JudgeFailure.UPSTREAM
