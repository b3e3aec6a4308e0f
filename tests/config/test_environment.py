"""Variables and `.env`."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.environment import layered, parse_env
from octoroute_py.config.load import load_config, parse_config
from octoroute_py.config.problems import InvalidConfig, Problems
from octoroute_py.config.schema import AdminConfig, Config, LogLevel
from octoroute_py.core.words import Role
from tests.fakes.configs import MINIMAL, with_endpoint


def config(**env: str) -> Config:
    return parse_config(MINIMAL, env=env)


def test_variables_change_the_settings_they_stand_for() -> None:
    changed = config(
        OCTOROUTE_HOST="::1",
        PORT="8080",
        LOG_LEVEL="WARN",
        DATABASE_URL="sqlite:///kept.db",
        REDIS_URL="redis://:hunter22@cache/0",
    )
    assert (changed.server.host, changed.server.port) == ("::1", 8080)
    assert changed.observability.log_level is LogLevel.WARNING
    assert changed.storage.url is not None
    assert changed.redis_url is not None
    assert changed.unbuilt == ()
    assert "hunter22" not in repr(changed)


def test_the_longer_name_of_the_port_wins() -> None:
    assert config(OCTOROUTE_PORT="1", PORT="2").server.port == 1


def test_empty_variables_count_as_unset() -> None:
    assert config(OCTOROUTE_HOST="", OCTOROUTE_PORT="", PORT="7", LOG_LEVEL="", TINY_DANCER_PORT="").server.port == 7


def test_the_admin_listener_can_come_from_the_environment_alone() -> None:
    assert config(TINY_DANCER_PORT="9000").admin == AdminConfig(host="127.0.0.1", port=9000)
    both = parse_config(MINIMAL + "[admin]\nport = 1", env={"TINY_DANCER_BIND_ADDRESS": "0.0.0.0"})
    assert both.admin == AdminConfig(host="0.0.0.0", port=1)


def test_the_variables_of_tiny_dancer_may_stand_beside_the_file_and_the_process_wins(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(MINIMAL)
    told = (
        "TINY_DANCER_AUTH_TOKEN=okr-of-the-file-0123456789\nTINY_DANCER_BIND_ADDRESS=127.0.0.2\nTINY_DANCER_PORT=81\n"
    )
    (tmp_path / ".env").write_text(told)
    env = {"TINY_DANCER_PORT": "8082"}
    config = load_config(tmp_path / "config.toml", env=env)
    assert config.admin == AdminConfig(host="127.0.0.2", port=8082)
    assert [(key.name, key.role) for key in config.auth.keys] == [("tiny-dancer", Role.ADMIN)]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OCTOROUTE_PORT", "70000"),
        ("OCTOROUTE_PORT", "-1"),
        ("PORT", "tcp://10.0.0.1:80"),
        ("PORT", "٣"),
        ("OCTOROUTE_HOST", "not a host"),
        ("LOG_LEVEL", "hunter22"),
        ("TINY_DANCER_PORT", "x"),
        ("TINY_DANCER_BIND_ADDRESS", "1.2.3"),
        ("RATE_LIMIT_MAX", "none"),
        ("RATE_LIMIT_WINDOW_MS", "soon"),
    ],
)
def test_a_variable_that_makes_no_sense_is_told_by_name(variable: str, value: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        config(**{variable: value})
    assert str(caught.value).startswith(f"environment: {variable}: ")
    assert value not in str(caught.value)


def read(text: str) -> dict[str, str]:
    problems = Problems({})
    found = parse_env(text, problems)
    assert problems.sorted() == []
    return found


def test_env_lines_are_read_with_export_quotes_and_comments() -> None:
    assert read(
        "\n# comment\nA=1\nexport B = two words # why\nC='single # $x \\n'  # c\n"
        'D="double \\"q\\" \\n \\\\"\nE=\nF=#none\nG=a#b\r\nA=second\n'
    ) == {
        "A": "1",
        "B": "two words",
        "C": "single # $x \\n",
        "D": 'double "q" \n \\',
        "E": "",
        "F": "",
        "G": "a#b",
    }


@pytest.mark.parametrize(
    "line", ["hunter22", "1A=hunter22", 'A="hunter22', "A='hunter22' x", "A-B=hunter22", "=hunter22"]
)
def test_a_line_that_is_no_assignment_is_told_without_its_content(line: str) -> None:
    problems = Problems({})
    parse_env("# one\n" + line, problems)
    (problem,) = problems.sorted()
    assert problem.told("config.toml").startswith(".env:2: must be KEY=VALUE")
    assert "hunter22" not in problem.told("config.toml")


@given(st.text(max_size=200))
def test_any_text_is_taken_as_env_lines_without_harm(text: str) -> None:
    parse_env(text, Problems({}))


def test_the_env_file_lies_under_the_process_environment(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(with_endpoint('api_key_env = "FAST_KEY"'))
    (tmp_path / ".env").write_text("FAST_KEY=from-file\nOCTOROUTE_PORT=1111\n")
    loaded = load_config(path, env={})
    assert loaded.server.port == 1111
    assert loaded.endpoints[0].api_key is not None
    assert loaded.endpoints[0].api_key.reveal() == "from-file"
    loaded = load_config(path, env={"FAST_KEY": "from-process", "PORT": "2222"})
    assert loaded.server.port == 2222
    assert loaded.endpoints[0].api_key is not None
    assert loaded.endpoints[0].api_key.reveal() == "from-process"


def test_layers_keep_what_only_one_of_them_has() -> None:
    assert layered({"A": "1"}, {"A": "0", "B": "2"}) == {"A": "1", "B": "2"}


def test_an_env_file_that_is_no_text_is_told_and_a_folder_ignored(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL)
    (tmp_path / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(InvalidConfig, match=r"^\.env: is not UTF-8 text"):
        load_config(path, env={})
    (tmp_path / ".env").write_bytes(b"A" * 300_000)
    with pytest.raises(InvalidConfig, match=r"^\.env: is larger than"):
        load_config(path, env={})
    (tmp_path / ".env").unlink()
    (tmp_path / ".env").mkdir()
    assert load_config(path, env={}).server.port == 3000
