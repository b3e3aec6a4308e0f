"""What the caller is told when nothing is left to try, and how few upstream calls that may cost."""

import asyncio
import contextlib
import email.utils
import itertools
import time
from pathlib import Path
from typing import Literal

import msgspec
import pytest

from tests.fakes import bodies, turns
from tests.fakes.client import Answer, ask, ask_many, chat, get, post
from tests.fakes.gateway import RunningGateway, gateway, rule_config, tier
from tests.fakes.rawserver import RawServer
from tests.fakes.script import Fin, Rst, Script, Turn
from tests.fakes.upstream import FakeUpstream

NO_PROBES = "[health]\nenabled = false\n"
ONE_TIER = 'tier_fallback = "none"\n'
KEY = "sk-upstream-0123456789abcdef"


def config_of(*fast: FakeUpstream, rest: FakeUpstream, routing: str = ONE_TIER, each: str = "") -> str:
    others = [rest.base_url]
    return rule_config([up.base_url for up in fast], others, others, each=each, more=routing + NO_PROBES)


async def rows(running: RunningGateway) -> dict[str, dict[str, object]]:
    models = (await ask(running.port, get("/models"))).json["models"]
    return {row["name"]: row for row in models}


def told(answer: Answer) -> tuple[int, str]:
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}
    return answer.status, answer.code


CAUSES: dict[str, tuple[Turn, int, str]] = {
    "500": (turns.status(500), 502, "upstream_error"),
    "502": (turns.status(502), 502, "upstream_error"),
    "503": (turns.status(503), 503, "upstream_error"),
    "529": (turns.status(529), 503, "upstream_error"),
    "504": (turns.status(504), 504, "upstream_timeout"),
    "408": (turns.status(408), 504, "upstream_timeout"),
    "401": (turns.unauthorized(), 502, "upstream_auth_failed"),
    "403": (turns.unauthorized(code=403), 502, "upstream_auth_failed"),
    "quota": (turns.quota_exhausted(), 503, "upstream_quota"),
    "402": (turns.status(402), 503, "upstream_quota"),
    "429": (turns.rate_limited(7), 429, "rate_limit_exceeded"),
    "bad_json": (turns.bad_json(), 502, "upstream_error"),
    "html": (turns.html_200(), 502, "upstream_error"),
    "empty": (turns.empty_200(), 502, "upstream_error"),
    "204": (turns.status(204), 502, "upstream_error"),
    "redirect": (turns.redirect("http://127.0.0.1:1/"), 502, "upstream_error"),
    "reset": (Script((Rst(),)), 502, "upstream_error"),
    "closed": (Script((Fin(),)), 502, "upstream_error"),
}
"""What both replicas of a model do, and what the caller is told then."""


async def test_when_every_endpoint_fails_alike_the_caller_is_told_the_cause(tmp_path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        good = await stack.enter_async_context(FakeUpstream())
        config, pairs = "", {}
        for name, (turn, _, _) in CAUSES.items():
            for stream in (False, True):
                pair = [await stack.enter_async_context(FakeUpstream()) for _ in range(2)]
                pairs[name, stream] = pair
                for upstream in pair:
                    upstream.always(turn)
                    config += f'[[models.fast]]\nname = "{name}-{stream}"\nbase_url = "{upstream.base_url}"\n'
        config += tier("balanced", good.base_url) + tier("deep", good.base_url)
        config += f'[routing]\nstrategy = "rule"\n{NO_PROBES}[retry]\nbackoff_seconds = 0.02\n'
        running = await stack.enter_async_context(gateway(config, tmp_path))
        for (name, stream), (one, two) in pairs.items():
            answer = await ask(running.port, post(chat(model=f"{name}-{stream}", stream=stream)))
            _, status, code = CAUSES[name]
            assert (name, *told(answer)) == (name, status, code)
            assert answer.headers["content-type"] == "application/json"
            assert ("retry-after" in answer.headers) == (status in (429, 503))
            assert one.requests, name
            assert two.requests, name
            assert len(one.requests) + len(two.requests) <= 3
            assert "location" not in answer.headers


async def test_refused_connections_and_time_outs_have_their_own_statuses(tmp_path: Path) -> None:
    async with FakeUpstream() as gone, FakeUpstream() as silent, FakeUpstream() as rest:
        await gone.stop_listening()
        silent.always(turns.hang())
        config = tier("fast", gone.base_url) + tier("balanced", silent.base_url, more="timeout_seconds = 0.3")
        config += tier("deep", rest.base_url) + f'[routing]\nstrategy = "rule"\n{ONE_TIER}{NO_PROBES}'
        async with gateway(config, tmp_path) as running:
            assert told(await ask(running.port, post(chat()))) == (502, "upstream_error")
            for stream in (False, True):
                began = time.monotonic()
                answer = await ask(running.port, post(chat(model="balanced", stream=stream)))
                assert told(answer) == (504, "upstream_timeout")
                assert time.monotonic() - began < 2 * 0.3 + 0.2


async def test_the_first_real_cause_is_reported_whatever_comes_later(tmp_path: Path) -> None:
    async with FakeUpstream() as one, FakeUpstream() as two:
        one.always(turns.status(504))
        two.always(turns.status(500))
        config = config_of(one, two, rest=two).replace('name = "fast-0"', 'name = "fast-0"\npriority = 9')
        async with gateway(config, tmp_path) as running:
            assert told(await ask(running.port, post(chat()))) == (504, "upstream_timeout")
            assert one.requests
            assert two.requests


async def test_the_pause_that_the_nearest_endpoint_asks_for_is_passed_on(tmp_path: Path) -> None:
    date = email.utils.formatdate(time.time() + 60, usegmt=True)
    for first, second, least, most in [
        (turns.rate_limited(4), turns.rate_limited(9), 4, 5),
        (turns.rate_limited(headers=[("retry-after-ms", "4000")]), turns.rate_limited(date), 4, 5),
    ]:
        async with FakeUpstream() as one, FakeUpstream() as two:
            one.always(first)
            two.always(second)
            async with gateway(config_of(one, two, rest=two), tmp_path) as running:
                began = time.monotonic()
                answer = await ask(running.port, post(chat()))
                assert time.monotonic() - began < 1
                assert told(answer) == (429, "rate_limit_exceeded")
                assert least <= int(answer.headers["retry-after"]) <= most
                assert len(one.requests) + len(two.requests) <= 2
                # Others that come meanwhile cost no upstream call and are told the truth, too.
                again = await ask(running.port, post(chat()))
                assert again.status == 503
                assert 3 <= int(again.headers["retry-after"]) <= most
                assert len(one.requests) + len(two.requests) <= 2
                assert {row["breaker"] for row in (await rows(running)).values()} == {"closed"}


async def test_a_pause_of_at_most_two_seconds_is_waited_for(tmp_path: Path) -> None:
    async with FakeUpstream() as one:
        one.enqueue(turns.rate_limited(0.5))
        async with gateway(config_of(one, rest=one), tmp_path) as running:
            answer = await ask(running.port, post(chat()))
            assert answer.status == 200
            assert answer.headers["x-octoroute-attempts"] == "2"
            assert one.requests[1].at - one.requests[0].at >= 0.45


async def test_a_spent_quota_keeps_an_endpoint_out_for_a_minute(tmp_path: Path) -> None:
    async with FakeUpstream() as one, FakeUpstream() as two:
        one.always(turns.quota_exhausted())
        async with gateway(config_of(one, two, rest=two), tmp_path) as running:
            answers = await ask_many(running.port, post(chat()), count=100, at_once=1)
            assert {answer.status for answer in answers} == {200}
            assert len(one.requests) == 1
            assert (await rows(running))["fast-0"]["out_because"] == "quota_exhausted"
            two.always(turns.quota_exhausted())
            answer = await ask(running.port, post(chat()))
            assert told(answer) == (503, "upstream_quota")
            assert 55 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["x-should-retry"] == "false"


DIALECTS: tuple[Literal["openai", "vllm", "llama_cpp", "ollama"], ...] = ("openai", "vllm", "llama_cpp", "ollama")


async def test_a_prompt_that_is_too_long_is_tried_once_more_where_the_window_is_larger(tmp_path: Path) -> None:
    async with FakeUpstream() as small, FakeUpstream() as same, FakeUpstream() as large:
        config = tier("fast", small.base_url, same.base_url, more="context_window = 8000")
        config += tier("fast", large.base_url, more="context_window = 32000\npriority = 0").replace("fast-0", "large")
        config += tier("balanced", same.base_url) + tier("deep", same.base_url)
        config += f'[routing]\nstrategy = "rule"\n{ONE_TIER}{NO_PROBES}'
        async with gateway(config, tmp_path) as running:
            for dialect, stream in itertools.product(DIALECTS, (False, True)):
                for upstream in (small, same, large):
                    upstream.requests.clear()
                    upstream.always(turns.context_too_long(dialect))
                large.enqueue(turns.good_answer)
                answer = await ask(running.port, post(chat(stream=stream)))
                assert (dialect, answer.status) == (dialect, 200)
                assert answer.headers["x-octoroute-attempts"] == "2"
                assert (len(small.requests) + len(same.requests), len(large.requests)) == (1, 1)
                answer = await ask(running.port, post(chat(stream=stream)))
                assert (dialect, *told(answer)) == (dialect, 400, "context_length_exceeded")
                assert (len(small.requests) + len(same.requests), len(large.requests)) == (2, 2)
            assert {row["breaker"] for row in (await rows(running)).values()} == {"closed"}


async def test_a_prompt_that_is_too_long_costs_one_call_where_no_window_is_larger(tmp_path: Path) -> None:
    async with FakeUpstream() as one, FakeUpstream() as two:
        one.always(turns.context_too_long())
        two.always(turns.context_too_long())
        async with gateway(config_of(one, two, rest=two), tmp_path) as running:
            assert told(await ask(running.port, post(chat()))) == (400, "context_length_exceeded")
            assert len(one.requests) + len(two.requests) == 1


async def test_a_verdict_on_the_request_passes_once_with_cleaned_words(tmp_path: Path) -> None:
    words = f"'temperature' is out of range (asked http://10.9.8.7:4000/v1 with {KEY})."
    body = bodies.error_body(words, error_type="invalid_request_error", code="out_of_range", param="temperature")
    async with FakeUpstream() as one, FakeUpstream() as two:
        config = config_of(one, two, rest=two, each='api_key_env = "UPSTREAM_KEY"')
        async with gateway(config, tmp_path, env={"UPSTREAM_KEY": KEY}) as running:
            for status, stream in itertools.product((400, 404, 413, 415, 422), (False, True)):
                for upstream in (one, two):
                    upstream.requests.clear()
                    upstream.always(turns.status(status, body))
                answer = await ask(running.port, post(chat(stream=stream)))
                assert told(answer) == (status, "out_of_range")
                error = answer.json["error"]
                assert error["param"] == "temperature"
                assert "'temperature' is out of range" in error["message"]
                for secret in (KEY, "10.9.8.7", "127.0.0.1"):
                    assert secret.encode() not in answer.body
                    assert secret not in str(answer.headers)
                assert len(one.requests) + len(two.requests) == 1
            assert {row["breaker"] for row in (await rows(running)).values()} == {"closed"}
            assert KEY not in running.log


async def test_a_refused_credential_is_never_shown_to_the_caller(tmp_path: Path) -> None:
    async with FakeUpstream() as one:
        one.always(turns.unauthorized(f"Incorrect API key provided: {KEY}."))
        config = config_of(one, rest=one, each='api_key_env = "UPSTREAM_KEY"')
        async with gateway(config, tmp_path, env={"UPSTREAM_KEY": KEY}) as running:
            answer = await ask(running.port, post(chat()))
            assert told(answer) == (502, "upstream_auth_failed")
            assert KEY.encode() not in answer.body
            assert "www-authenticate" not in answer.headers
            assert KEY not in running.log


async def test_a_redirect_is_never_followed_and_never_told(tmp_path: Path) -> None:
    async with FakeUpstream() as one, RawServer() as elsewhere:
        more = f"{ONE_TIER}{NO_PROBES}[breaker]\nenabled = false\n"
        urls = [one.base_url]
        async with gateway(rule_config(urls, urls, urls, more=more), tmp_path) as running:
            for code, stream in itertools.product((301, 302, 303, 307, 308), (False, True)):
                one.always(turns.redirect(f"http://127.0.0.1:{elsewhere.port}/v1/chat/completions", code))
                answer = await ask(running.port, post(chat(stream=stream)))
                assert told(answer) == (502, "upstream_error")
                assert "location" not in answer.headers
                assert str(elsewhere.port).encode() not in answer.body
        assert elsewhere.peers == []


@pytest.mark.parametrize(
    ("policy", "asked", "answered"),
    [
        ("up", "fast", "balanced"),
        ("up", "balanced", "deep"),
        ("up", "deep", None),
        ("down", "deep", "balanced"),
        ("down", "fast", None),
        ("both", "balanced", "deep"),
        ("both", "deep", "balanced"),
        ("none", "fast", None),
    ],
)
async def test_another_tier_answers_as_the_policy_allows(
    policy: str, asked: str, answered: str | None, tmp_path: Path
) -> None:
    async with FakeUpstream() as down, FakeUpstream() as up:
        down.always(turns.status(500))
        urls = [[down.base_url] * 2 if name == asked else [up.base_url] for name in ("fast", "balanced", "deep")]
        config = rule_config(*urls, more=f'tier_fallback = "{policy}"\n{NO_PROBES}')
        async with gateway(config, tmp_path) as running:
            answer = await ask(running.port, post(chat(model=asked)))
            if answered is None:
                assert told(answer) == (502, "upstream_error")
                assert answer.headers["x-octoroute-tier"] == asked
                assert len(down.requests) <= 3
                assert up.requests == []
            else:
                assert answer.status == 200
                assert answer.headers["x-octoroute-tier"] == answered
                assert answer.headers["x-octoroute-reason"] == "tier_fallback"
                assert answer.headers["x-octoroute-endpoint"].startswith(answered)
                assert answer.headers["x-octoroute-attempts"] == str(len(down.requests) + 1)
                assert len(down.requests) + 1 <= 4


async def test_a_request_costs_at_most_four_upstream_calls_and_a_name_falls_back_to_nothing(tmp_path: Path) -> None:
    async with FakeUpstream() as down:
        down.always(turns.status(500))
        urls = [down.base_url] * 3
        async with gateway(rule_config(urls, urls, urls, more=NO_PROBES), tmp_path) as running:
            assert told(await ask(running.port, post(chat()))) == (502, "upstream_error")
            assert len(down.requests) <= 4
            seen = len(down.requests)
            answer = await ask(running.port, post(chat(model="deep-1")))
            assert told(answer) == (502, "upstream_error")
            assert answer.headers["x-octoroute-reason"] == "explicit_endpoint"
            assert len(down.requests) - seen <= 3
            sent = {msgspec.json.decode(request.body)["model"] for request in down.requests[seen:]}
            assert sent == {"deep-1"}


async def test_a_tier_that_is_out_costs_no_upstream_call(tmp_path: Path) -> None:
    async with FakeUpstream() as down, FakeUpstream() as up:
        down.always(turns.unauthorized())
        async with gateway(config_of(down, down, rest=up, routing=""), tmp_path) as running:
            first = await ask(running.port, post(chat()))
            assert first.headers["x-octoroute-tier"] == "balanced"
            seen = len(down.requests)
            answer = await ask(running.port, post(chat()))
            assert answer.headers["x-octoroute-tier"] == "balanced"
            assert answer.headers["x-octoroute-attempts"] == "1"
            assert answer.headers["x-octoroute-reason"] == "tier_fallback"
            assert len(down.requests) == seen


async def test_with_every_endpoint_out_the_caller_is_refused_at_once_and_told_when_to_come_back(
    tmp_path: Path,
) -> None:
    async with FakeUpstream() as down:
        down.always(turns.status(500))
        urls = [down.base_url]
        more = f"{NO_PROBES}[breaker]\nopen_seconds = 20\nfailure_threshold = 1\n"
        async with gateway(rule_config(urls, urls, urls, more=more), tmp_path) as running:
            await ask(running.port, post(chat()))
            seen = len(down.requests)
            began = time.monotonic()
            answer = await ask(running.port, post(chat()))
            assert time.monotonic() - began < 0.1
            assert told(answer) == (503, "no_endpoint_available")
            assert 9 <= int(answer.headers["retry-after"]) <= 20
            assert len(down.requests) == seen == 3
            ready = await ask(running.port, get("/health/ready"))
            assert (ready.status, ready.json["circuit_breaker"]) == (503, "open")


async def test_a_storm_of_failures_is_not_multiplied_by_retries(tmp_path: Path) -> None:
    async with FakeUpstream() as one, FakeUpstream() as two:
        one.always(turns.status(503))
        two.always(turns.status(503))
        # Openings so short that trials go on all the time.
        more = f"{ONE_TIER}{NO_PROBES}[breaker]\nopen_seconds = 0.1\nmax_open_seconds = 0.1\n"
        urls = [one.base_url, two.base_url]
        async with gateway(rule_config(urls, [two.base_url], [two.base_url], more=more), tmp_path) as running:
            await ask_many(running.port, post(chat()), count=200, at_once=200)
            await asyncio.sleep(1)
            seen = len(one.requests) + len(two.requests)
            for _ in range(20):
                answers = await ask_many(running.port, post(chat()), count=100, at_once=40)
                assert {answer.status for answer in answers} == {503}
                assert all("retry-after" in answer.headers for answer in answers)
                await asyncio.sleep(0.05)
            assert len(one.requests) + len(two.requests) - seen <= 1.2 * 2000 + 3 * 2
