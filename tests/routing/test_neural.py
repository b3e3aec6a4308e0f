import math
import tempfile
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import EndpointConfig, NeuralConfig
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.score import Score
from octoroute_py.core.words import Importance, Reason, Strategy, Surface, TaskType, Tier
from octoroute_py.features.conversation import Conversation
from octoroute_py.features.facts import Facts, read_facts
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.decide import DEFAULT_PRICES, Doubt
from octoroute_py.routing.neural import prompt_of, tier_prices
from octoroute_py.routing.policy import Hints
from octoroute_py.routing.router import Inquiry
from octoroute_py.training.dataset import read_prompts
from tests.fakes.endpoints import endpoint_config
from tests.fakes.judging import facts
from tests.fakes.scoring import FakeScorer, neural, score

FAST, BALANCED, DEEP = Tier.FAST, Tier.BALANCED, Tier.DEEP


@pytest.mark.parametrize(
    ("beliefs", "tier"),
    [(score(0.05, 0.01), FAST), (score(0.3, 0.05), BALANCED), (score(0.5, 0.4), DEEP)],
)
async def test_the_cheapest_tier_within_the_dial_is_taken_with_its_confidence(beliefs: Score, tier: Tier) -> None:
    decision = await neural(FakeScorer(beliefs)).route(Inquiry(facts()))
    assert decision is not None
    assert (decision.tier, decision.strategy, decision.reason) == (tier, Strategy.NEURAL, Reason.NEURAL_DECIDED)
    assert decision.confidence is not None
    assert 0 <= decision.confidence <= 1


async def test_the_clients_dial_replaces_the_configured_one() -> None:
    one = neural(FakeScorer(score(0.3, 0.05)), config=NeuralConfig(max_quality_loss=0.02))
    tiers = []
    for asked in (None, 0.0, 0.05, 0.2):
        decision = await one.route(Inquiry(facts(), Hints(max_quality_loss=asked)))
        assert decision is not None
        tiers.append(decision.tier)
    assert tiers == [DEEP, DEEP, BALANCED, FAST]


@pytest.mark.parametrize(
    ("beliefs", "config", "doubt"),
    [
        (score(in_distribution=False), NeuralConfig(), Doubt.OUT_OF_DISTRIBUTION),
        (score(labels=()), NeuralConfig(), Doubt.EMPTY_SET),
        (score(0.05), NeuralConfig(confidence_threshold=0.99), Doubt.LOW_CONFIDENCE),
        (score(uncertainty=0.5), NeuralConfig(max_uncertainty=0.4), Doubt.HIGH_UNCERTAINTY),
    ],
)
async def test_in_doubt_it_abstains(beliefs: Score, config: NeuralConfig, doubt: Doubt) -> None:
    one = neural(FakeScorer(beliefs), config=config)
    assert await one.route(Inquiry(facts())) is None
    assert one.weigh(Inquiry(facts())).choice.doubt is doubt


async def test_it_abstains_until_it_is_prepared_and_asks_nothing() -> None:
    scorer = FakeScorer()
    one = neural(scorer, ready=False)
    assert await one.route(Inquiry(facts())) is None
    assert scorer.prompts == []
    one.prepare()
    assert len(scorer.prompts) == 10
    assert await one.route(Inquiry(facts())) is not None


SOUND = score()
NONSENSE = [
    score(math.nan),
    score(math.inf),
    score(-0.5),
    msgspec.structs.replace(SOUND, p_fast=0.9, p_balanced=0.5),
    msgspec.structs.replace(SOUND, uncertainty=math.nan),
    msgspec.structs.replace(SOUND, gain_balanced=math.inf),
]


@pytest.mark.parametrize("wrong", NONSENSE)
def test_an_artifact_that_predicts_nonsense_of_any_prompt_is_not_made_ready(wrong: Score) -> None:
    one = neural(FakeScorer(lambda prompt: wrong if "migration" in prompt.text else SOUND), ready=False)
    with pytest.raises(ConfigError, match="no probabilities"):
        one.prepare()
    assert not one.ready


async def test_the_scorer_is_told_of_the_conversation_and_the_tag() -> None:
    scorer = FakeScorer()
    said = Conversation(text="And then?", context="Tell me a story.", turns=2, tools=1, images=3, system_chars=40)
    asked = Facts(tokens=9, importance=Importance.NORMAL, task_type=TaskType.QUESTION_ANSWER, conversation=said)
    await neural(scorer).route(Inquiry(asked, Hints(tag="shop")))
    assert scorer.prompts == [Prompt("And then?", "Tell me a story.", 2, 1, 3, 40, "shop")]


ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool"])
TEXTS = st.text(max_size=30)
CONTENTS = (
    st.none()
    | TEXTS
    | st.lists(
        st.builds(lambda text: {"type": "text", "text": text}, TEXTS)
        | st.just({"type": "image_url", "image_url": {"url": "data:,"}}),
        max_size=3,
    )
)
MESSAGES = st.lists(st.builds(lambda role, content: {"role": role, "content": content}, ROLES, CONTENTS), min_size=1)


@given(MESSAGES, st.lists(st.just({"type": "function"}), max_size=3))
def test_a_request_is_served_as_the_same_prompt_that_a_labelled_row_is_learned_as(
    messages: list[dict[str, object]], tools: list[dict[str, str]]
) -> None:
    body = msgspec.json.encode({"messages": messages, "tools": tools, "tag": "shop"})
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    facts = read_facts(
        Surface.CHAT,
        fields,
        importance=Importance.NORMAL,
        task_type=None,
        model="auto",
        headers={},
        stream=False,
        words=True,
    )
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as file:
        file.write(body)
        file.flush()
        ((_, learned),) = read_prompts(Path(file.name))
    assert prompt_of(Inquiry(facts, Hints(tag="shop"))) == learned


def priced(tier: str, cost: float | None, more: float | None = None) -> EndpointConfig:
    return endpoint_config(f"{tier}/x{cost}#1", input_cost_per_mtok=cost, output_cost_per_mtok=more or cost)


def test_prices_are_the_means_of_the_tiers() -> None:
    found = tier_prices([priced("fast", 1.0), priced("fast", 2.0), priced("balanced", 4.0, 6.0), priced("deep", 9.0)])
    assert found == (3.0, 10.0, 18.0)


@pytest.mark.parametrize(
    "endpoints",
    [
        [priced("fast", 1.0), priced("balanced", 2.0), priced("deep", None)],
        [priced("fast", 0.0), priced("balanced", 0.0), priced("deep", 0.0)],
        [],
    ],
)
def test_where_no_prices_are_known_the_usual_ones_are_taken(endpoints: list[EndpointConfig]) -> None:
    assert tier_prices(endpoints) == DEFAULT_PRICES
