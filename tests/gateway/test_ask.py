"""A question to the judge's tier: who is asked, in which form, and what the endpoints learn from it."""

import asyncio
import json
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from octoroute_py.config.schema import BreakerConfig, TokenLimitField
from octoroute_py.core.ending import CLIENT_GONE
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import BreakerState, Capability, Inward, Location, Tier
from octoroute_py.features.conversation import Conversation
from octoroute_py.gateway.ask import MAX_ANSWER_BYTES, JudgeCalls
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.routing.judge import Judge, Question
from octoroute_py.routing.judge_prompt import MAX_OUTPUT_TOKENS, case_of, spoken_forms, tool_forms
from octoroute_py.routing.verdict import JudgeFailed, JudgeFailure
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.tiers.breaker import Breaker
from octoroute_py.transport.base import ConnectFailed, Disconnected, NoSocket, TimedOut, TooLarge
from tests.fakes.bodies import chat_body
from tests.fakes.judging import facts
from tests.fakes.scripted_transport import Never, Reply, Turn
from tests.fakes.stage import WALL, Stage, refusal

GOOD = Reply(200, chat_body("FAST"))
ONE, TWO = "balanced/a#1", "balanced/b#1"


class Bench:
    """A stage with a judge's calls on its tier balanced."""

    def __init__(
        self, scripts: Mapping[str, Sequence[Turn] | Turn], *, each: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        self.stage = Stage(scripts, each=each)
        self.metrics = Metrics(scripts)
        self.reported: list[Outcome] = []
        self.calls = JudgeCalls(
            lambda: self.stage.snapshot,
            tier=Tier.BALANCED,
            metrics=self.metrics,
            monotonic=self.stage.clock,
            wall=lambda: WALL,
            rng=random.Random(3),
            report=self.reported.append,
        )

    async def ask(
        self, *, tool: bool = False, local_only: bool = False, compliance: tuple[str, ...] = (), limit_s: float = 10.0
    ) -> bytes:
        case = case_of(facts(), local_only=local_only, compliance=compliance)
        forms = tool_forms(case) if tool else spoken_forms(case)
        return await self.calls(Question(case, forms, self.stage.clock.now + limit_s))

    async def failure(self, **asked: Any) -> JudgeFailure:
        with pytest.raises(JudgeFailed) as caught:
            await self.ask(**asked)
        return caught.value.failure

    def bodies(self, endpoint_id: str) -> list[dict[str, Any]]:
        return [json.loads(request.body) for request in self.stage.transports[endpoint_id].requests]

    def counted(self, name: str) -> dict[str, float]:
        text = self.metrics.render().decode().splitlines()
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in text
            if line.startswith(name) and not line.endswith(" 0.0")
        }


async def test_the_question_is_a_short_chat_completion_at_temperature_zero() -> None:
    bench = Bench({ONE: GOOD}, each={ONE: {"model": "vendor/judge"}})
    assert await bench.ask() == chat_body("FAST")
    (body,) = bench.bodies(ONE)
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("vendor/judge", 0, MAX_OUTPUT_TOKENS)
    assert body["response_format"]["type"] == "json_schema"
    assert "stream" not in body
    (request,) = bench.stage.transports[ONE].requests
    assert request.path == "/chat/completions"
    assert bench.stage.transports[ONE].deadlines == [1010.0]
    assert bench.stage.holds == 0


async def test_the_token_limit_keeps_to_the_endpoint() -> None:
    bench = Bench(
        {ONE: GOOD}, each={ONE: {"max_tokens": 16, "token_limit_field": TokenLimitField.MAX_COMPLETION_TOKENS}}
    )
    await bench.ask()
    (body,) = bench.bodies(ONE)
    assert body["max_completion_tokens"] == 16
    assert "max_tokens" not in body


@pytest.mark.parametrize(
    "first",
    [
        ConnectFailed("refused"),
        Disconnected("gone"),
        Reply(500),
        refusal(503),
        refusal(401),
        refusal(429),
        Reply(200, b"<html>"),
    ],
)
async def test_a_second_attempt_goes_to_another_endpoint(first: Turn) -> None:
    bench = Bench({ONE: first, TWO: GOOD}, each={TWO: {"priority": 0}})
    assert await bench.ask() == chat_body("FAST")
    assert bench.stage.sent_to == [ONE, TWO]


async def test_two_attempts_are_all_and_the_same_endpoint_is_not_asked_twice() -> None:
    bench = Bench({ONE: Reply(500), TWO: Reply(502), "balanced/c#1": GOOD}, each={"balanced/c#1": {"priority": 0}})
    assert await bench.failure() is JudgeFailure.UPSTREAM
    assert sorted(bench.stage.sent_to) == [ONE, TWO]
    alone = Bench({ONE: [Reply(500), GOOD]})
    assert await alone.failure() is JudgeFailure.UPSTREAM
    assert alone.stage.sent_to == [ONE]


async def test_a_slow_judge_uses_up_the_limit_where_nobody_else_can_be_asked() -> None:
    bench = Bench({ONE: Reply(200, b"{}", delay_s=60.0)})
    assert await bench.failure() is JudgeFailure.TIMEOUT
    assert (bench.stage.sent_to, bench.stage.clock.now) == ([ONE], 1010.0)


async def test_a_slow_judge_leaves_half_of_the_limit_to_another_one() -> None:
    bench = Bench({ONE: Reply(200, b"{}", delay_s=60.0), TWO: GOOD}, each={TWO: {"priority": 0}})
    assert await bench.ask() == chat_body("FAST")
    assert (bench.stage.sent_to, bench.stage.clock.now) == ([ONE, TWO], 1005.0)
    slow = Reply(200, b"{}", delay_s=60.0)
    bench = Bench({ONE: slow, TWO: slow}, each={TWO: {"priority": 0}})
    assert await bench.failure() is JudgeFailure.TIMEOUT
    assert (bench.stage.sent_to, bench.stage.clock.now) == ([ONE, TWO], 1010.0)


async def test_our_own_lack_of_sockets_is_nobodys_fault_and_ends_the_question() -> None:
    bench = Bench({ONE: NoSocket("too many open files"), TWO: GOOD}, each={TWO: {"priority": 0}})
    for _ in range(10):
        assert await bench.failure() is JudgeFailure.UNAVAILABLE
    assert bench.stage[ONE].breaker.state(bench.stage.clock.now) is BreakerState.CLOSED
    assert bench.bodies(TWO) == []


async def test_an_endpoint_that_fails_the_judge_is_told_so() -> None:
    bench = Bench({ONE: Reply(500)})
    for _ in range(5):
        await bench.failure()
    assert bench.stage[ONE].breaker.state(bench.stage.clock.now) is BreakerState.OPEN
    assert await bench.failure() is JudgeFailure.UNAVAILABLE
    assert len(bench.bodies(ONE)) == 5


async def test_the_judges_limit_is_no_verdict_on_an_endpoint_that_has_longer_for_clients() -> None:
    bench = Bench({ONE: TimedOut("slow")})
    for _ in range(20):
        assert await bench.failure() is JudgeFailure.TIMEOUT
    assert bench.stage[ONE].breaker.state(bench.stage.clock.now) is BreakerState.CLOSED


@pytest.mark.parametrize("status", [401, 402, 429])
async def test_penalties_are_imposed_as_by_a_clients_request(status: int) -> None:
    bench = Bench({ONE: refusal(status)})
    await bench.failure()
    assert bench.stage[ONE].unavailable(bench.stage.clock.now) is not None


async def test_nobody_is_asked_beyond_max_in_flight() -> None:
    bench = Bench({ONE: GOOD}, each={ONE: {"max_in_flight": 1}})
    hold = bench.stage[ONE].begin(bench.stage.clock.now)
    assert await bench.failure() is JudgeFailure.UNAVAILABLE
    hold.close()
    assert await bench.ask() == chat_body("FAST")


async def test_local_only_requests_are_shown_to_local_endpoints_alone() -> None:
    bench = Bench({ONE: GOOD, TWO: GOOD}, each={TWO: {"location": Location.LOCAL, "priority": 0}})
    await bench.ask(local_only=True)
    assert bench.stage.sent_to == [TWO]
    assert (
        await Bench({ONE: GOOD}, each={ONE: {"location": Location.CLOUD}}).failure(local_only=True)
        is JudgeFailure.UNAVAILABLE
    )


async def test_requests_of_a_workspace_with_tags_are_shown_to_endpoints_that_have_them_alone() -> None:
    bench = Bench({ONE: GOOD, TWO: GOOD}, each={TWO: {"compliance": ("GDPR", "hipaa"), "priority": 0}})
    await bench.ask(compliance=("gdpr",))
    assert bench.stage.sent_to == [TWO]
    assert await Bench({ONE: GOOD}).failure(compliance=("gdpr",)) is JudgeFailure.UNAVAILABLE


async def test_an_endpoint_without_structured_output_is_asked_for_one_word() -> None:
    bench = Bench({ONE: GOOD}, each={ONE: {"capabilities": frozenset({Capability.TOOLS})}})
    await bench.ask()
    (body,) = bench.bodies(ONE)
    assert "response_format" not in body
    assert "one word" in body["messages"][1]["content"]


async def test_strategy_tool_asks_only_endpoints_that_have_tools() -> None:
    bench = Bench(
        {ONE: GOOD, TWO: GOOD}, each={ONE: {"capabilities": frozenset({Capability.CHAT})}, TWO: {"priority": 0}}
    )
    await bench.ask(tool=True)
    assert bench.stage.sent_to == [TWO]
    assert bench.bodies(TWO)[0]["tool_choice"]["function"]["name"] == "choose_tier"


async def test_a_server_that_rejects_the_schema_is_asked_for_one_word_from_then_on() -> None:
    bench = Bench({ONE: [refusal(400, message="response_format is not supported"), GOOD]})
    assert await bench.ask() == chat_body("FAST")
    assert await bench.ask() == chat_body("FAST")
    assert ["response_format" in body for body in bench.bodies(ONE)] == [True, False, False]


async def test_a_request_that_is_rejected_in_every_form_leaves_the_next_one_its_chances() -> None:
    bench = Bench({ONE: [refusal(400, message="content policy"), refusal(400, message="content policy"), GOOD]})
    assert await bench.failure() is JudgeFailure.UPSTREAM
    assert await bench.ask() == chat_body("FAST")
    assert ["response_format" in body for body in bench.bodies(ONE)] == [True, False, True]


async def test_a_judge_without_end_is_cut_off() -> None:
    bench = Bench({ONE: Reply(200, TooLarge("above the cap"))})
    assert await bench.failure() is JudgeFailure.OVERSIZE
    assert MAX_ANSWER_BYTES < 100_000


async def test_its_calls_are_counted_as_upstream_calls_and_tokens_but_not_as_requests() -> None:
    bench = Bench({ONE: [Reply(200, chat_body("FAST")), Reply(500), ConnectFailed("refused")]})
    await bench.ask()
    await bench.failure()
    await bench.failure()
    assert bench.counted("octoroute_upstream_requests_total") == {
        'octoroute_upstream_requests_total{endpoint="balanced/a#1",status_class="2xx"}': 1.0,
        'octoroute_upstream_requests_total{endpoint="balanced/a#1",status_class="5xx"}': 1.0,
        'octoroute_upstream_requests_total{endpoint="balanced/a#1",status_class="error"}': 1.0,
    }
    assert any('kind="completion"' in name for name in bench.counted("octoroute_tokens_total"))
    assert bench.counted("octoroute_requests_total") == {}
    assert bench.counted("octoroute_model_invocations_total") == {}


async def test_what_its_calls_come_to_and_cost_is_counted() -> None:
    bench = Bench(
        {ONE: [Reply(200, chat_body("FAST", usage=(80, 3))), Reply(500)]},
        each={ONE: {"input_cost_per_mtok": 2.0, "output_cost_per_mtok": 10.0}},
    )
    await bench.ask()
    await bench.failure()
    assert bench.counted("octoroute_judge_calls_total") == {
        'octoroute_judge_calls_total{result="ok"}': 1.0,
        'octoroute_judge_calls_total{result="upstream"}': 1.0,
    }
    assert bench.counted("octoroute_judge_tokens_total") == {
        'octoroute_judge_tokens_total{kind="prompt"}': 80.0,
        'octoroute_judge_tokens_total{kind="completion"}': 3.0,
    }
    cost = sum(attempt.cost_uusd for outcome in bench.reported for attempt in outcome.attempts) / 1e6
    assert bench.counted("octoroute_judge_cost_usd_total") == {"octoroute_judge_cost_usd_total": cost}
    assert sum(bench.counted("octoroute_cost_usd_total").values()) == cost > 0


def test_a_case_counts_what_stands_around_the_request_too() -> None:
    said = Conversation(text="x" * 3_000)
    assert case_of(facts(said.text), local_only=False).tokens > 750


PRICES = {"input_cost_per_mtok": 2.0, "output_cost_per_mtok": 10.0}


async def test_a_question_is_reported_with_its_usage_and_price_and_belongs_to_nobody() -> None:
    bench = Bench({ONE: Reply(200, chat_body("FAST", usage=(80, 3)), delay_s=0.5)}, each={ONE: PRICES})
    await bench.ask()
    (outcome,) = bench.reported
    assert (outcome.surface, outcome.workspace, outcome.key_id, outcome.principal) == (Inward.JUDGE, "", "", None)
    assert (outcome.status, outcome.error_code, outcome.tier, outcome.endpoint_id) == (200, None, Tier.BALANCED, ONE)
    assert (outcome.usage, outcome.estimated, outcome.cost_uusd, outcome.baseline_uusd) == (Usage(80, 3), False, 190, 0)
    assert (outcome.sends, outcome.started_ms, outcome.duration_s) == (1, int(WALL * 1000), 0.5)
    (request,) = bench.stage.transports[ONE].requests
    assert dict(request.headers)[b"x-request-id"].decode() == outcome.request_id
    await bench.ask()
    assert bench.reported[1].request_id != outcome.request_id


async def test_both_attempts_of_a_question_are_one_report_at_their_own_prices() -> None:
    dear = {"input_cost_per_mtok": 20.0, "output_cost_per_mtok": 100.0}
    bench = Bench(
        {ONE: Reply(200, b"<html>"), TWO: Reply(200, chat_body("FAST", usage=(80, 3)))},
        each={ONE: PRICES, TWO: dear | {"priority": 0}},
    )
    await bench.ask()
    (outcome,) = bench.reported
    first, second = outcome.attempts
    assert first.usage is not None
    assert (first.fault, first.estimated, first.cost_uusd) == ("malformed", True, 2 * first.usage.prompt)
    assert (second.fault, second.cost_uusd) == (None, 1900)
    assert (outcome.cost_uusd, outcome.usage, outcome.sends) == (first.cost_uusd + 1900, Usage(80, 3), 2)


async def test_an_answer_without_usage_is_estimated_from_what_was_asked_and_said() -> None:
    bench = Bench({ONE: Reply(200, chat_body("BALANCED", usage=None))}, each={ONE: PRICES})
    await bench.ask()
    (body,) = bench.bodies(ONE)
    asked = sum(len(message["content"]) for message in body["messages"])
    shape = len(json.dumps(body["response_format"], separators=(",", ":")))
    (outcome,) = bench.reported
    assert outcome.usage == Usage((asked + shape) // 4, 2)
    assert outcome.estimated


@pytest.mark.parametrize(
    ("turn", "status", "charged"),
    [
        (ConnectFailed("refused"), 502, False),
        (Reply(500), 502, False),
        (refusal(429), 502, False),
        (TimedOut("slow"), 504, False),
        (NoSocket("none"), 503, False),
        (Reply(200, Disconnected("cut")), 502, True),
        (Reply(200, TooLarge("above the cap")), 502, True),
    ],
)
async def test_a_question_that_fails_costs_what_a_clients_request_would(turn: Turn, status: int, charged: bool) -> None:
    bench = Bench({ONE: turn}, each={ONE: PRICES})
    failure = await bench.failure()
    (outcome,) = bench.reported
    assert (outcome.status, outcome.error_code) == (status, failure.value)
    assert (outcome.cost_uusd > 0, outcome.usage) == (charged, None)


@pytest.mark.parametrize("bills_on_accept", [False, True])
async def test_a_question_nobody_waits_for_any_more_is_reported_too(bills_on_accept: bool) -> None:
    never = Never()
    bench = Bench({ONE: never}, each={ONE: PRICES | {"bills_on_accept": bills_on_accept}})
    task = asyncio.create_task(bench.ask())
    await asyncio.wait_for(never.waiting.wait(), 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (outcome,) = bench.reported
    assert (outcome.status, outcome.cost_uusd > 0) == (CLIENT_GONE, bills_on_accept)
    assert bench.stage.holds == 0


async def test_a_question_that_could_be_put_to_nobody_is_not_reported() -> None:
    bench = Bench({ONE: GOOD}, each={ONE: {"max_in_flight": 1}})
    bench.stage[ONE].begin(bench.stage.clock.now)
    await bench.failure()
    assert bench.reported == []


async def test_a_verdict_that_is_remembered_costs_nothing() -> None:
    bench = Bench({ONE: GOOD}, each={ONE: PRICES})
    judge = Judge(
        bench.calls,
        forms=spoken_forms,
        limit_s=10.0,
        breaker=Breaker(BreakerConfig(), rng=random.Random(1)),
        now=bench.stage.clock,
        report=lambda failure, error: None,
    )
    case = case_of(facts(), local_only=False)
    tiers = {await judge.judge(case, by_s=math.inf) for _ in range(5)}
    tiers |= set(await asyncio.gather(*(judge.judge(case, by_s=math.inf) for _ in range(50))))
    assert tiers == {Tier.FAST}
    assert [outcome.cost_uusd for outcome in bench.reported] == [64]
    assert bench.stage.sent_to == [ONE]
