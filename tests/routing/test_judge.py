"""One judge call for equal requests, bounded waits, and nothing but `JudgeFailed` when it goes wrong."""

import asyncio
import math
from collections.abc import Awaitable, Callable

import pytest

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.routing.judge import KEPT_S, Judge, Question, Verdicts
from octoroute_py.routing.judge_prompt import Case, case_of
from octoroute_py.routing.llm import JudgeRouter
from octoroute_py.routing.policy import Hints
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.verdict import JudgeFailed, JudgeFailure
from tests.fakes.judging import Failures, ScriptedAsk, completion, facts, judge
from tests.fakes.scripted_transport import Clock

CASE = case_of(facts(), local_only=False)


class HeldAsk:
    """An `Ask` that answers when the test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.cancelled = 0
        self.go = asyncio.Event()
        self.begun = asyncio.Event()

    async def __call__(self, question: Question) -> bytes:
        self.asked += 1
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return completion("DEEP")


async def failure_of(verdict: Awaitable[Tier]) -> JudgeFailure:
    with pytest.raises(JudgeFailed) as caught:
        await verdict
    return caught.value.failure


async def ask(one: Judge, case: Case = CASE, by_s: float = math.inf) -> Tier:
    return await one.judge(case, by_s=by_s)


async def test_two_hundred_equal_requests_at_once_are_one_question() -> None:
    held = HeldAsk()
    one = judge(held)
    tasks = [asyncio.create_task(ask(one)) for _ in range(200)]
    await held.begun.wait()
    held.go.set()
    assert set(await asyncio.gather(*tasks)) == {Tier.DEEP}
    assert held.asked == 1


async def test_one_that_leaves_does_not_end_the_question_for_the_others() -> None:
    held = HeldAsk()
    one = judge(held)
    leaver, stayer = asyncio.create_task(ask(one)), asyncio.create_task(ask(one))
    await held.begun.wait()
    leaver.cancel()
    await asyncio.wait({leaver})
    held.go.set()
    assert await stayer is Tier.DEEP
    assert (leaver.cancelled(), held.asked, held.cancelled) == (True, 1, 0)


async def test_when_the_last_one_leaves_the_question_ends_and_can_be_asked_again() -> None:
    held = HeldAsk()
    one = judge(held)
    leavers = [asyncio.create_task(ask(one)) for _ in range(3)]
    await held.begun.wait()
    for leaver in leavers:
        leaver.cancel()
    await asyncio.wait(leavers)
    again = asyncio.create_task(ask(one))
    held.go.set()
    assert await again is Tier.DEEP
    assert (held.asked, held.cancelled) == (2, 1)


async def test_a_verdict_is_kept_for_an_hour_and_a_failure_is_not() -> None:
    clock, said = Clock(), ScriptedAsk(completion("rambling on"), completion("FAST"), completion("DEEP"))
    one = judge(said, clock=clock)
    assert await failure_of(ask(one)) is JudgeFailure.UNREADABLE
    assert one.known(CASE) is None
    assert [await ask(one), await ask(one)] == [Tier.FAST, Tier.FAST]
    assert one.known(CASE) is Tier.FAST
    clock.now += KEPT_S
    assert one.known(CASE) is None
    assert await ask(one) is Tier.DEEP
    assert len(said.questions) == 3


async def test_other_words_and_local_only_requests_are_questions_of_their_own() -> None:
    said = ScriptedAsk(completion("FAST"), completion("DEEP"), completion("BALANCED"))
    one = judge(said)
    assert await ask(one) is Tier.FAST
    assert await ask(one, case_of(facts("Another question?"), local_only=False)) is Tier.DEEP
    assert await ask(one, case_of(facts(), local_only=True)) is Tier.BALANCED


def test_only_so_many_verdicts_are_kept_and_the_oldest_goes_first() -> None:
    verdicts = Verdicts(most=2)
    for number, digest in enumerate((b"a", b"b", b"a", b"c")):
        verdicts.keep(digest, Tier.FAST, float(number))
    assert len(verdicts) == 2
    assert [verdicts.find(digest, 4.0) for digest in (b"a", b"b", b"c")] == [Tier.FAST, None, Tier.FAST]


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (completion(""), JudgeFailure.EMPTY),
        (completion("I'm sorry, I can't."), JudgeFailure.REFUSED),
        (completion("x" * 2_000), JudgeFailure.OVERSIZE),
        (completion("That depends on many things."), JudgeFailure.UNREADABLE),
        (completion('{"tire": "fast"}'), JudgeFailure.UNREADABLE),
        (JudgeFailed(JudgeFailure.UPSTREAM), JudgeFailure.UPSTREAM),
        (JudgeFailed(JudgeFailure.TIMEOUT), JudgeFailure.TIMEOUT),
        (JudgeFailed(JudgeFailure.UNAVAILABLE), JudgeFailure.UNAVAILABLE),
    ],
)
async def test_what_goes_wrong_has_a_name_and_is_reported(said: bytes | Exception, expected: JudgeFailure) -> None:
    report = Failures()
    assert await failure_of(ask(judge(ScriptedAsk(said), report=report))) is expected
    assert (report.told, report.defects) == ([expected], [])


async def test_a_defect_of_ours_is_a_failure_too_and_is_reported_as_it_is() -> None:
    report = Failures()
    defect = RuntimeError("a bug")
    assert await failure_of(ask(judge(ScriptedAsk(defect), report=report))) is JudgeFailure.UPSTREAM
    assert report.defects == [defect]


async def test_a_judge_that_keeps_failing_is_left_alone_and_tried_again_later() -> None:
    clock, said = Clock(), ScriptedAsk(JudgeFailed(JudgeFailure.TIMEOUT))
    policy = BreakerConfig(failure_threshold=3, half_open_successes=1)
    one = judge(said, clock=clock, policy=policy)
    failures = [await failure_of(ask(one)) for _ in range(5)]
    assert failures == [JudgeFailure.TIMEOUT] * 3 + [JudgeFailure.PAUSED] * 2
    assert len(said.questions) == 3
    clock.now += 2 * policy.open_seconds
    said._turns[:] = [completion("FAST")]
    assert await ask(one) is Tier.FAST
    assert await ask(one, case_of(facts("Another one?"), local_only=False)) is Tier.FAST


@pytest.mark.parametrize("said", [JudgeFailed(JudgeFailure.UNAVAILABLE), completion("I cannot do that.")])
async def test_refusals_and_having_nobody_to_ask_do_not_pause_it(said: bytes | Exception) -> None:
    asked = ScriptedAsk(said)
    one = judge(asked, policy=BreakerConfig(failure_threshold=1))
    for _ in range(3):
        await failure_of(ask(one))
    assert len(asked.questions) == 3


async def test_a_question_has_the_configured_limit_in_all() -> None:
    clock, said = Clock(500.0), ScriptedAsk(completion("FAST"))
    await ask(judge(said, clock=clock, limit_s=7.0))
    assert said.questions[0].deadline_s == 507.0


async def test_a_client_in_a_hurry_waits_half_of_its_time_at_most() -> None:
    clock, held = Clock(500.0), HeldAsk()
    one = judge(held, clock=clock)
    patient = asyncio.create_task(ask(one))
    await held.begun.wait()
    assert await failure_of(ask(one, by_s=500.02)) is JudgeFailure.TIMEOUT
    assert await failure_of(ask(one, by_s=499.0)) is JudgeFailure.TIMEOUT
    held.go.set()
    assert await patient is Tier.DEEP


async def test_settling_waits_for_the_questions_under_way() -> None:
    held = HeldAsk()
    one = judge(held)
    asked = asyncio.create_task(ask(one))
    await held.begun.wait()
    settled = asyncio.create_task(one.settled())
    held.go.set()
    await settled
    assert await asked is Tier.DEEP


def router(ask: Callable[[Question], object], strategy: Strategy = Strategy.LLM) -> JudgeRouter:
    return JudgeRouter(judge(ask), strategy=strategy, otherwise=Tier.BALANCED)


@pytest.mark.parametrize("strategy", [Strategy.LLM, Strategy.TOOL])
async def test_a_verdict_is_a_decision_under_the_label_of_the_strategy(strategy: Strategy) -> None:
    decision = await router(ScriptedAsk(completion("DEEP")), strategy).route(Inquiry(facts()))
    assert (decision.tier, decision.strategy, decision.reason) == (Tier.DEEP, strategy, Reason.LLM_JUDGED)


async def test_without_a_verdict_the_default_tier_answers_and_the_reason_says_so() -> None:
    decision = await router(ScriptedAsk(completion("hm"))).route(Inquiry(facts()))
    assert (decision.tier, decision.strategy, decision.reason) == (Tier.BALANCED, Strategy.RULE, Reason.JUDGE_FAILED)


async def test_what_the_judge_said_lately_is_known_without_asking() -> None:
    said = ScriptedAsk(completion("DEEP"))
    one = router(said)
    inquiry = Inquiry(facts(), Hints(local_only=True))
    assert one.known(inquiry) is None
    assert await one.route(inquiry) == one.known(inquiry)
    assert one.known(Inquiry(facts())) is None
    assert said.questions[0].case.local_only
