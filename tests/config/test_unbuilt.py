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
    ],
)
def test_a_setting_of_a_later_version_is_named(text: str, named: str) -> None:
    (line,) = parse_config(MINIMAL + text).unbuilt
    assert line.startswith(named)
    assert "\n" not in line


def test_llama_cpp_endpoints_are_named() -> None:
    (line,) = parse_config(with_endpoint('kind = "llama_cpp"')).unbuilt
    assert line.startswith("kind")
    assert "fast/small#1" in line


def test_a_database_file_is_built_and_a_server_is_not_wherever_it_is_named() -> None:
    assert parse_config(MINIMAL + "[storage]\n").unbuilt == ()
    (line,) = parse_config(MINIMAL, env={"DATABASE_URL": "postgresql://u:hunter22@db/x"}).unbuilt
    assert "hunter22" not in line
    assert "sqlite:///" in line
