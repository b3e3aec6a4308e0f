"""From model names to tiers and to a configuration that is valid."""

import pytest
import tomli
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.cli.draft import Server, config_text, drafts, is_chat_model, size_of, tier_of, toml_string
from octoroute_py.config.load import parse_config
from octoroute_py.core.words import TIERS, Tier


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("qwen3:8b", 8),
        ("Qwen2.5-14B-Instruct", 14),
        ("llama3.2:1b", 1),
        ("qwen2.5-0.5b-instruct", 0.5),
        ("smollm2:135m", 0.135),
        ("qwen3-30b-a3b", 30),
        ("mixtral:8x7b", 56),
        ("gemma3n:e4b", 4),
        ("models/gpt-oss-120b-mxfp4.gguf", 120),
        ("phi-4-mini", None),
        ("claude-3.5", None),
        ("abc123bee", None),
    ],
)
def test_the_size_is_read_from_the_name(model: str, size: float | None) -> None:
    assert size_of(model) == (None if size is None else pytest.approx(size))


@pytest.mark.parametrize(
    ("model", "tier"),
    [
        ("a-9b", Tier.FAST),
        ("a-9.1b", Tier.BALANCED),
        ("a-34b", Tier.BALANCED),
        ("a-35b", Tier.DEEP),
        ("a", Tier.BALANCED),
    ],
)
def test_the_tier_follows_the_size(model: str, tier: Tier) -> None:
    assert tier_of(model) is tier


def test_models_that_do_not_chat_are_left_out() -> None:
    for model in (
        "nomic-embed-text",
        "text-embedding-3-small",
        "bge-m3",
        "BAAI/bge-large",
        "whisper-1",
        "qwen3-reranker",
    ):
        assert not is_chat_model(model)
    assert is_chat_model("qwen3:8b")
    assert drafts([Server("Ollama", 11434, ("nomic-embed-text:latest",))]) == []


def written(*servers: Server) -> list[tuple[str, str, str, str]]:
    config = parse_config(config_text(drafts(servers)))
    return [(each.tier, each.name, each.model, each.base_url) for each in config.endpoints]


def test_a_single_model_serves_every_tier_under_three_names() -> None:
    assert written(Server("Ollama", 11434, ("qwen3-8b",))) == [
        ("fast", "qwen3-8b", "qwen3-8b", "http://127.0.0.1:11434/v1"),
        ("balanced", "qwen3-8b-balanced", "qwen3-8b", "http://127.0.0.1:11434/v1"),
        ("deep", "qwen3-8b-deep", "qwen3-8b", "http://127.0.0.1:11434/v1"),
    ]


def test_what_no_rule_decides_goes_to_the_middle_tier() -> None:
    assert parse_config(config_text(drafts([Server("Ollama", 1, ("a-8b",))]))).routing.default_tier is Tier.BALANCED


def test_models_go_to_their_tiers_and_gaps_are_filled_by_the_nearest() -> None:
    found = written(Server("Ollama", 1, ("llama3.2:3b", "llama3.1:8b")), Server("vLLM", 2, ("qwen3-30b",)))
    assert [(tier, name) for tier, name, _, _ in found] == [
        ("fast", "llama3.2:3b"),
        ("fast", "llama3.1:8b"),
        ("balanced", "qwen3-30b"),
        ("deep", "qwen3-30b-deep"),
    ]


def test_paths_become_short_names_and_reserved_names_are_avoided() -> None:
    found = written(Server("llama.cpp", 8080, ("/models/qwen3-8b-q4.gguf", "auto")))
    assert [(name, model) for _, name, model, _ in found][:2] == [
        ("qwen3-8b-q4", "/models/qwen3-8b-q4.gguf"),
        ("auto-model", "auto"),
    ]


@given(st.text())
def test_any_text_without_surrogates_survives_as_toml(value: str) -> None:
    assert tomli.loads(f"a = {toml_string(value)}") == {"a": value}


names = st.one_of(
    st.text(
        st.characters(exclude_categories=["Cc", "Cs", "Cf", "Co", "Cn", "Zl", "Zp", "Zs"]), min_size=1, max_size=30
    ),
    st.sampled_from(
        ["a-8b", "b/a-8b", "a-8b.gguf", "a-8b-balanced", "x-70b", "auto", "DEEP", "auto-model", '"', "\\", "/"]
    ),
)


@given(st.lists(st.tuples(st.integers(1, 65535), st.lists(names, max_size=6, unique=True)), min_size=1, max_size=4))
def test_whatever_is_found_the_configuration_is_valid_and_fills_every_tier(found: list[tuple[int, list[str]]]) -> None:
    chosen = drafts([Server("Ollama", port, tuple(models)) for port, models in found])
    if not chosen:
        assert not any(is_chat_model(model) for _, models in found for model in models)
        return
    config = parse_config(config_text(chosen))
    assert {endpoint.tier for endpoint in config.endpoints} == set(TIERS)
