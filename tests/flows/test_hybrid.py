"""Strategy `hybrid`: rules, then the scorer, then the judge, then the default tier; each is asked only when needed."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import structlog.testing

from octoroute_py.config.load import parse_config
from octoroute_py.core.score import Score
from octoroute_py.features.vector import Prompt
from octoroute_py.routing.neural import NeuralRouter
from tests.fakes import bodies
from tests.fakes.application import httpx_config, running, upstreams
from tests.fakes.scoring import FakeScorer, neural, score

JSON = {"content-type": "application/json"}
HYBRID = httpx_config('default_tier = "deep"').replace('"rule"', '"hybrid"')
NEURAL = HYBRID.replace('"hybrid"', '"neural"')


def beliefs(prompt: Prompt) -> Score:
    """Easy what is short, hard what has a "prove" in it; what is Greek was never seen."""
    if "α" in prompt.text:
        return score(in_distribution=False)
    return score(0.9, 0.8) if "prove" in prompt.text else score(0.02, 0.01)


@pytest.fixture
def scorer() -> FakeScorer:
    return FakeScorer(beliefs)


@pytest.fixture
def router(scorer: FakeScorer) -> NeuralRouter:
    return neural(scorer)


@pytest.fixture
def judged() -> Iterator[list[dict[str, Any]]]:
    """The judge's questions; it answers BALANCED to each."""
    asked: list[dict[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if body.get("temperature") == 0:
            asked.append(body)
            return httpx.Response(200, content=bodies.chat_body("BALANCED"), headers=JSON)
        return httpx.Response(200, content=bodies.chat_body("Hello."), headers=JSON)

    with upstreams() as mock:
        mock.route().mock(side_effect=answer)
        yield asked


def route_of(answer: httpx.Response) -> tuple[str, ...]:
    assert answer.status_code == 200, answer.text
    return tuple(answer.headers[f"x-octoroute-{name}"] for name in ("tier", "strategy", "reason"))


def asking(text: str, **body: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": text}], **body}


async def test_each_step_is_asked_only_when_the_one_before_had_no_opinion(
    judged: list[dict[str, Any]], scorer: FakeScorer, router: NeuralRouter
) -> None:
    async with running(HYBRID, neural=router) as one:
        assert route_of(await one.chat(**asking("Write a poem."))) == ("deep", "rule", "rule_matched")
        assert scorer.prompts == []
        assert route_of(await one.chat(**asking("What is 2 + 2?"))) == ("fast", "neural", "neural_decided")
        assert route_of(await one.chat(**asking("Can you prove it?"))) == ("deep", "neural", "neural_decided")
        assert judged == []
        assert route_of(await one.chat(**asking("What is α?"))) == ("balanced", "llm", "llm_judged")
        assert len(judged) == 1
    assert [prompt.text for prompt in scorer.prompts] == ["What is 2 + 2?", "Can you prove it?", "What is α?"]


async def test_the_scorers_confidence_is_told_and_a_judges_is_not(
    judged: list[dict[str, Any]], router: NeuralRouter
) -> None:
    async with running(HYBRID, neural=router) as one:
        answer = await one.chat(**asking("What is 2 + 2?"))
        assert answer.headers["x-octoroute-confidence"] == "0.9800"
        assert "x-octoroute-confidence" not in (await one.chat(**asking("What is α?"))).headers


async def test_the_dial_of_a_request_is_taken_from_header_or_body(
    judged: list[dict[str, Any]], router: NeuralRouter
) -> None:
    async with running(HYBRID, neural=router) as one:
        hard = asking("Can you prove it?")
        answer = await one.chat(**hard, octoroute={"max_quality_loss": 0.5})
        assert route_of(answer) == ("fast", "neural", "neural_decided")
        answer = await one.chat(**hard, headers={"X-Octoroute-Max-Quality-Loss": "0.42"})
        assert route_of(answer) == ("balanced", "neural", "neural_decided")
        assert (await one.chat(**hard, headers={"X-Octoroute-Max-Quality-Loss": "5 %"})).status_code == 400


async def test_the_tag_reaches_the_scorer(
    judged: list[dict[str, Any]], scorer: FakeScorer, router: NeuralRouter
) -> None:
    async with running(NEURAL, neural=router) as one:
        await one.chat(**asking("What is this?"), headers={"X-Octoroute-Tag": "shop"})
    assert [prompt.tag for prompt in scorer.prompts] == ["shop"]


async def test_strategy_neural_asks_no_rule_and_no_judge(judged: list[dict[str, Any]], router: NeuralRouter) -> None:
    async with running(NEURAL, neural=router) as one:
        assert route_of(await one.chat(**asking("Write a poem."))) == ("fast", "neural", "neural_decided")
        assert route_of(await one.chat(**asking("What is α?"))) == ("deep", "rule", "default_tier")
    assert judged == []


async def test_explicit_tiers_and_endpoints_ask_nobody(
    judged: list[dict[str, Any]], scorer: FakeScorer, router: NeuralRouter
) -> None:
    async with running(HYBRID, neural=router) as one:
        assert route_of(await one.chat("balanced")) == ("balanced", "rule", "explicit_tier")
        assert route_of(await one.chat("deep-model")) == ("deep", "rule", "explicit_endpoint")
    assert (judged, scorer.prompts) == ([], [])


async def test_the_native_chat_is_decided_by_the_same_steps(judged: list[dict[str, Any]], router: NeuralRouter) -> None:
    async with running(HYBRID, neural=router) as one:
        answer = (await one.client.post("/chat", json={"message": "What is 2 + 2?"})).json()
        assert (answer["model_tier"], answer["routing_strategy"]) == ("fast", "neural")
        answer = (await one.client.post("/chat", json={"message": "What is α?"})).json()
        assert (answer["model_tier"], answer["routing_strategy"]) == ("balanced", "llm")


async def test_what_is_explained_is_what_happens(judged: list[dict[str, Any]], router: NeuralRouter) -> None:
    async with running(HYBRID, neural=router) as one:
        for text in ("Write a poem.", "What is 2 + 2?", "Can you prove it?", "What is α?"):
            sent = {"model": "auto", **asking(text)}
            told = (await one.client.post("/v1/routing/explain?judge=ask", json=sent)).json()
            live = await one.chat(**asking(text))
            assert (told["tier"], told["strategy"], told["reason"]) == route_of(live)
            assert told["scorer"]["score"]["p_deep"] == 1.0
            assert told["scorer"]["choice"]["dial"]["threshold"] == 0.1


async def test_until_the_scorer_is_prepared_the_gateway_lives_but_is_not_ready(
    judged: list[dict[str, Any]], scorer: FakeScorer
) -> None:
    late = neural(scorer, ready=False)
    prepare, late.prepare = late.prepare, lambda: None  # type: ignore[method-assign]  # preparation that takes its time
    async with running(HYBRID, neural=late) as one:
        ready = await one.client.get("/health/ready")
        assert (ready.status_code, ready.json()["model_loaded"]) == (503, False)
        assert ready.json()["reasons"] == ["the scorer is not loaded yet"]
        assert (await one.client.get("/health/live")).status_code == 200
        assert route_of(await one.chat(**asking("What is 2 + 2?"))) == ("balanced", "llm", "llm_judged")
        prepare()
        assert (await one.client.get("/health/ready")).json()["model_loaded"] is True
        assert route_of(await one.chat(**asking("What is 2 + 3?"))) == ("fast", "neural", "neural_decided")


async def test_a_scorer_that_cannot_be_prepared_is_told_and_the_other_steps_serve(
    judged: list[dict[str, Any]], scorer: FakeScorer
) -> None:
    broken = neural(FakeScorer(score(float("nan"))), ready=False)
    with structlog.testing.capture_logs() as told:
        async with running(HYBRID, neural=broken) as one:
            assert route_of(await one.chat(**asking("What is 2 + 2?"))) == ("balanced", "llm", "llm_judged")
            assert (await one.client.get("/health/ready")).status_code == 503
            explained = await one.client.post("/v1/routing/explain", json={"model": "auto", **asking("What?")})
            assert explained.json()["scorer"] is None
    assert [each["problems"] for each in told if each["event"] == "the scorer could not be prepared"] == [
        ["routing.neural.artifact: its predictions are no probabilities"]
    ]
    assert not broken.ready


async def test_a_reload_brings_a_scorer_that_is_ready(judged: list[dict[str, Any]]) -> None:
    async with running(HYBRID.replace('"hybrid"', '"rule"')) as one:
        assert route_of(await one.chat(**asking("What is 2 + 2?"))) == ("deep", "rule", "default_tier")
        one.config = parse_config(HYBRID + '[routing.neural]\nartifact = "linear"\n')
        assert (await one.application.reload()).generation == 2
        assert (await one.client.get("/health/ready")).json()["model_loaded"] is True
        assert route_of(await one.chat(**asking("What is 2 + 2?")))[1:] == ("neural", "neural_decided")
    assert judged == []
