"""What this version cannot do yet is named, never ignored and never a reason to call the file wrong."""

import pytest

from octoroute_py.config.load import parse_config
from tests.fakes.configs import MINIMAL, with_endpoint


def test_a_file_that_asks_for_nothing_unbuilt_has_no_lines() -> None:
    assert parse_config(MINIMAL).unbuilt == ()


@pytest.mark.parametrize("strategy", ["rule", "llm", "neural", "hybrid", "tool"])
def test_every_strategy_is_built(strategy: str) -> None:
    assert parse_config(MINIMAL.replace('"rule"', f'"{strategy}"') + "[routing.neural]\n").unbuilt == ()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('[storage]\nurl = "postgresql://db/octoroute"', "[storage] on a database server"),
        ('[redis]\nurl = "redis://127.0.0.1"', "[redis]"),
        ("[limits]\nrequests_per_minute = 1", "limits.requests_per_minute"),
        ("[limits]\ntokens_per_minute = 1", "limits.tokens_per_minute"),
        ("[observability]\ncapture_content = true", "observability.capture_content"),
    ],
)
def test_a_setting_of_a_later_version_is_named(text: str, named: str) -> None:
    (line,) = parse_config(MINIMAL + text).unbuilt
    assert line.startswith(named)
    assert "\n" not in line


def test_llama_cpp_endpoints_and_rate_limits_of_the_environment_are_named() -> None:
    lines = parse_config(with_endpoint('kind = "llama_cpp"'), env={"RATE_LIMIT_MAX": "10"}).unbuilt
    assert [line.split()[0] for line in lines] == ["RATE_LIMIT_MAX", "kind"]
    assert "fast/small#1" in lines[1]


def test_a_database_file_is_built_and_a_server_is_not_wherever_it_is_named() -> None:
    config = parse_config(MINIMAL + "[storage]\n")
    assert config.unbuilt == ()
    assert config.storage_url is not None
    assert config.storage_url.reveal() == "sqlite:///octoroute.db"
    assert parse_config(MINIMAL).storage_url is None
    (line,) = parse_config(MINIMAL, env={"DATABASE_URL": "postgresql://u:hunter22@db/x"}).unbuilt
    assert "hunter22" not in line
    assert "sqlite:///" in line
