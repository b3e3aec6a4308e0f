import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from octoroute_py.cli.route import command
from octoroute_py.core.errors import ConfigError

CONFIG = """
[[models.fast]]
name = "small"
base_url = "http://127.0.0.1:1/v1"
[[models.balanced]]
name = "middle"
base_url = "http://127.0.0.1:1/v1"
[[models.deep]]
name = "big"
base_url = "http://127.0.0.1:1/v1"
capabilities = ["chat"]
[routing]
strategy = "rule"
[[routing.rules]]
name = "[red]foxes"
when.pattern = "fox"
tier = "deep"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(CONFIG)
    return path


def route(file: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "-c", str(file)], env={"COLUMNS": "160"})


def test_a_prompt_is_decided_in_words(file: Path) -> None:
    result = route(file, "Write code to sort a list")
    assert result.exit_code == 0
    for shown in ("balanced", "rule_matched (code)", "balanced/middle#1", "min_tokens: wants at least 1025 tokens"):
        assert shown in result.output
    assert "[red]foxes" in result.output


def test_a_prompt_is_decided_as_data_without_its_text(file: Path) -> None:
    data = json.loads(route(file, "a quick brown fox", "--json").output)
    assert (data["tier"], data["strategy"], data["reason"], data["rule"]) == (
        "deep",
        "rule",
        "rule_matched",
        "[red]foxes",
    )
    assert data["candidates"] == ["deep/big#1"]
    assert data["facts"]["tokens"] == 4
    assert "quick brown" not in json.dumps(data)


def test_hints_are_taken_as_from_a_client(file: Path) -> None:
    data = json.loads(route(file, "What is that?", "--importance", "high", "--json").output)
    assert (data["tier"], data["rule"]) == ("deep", "high_importance")
    data = json.loads(route(file, "What is that?", "--task-type", "code", "--json").output)
    assert (data["tier"], data["rule"]) == ("balanced", "code")
    data = json.loads(route(file, "What is that?", "--model", "big", "--json").output)
    assert (data["tier"], data["reason"]) == ("deep", "explicit_endpoint")


def test_an_unknown_model_is_wrong_usage(file: Path) -> None:
    result = route(file, "x", "--model", "nobody")
    assert result.exit_code == 2
    assert "The model 'nobody' does not exist." in result.output


def test_a_prompt_that_is_not_unicode_is_decided_too(file: Path) -> None:
    assert route(file, "hello \udcff", "--json").exit_code == 0


def test_a_missing_config_is_left_to_the_caller(tmp_path: Path) -> None:
    assert isinstance(route(tmp_path / "none.toml", "x").exception, ConfigError)


@pytest.fixture
def hybrid(file: Path) -> Path:
    file.write_text(CONFIG.replace('"rule"', '"hybrid"'))
    return file


def test_the_scorers_beliefs_and_what_would_change_the_tier_are_told(hybrid: Path) -> None:
    result = route(hybrid, "What is the capital of France?")
    assert result.exit_code == 0
    for shown in ("neural_decided", "confidence", "succeeds", "threshold", "may suffice", "would be", "not needed"):
        assert shown in result.output
    data = json.loads(route(hybrid, "What is the capital of France?", "--json").output)
    assert (data["strategy"], data["reason"], data["next_step"]) == ("neural", "neural_decided", None)
    assert data["scorer"]["score"]["in_distribution"] is True
    assert data["scorer"]["choice"]["dial"]["alpha"] == 0.05
    assert data["scorer"]["flips"]


def test_the_dial_and_the_tag_are_taken_as_from_a_client(hybrid: Path) -> None:
    tiers = [
        json.loads(route(hybrid, "What is the capital of France?", "--max-quality-loss", loss, "--json").output)["tier"]
        for loss in ("0", "1")
    ]
    assert tiers == ["deep", "fast"]
    data = json.loads(route(hybrid, "What is the capital of France?", "--tag", "shop", "--json").output)
    assert data["scorer"]["choice"]["dial"]["basis"] == "failure"


def test_a_decision_that_is_the_judges_says_so(hybrid: Path) -> None:
    text = "Ποια είναι η πρωτεύουσα;"
    data = json.loads(route(hybrid, text, "--json").output)
    assert (data["next_step"], data["judge"]["state"], data["tier"]) == ("judge", "not_asked", "balanced")
    assert data["scorer"]["choice"]["doubt"] == "out_of_distribution"
    assert "would be asked next" in route(hybrid, text).output


def test_nobody_fits_is_told_as_to_a_client(file: Path) -> None:
    file.write_text(CONFIG.replace("http://127.0.0.1:1/v1", "https://models.example/v1"))
    result = route(file, "x", "--local-only")
    assert result.exit_code == 1
    assert "No model that may answer is local." in result.output


def test_an_artifact_that_cannot_be_used_is_left_to_the_caller(hybrid: Path) -> None:
    hybrid.write_text(hybrid.read_text() + '[routing.neural]\nartifact = "none.safetensors"\n')
    result = route(hybrid, "x")
    assert isinstance(result.exception, ConfigError)
    assert "none.safetensors: no such file" in str(result.exception)
