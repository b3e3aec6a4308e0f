import pytest

from octoroute_py.config.schema import Config, EndpointConfig, RoutingConfig, StrategyName
from octoroute_py.core.errors import NotFound
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.routing.intent import (
    Auto,
    Catalog,
    Exact,
    Intent,
    TierIntent,
    model_names,
    read_intent,
    tier_decision,
)


def endpoint(id: str, tier: Tier, name: str) -> EndpointConfig:
    return EndpointConfig(id=id, tier=tier, name=name, model=name, base_url="http://127.0.0.1:1/v1")


ENDPOINTS = (
    endpoint("deep/big#1", Tier.DEEP, "big"),
    endpoint("fast/small#1", Tier.FAST, "small"),
    endpoint("fast/small#2", Tier.FAST, "small"),
    endpoint("balanced/Mid#1", Tier.BALANCED, "Mid"),
    endpoint("balanced/both#1", Tier.BALANCED, "both"),
    endpoint("deep/both#1", Tier.DEEP, "both"),
    endpoint("big", Tier.FAST, "oddly-named"),
)
CATALOG = Catalog(ENDPOINTS)


@pytest.mark.parametrize(
    ("model", "intent"),
    [
        ("auto", Auto()),
        ("AUTO", Auto()),
        (" Auto\n", Auto()),
        ("fast", TierIntent(Tier.FAST)),
        ("Balanced", TierIntent(Tier.BALANCED)),
        ("DEEP", TierIntent(Tier.DEEP)),
        ("small", Exact(("fast/small#1", "fast/small#2"))),
        (" small ", Exact(("fast/small#1", "fast/small#2"))),
        ("fast/small#2", Exact(("fast/small#2",))),
        ("Mid", Exact(("balanced/Mid#1",))),
        ("both", Exact(("balanced/both#1",))),
        ("deep/both#1", Exact(("deep/both#1",))),
        ("big", Exact(("deep/big#1",))),
    ],
)
def test_names_mean_what_the_contract_says(model: str, intent: Intent) -> None:
    assert read_intent(model, CATALOG) == intent


@pytest.mark.parametrize("model", ["", " ", "mid", "SMALL", "fast/small", "local", "cloud", "gpt-4", "x" * 10_000_000])
def test_unknown_names_are_not_found(model: str) -> None:
    with pytest.raises(NotFound) as caught:
        read_intent(model, CATALOG)
    assert (caught.value.status, caught.value.code, caught.value.param) == (404, "model_not_found", "model")
    assert len(caught.value.client_message) < 200


def test_an_unknown_name_is_shown_without_its_control_characters() -> None:
    with pytest.raises(NotFound, match=r"^The model 'a\?b' does not exist\.$"):
        read_intent("a\x00b", CATALOG)


def test_a_named_tier_is_a_decision_of_its_own() -> None:
    by_tier = tier_decision(TierIntent(Tier.DEEP))
    assert (by_tier.tier, by_tier.strategy, by_tier.reason) == (Tier.DEEP, Strategy.RULE, Reason.EXPLICIT_TIER)


def test_each_name_is_listed_once_in_tier_order() -> None:
    config = Config(endpoints=ENDPOINTS, routing=RoutingConfig(strategy=StrategyName.RULE))
    assert [(model.id, model.owner) for model in model_names(config)] == [
        ("auto", "octoroute"),
        ("fast", "octoroute"),
        ("balanced", "octoroute"),
        ("deep", "octoroute"),
        ("small", "user"),
        ("oddly-named", "user"),
        ("Mid", "user"),
        ("both", "user"),
        ("big", "user"),
    ]
