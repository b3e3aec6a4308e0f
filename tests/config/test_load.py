"""Whole files: found, read, parsed, and all of their problems told at once."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from octoroute_py.config.load import MOST_BYTES, Overrides, find_config, load_config, parse_config, process_env
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import LogLevel, StrategyName
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.words import Importance, Location
from tests.fakes.configs import MINIMAL

OCTOROUTE_1 = """
[server]
host = "0.0.0.0"
port = 3000
request_timeout_seconds = 30

[[models.fast]]
name = "qwen3-8b-instruct"
base_url = "http://192.168.1.20:11434/v1"
max_tokens = 4096
temperature = 0.7
weight = 1.0
priority = 1

[[models.fast]]
name = "qwen3-8b-instruct"
base_url = "http://192.168.1.21:11434/v1"
max_tokens = 4096
temperature = 0.7
weight = 2
priority = 0

[[models.balanced]]
name = "qwen/qwen3-coder-30b"
base_url = "http://192.168.1.22:1234/v1"
max_tokens = 8192
temperature = 0.7
weight = 1.0
priority = 1

[[models.deep]]
name = "gpt-oss-120b"
base_url = "http://models.example.org:8080/v1"
max_tokens = 16384
temperature = 1
weight = 1.0
priority = 255

[routing]
strategy = "hybrid"
default_importance = "normal"
router_tier = "balanced"

[routing.router_timeouts]
fast = 5
balanced = 10
deep = 15

[timeouts]
fast = 15
deep = 60

[observability]
log_level = "info"
"""

TEN_MISTAKES = """\
[server]
prot = 3000
workers = 4

[[models.fast]]
name = "auto"
base_url = "ftp://127.0.0.1/v1"
wieght = 1.0

[[models.balanced]]
name = "middle"
base_url = "http://127.0.0.1:2/v1"
temperature = 3
max_tokens = "many"

[[models.deep]]
name = "large"
base_url = "http://127.0.0.1:3/v1"
api_key_env = "NOT_SET_ANYWHERE"
api_key = "sk-live-0123456789"

[routing]
strategy = "Rule"
"""


def problems_of(text: str) -> list[str]:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(text)
    return str(caught.value).splitlines()


def test_a_config_of_octoroute_1_loads_unchanged() -> None:
    config = parse_config(OCTOROUTE_1)
    assert config.server.host == "0.0.0.0"
    assert config.server.request_timeout_seconds == 30
    assert config.routing.strategy is StrategyName.HYBRID
    assert config.routing.default_importance is Importance.NORMAL
    assert config.routing.router_timeouts.deep == 15
    assert (config.timeouts.fast, config.timeouts.balanced, config.timeouts.deep) == (15, None, 60)
    assert config.observability.log_level is LogLevel.INFO
    assert [endpoint.id for endpoint in config.endpoints] == [
        "fast/qwen3-8b-instruct#1",
        "fast/qwen3-8b-instruct#2",
        "balanced/qwen/qwen3-coder-30b#1",
        "deep/gpt-oss-120b#1",
    ]
    assert [endpoint.priority for endpoint in config.endpoints] == [1, 0, 1, 255]
    assert config.endpoints[0].location is Location.LOCAL
    assert config.endpoints[3].location is Location.CLOUD
    assert config.unbuilt == ()


def test_ten_mistakes_are_told_at_once_each_with_its_line() -> None:
    assert [line.rpartition("; ")[0] or line for line in problems_of(TEN_MISTAKES)] == [
        "config.toml:2: server.prot: unknown key",
        "config.toml:3: server.workers: must be 1; one process already fills a core; breakers, budgets and limits "
        "live in its memory",
        'config.toml:6: models.fast[0].name: "auto" is reserved',
        "config.toml:7: models.fast[0].base_url: must start with http:// or https://",
        "config.toml:8: models.fast[0].wieght: unknown key",
        "config.toml:13: models.balanced[0].temperature: must be at least 0 and at most 2",
        "config.toml:14: models.balanced[0].max_tokens: must be a whole number, not a string",
        "config.toml:19: models.deep[0].api_key_env: environment variable NOT_SET_ANYWHERE is not set",
        "config.toml:20: models.deep[0].api_key: secrets never stand in the file",
        'config.toml:23: routing.strategy: "Rule" is not known here',
    ]


def test_unknown_keys_and_words_come_with_a_suggestion() -> None:
    lines = problems_of(TEN_MISTAKES)
    assert lines[0].endswith('; did you mean "port"?')
    assert lines[4].endswith('; did you mean "weight"?')
    assert lines[9].endswith('; did you mean "rule"?')


@pytest.mark.parametrize(
    ("word", "meant"), [("Balanced", "balanced"), ("balance", "balanced"), ("FAST", "fast"), ("depe", "deep")]
)
def test_a_misspelled_tier_comes_with_a_suggestion(word: str, meant: str) -> None:
    (line,) = problems_of(MINIMAL + f'router_tier = "{word}"')
    assert line == f'config.toml:13: routing.router_tier: "{word}" is not known here; did you mean "{meant}"?'


def test_a_word_near_nothing_comes_with_all_the_options() -> None:
    (line,) = problems_of(MINIMAL + 'balancer = "xyz"')
    assert line.endswith('one of "weighted", "least_loaded", "latency"')


def test_a_missing_strategy_and_missing_tiers_are_told() -> None:
    assert problems_of("[server]\n") == [
        "config.toml: models.fast: needs at least one endpoint; add a [[models.fast]] table",
        "config.toml: models.balanced: needs at least one endpoint; add a [[models.balanced]] table",
        "config.toml: models.deep: needs at least one endpoint; add a [[models.deep]] table",
        "config.toml: routing.strategy: required",
    ]


def test_a_missing_key_is_blamed_on_the_line_of_its_table() -> None:
    text = MINIMAL.replace('name = "middle"\n', "")
    assert problems_of(text) == ["config.toml:5: models.balanced[0].name: required"]


def test_unknown_keys_are_errors_in_every_table() -> None:
    text = MINIMAL + "\n".join(
        f"[{table}]\nnonsense = 1"
        for table in (
            "models.premium",
            "server.tls",
            "routing.neural",
            "routing.router_timeouts",
            "timeouts",
            "retry",
            "breaker",
            "health",
            "limits",
            "auth",
            "admin",
            "storage",
            "redis",
            "observability",
            "cors",
            "whatever",
        )
    )
    text += '\n[[routing.rules]]\nname = "r"\ntier = "fast"\nnonsense = 1\nwhen.nonsense = 2'
    text += '\n[[auth.keys]]\nname = "k"\nrole = "admin"\nnonsense = 1'
    unknown = [line.split(": ")[1] for line in problems_of(text) if "unknown key" in line]
    assert len(unknown) == 19
    assert {"models.premium", "whatever", "routing.rules[0].when.nonsense", "auth.keys[0].nonsense"} <= set(unknown)


def test_a_file_of_octoroute_2_is_told_apart() -> None:
    lines = problems_of("config_version = 2\n" + MINIMAL)
    assert "octoroute 2" in lines[0]
    assert "[[models.fast]]" in lines[0]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("[server]\nport = 65536", "server.port: must be from 0 to 65535"),
        ("[server]\nport = true", "server.port: must be a whole number, not a boolean"),
        ("[server]\nport = 3000.0", "server.port: must be a whole number, not a number"),
        ('[server]\nhost = "a b"', "server.host: must be an IP address or a host name"),
        ('[server]\nhost = "256.1.1.1"', "server.host: must be an IP address or a host name"),
        ("[server]\nrequest_timeout_seconds = 0", "must be above 0 and at most 3600"),
        ("[server]\nrequest_timeout_seconds = 3601", "must be above 0 and at most 3600"),
        ("[timeouts]\nfast = nan", "timeouts.fast: must be a finite number"),
        ("[timeouts]\nfast = inf", "timeouts.fast: must be a finite number"),
        ("[timeouts]\nfast = 1979-05-27", "timeouts.fast: must be a number, not a date or time"),
        ("[timeouts]\nfast = " + "9" * 400, "timeouts.fast: must be a finite number"),
        ("[breaker]\nenabled = 1", "breaker.enabled: must be true or false, not a whole number"),
        ("[breaker]\nopen_seconds = 400", "breaker.open_seconds: is above max_open_seconds (300)"),
        ("[breaker]\nfailure_ratio = 0", "breaker.failure_ratio: must be above 0 and at most 1"),
        ("[retry]\nmax_attempts = 0", "retry.max_attempts: must be from 1 to 100"),
        ("[retry]\nbackoff_seconds = 9", "retry.backoff_seconds: is above max_backoff_seconds (8)"),
        ("[limits]\nmax_in_flight = 0", "limits.max_in_flight: must be at least 1"),
        ("[health]\ninterval_seconds = -1", "health.interval_seconds: must be above 0"),
        ('[cors]\norigins = ["https://a.example/"]', "cors.origins[0]: must be exactly http(s)://host[:port]"),
        ('[cors]\norigins = ["https://a.example:443"]', "cors.origins[0]: must leave out the default port"),
        ('[cors]\norigins = ["*", "https://a.example"]', 'cors.origins: "*" means every origin; give ["*"] alone'),
        ('[cors]\norigins = ["*", 3]', "cors.origins[1]: must be a string, not a whole number"),
        ("[admin]\nport = 3000", "admin: has the port of [server]"),
        ('[observability]\nlog_level = "loud"', "observability.log_level"),
        ('[storage]\nurl = "postgresql+psycopg://u:hunter22@db/x"', "storage.url: secrets never stand in the file"),
        ('[redis]\nurl = "http://x"', "redis.url: must start with redis://"),
        ("server = 3", "server: must be a table, not a whole number"),
    ],
)
def test_a_setting_outside_its_bounds_is_told(setting: str, message: str) -> None:
    text = setting + "\n" + MINIMAL if setting.startswith("server =") else MINIMAL + setting
    (line,) = problems_of(text)
    assert message in line
    assert "hunter22" not in line


def test_tls_files_that_do_not_exist_are_named() -> None:
    lines = problems_of(
        MINIMAL + '[server.tls]\ncert_file = "no.pem"\nkey_file = "sk-canary-0123"\nclient_ca_file = "tls/ca.crt"'
    )
    assert lines == [
        "config.toml:14: server.tls.cert_file: no.pem: no such file",
        "config.toml:15: server.tls.key_file: the file named here: no such file",
        "config.toml:16: server.tls.client_ca_file: tls/ca.crt: no such file",
    ]


def test_tls_files_that_hold_something_else_are_told(tmp_path: Path) -> None:
    (tmp_path / "text.pem").write_text("no certificate")
    tls = '[server.tls]\ncert_file = "text.pem"\nkey_file = "text.pem"\nclient_ca_file = "text.pem"'
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL + tls)
    with pytest.raises(InvalidConfig) as caught:
        load_config(path, env={})
    assert [(problem.path, problem.message) for problem in caught.value.problems] == [
        ("server.tls.cert_file", "with key_file: no readable PEM certificate and its unencrypted key"),
        ("server.tls.client_ca_file", "the file named here cannot be read as PEM certificates"),
    ]


def test_origins_become_what_browsers_send() -> None:
    config = parse_config(MINIMAL + '[cors]\norigins = ["HTTPS://Chat.Example:8443", "http://[::1]:8000"]')
    assert config.cors.origins == ("https://chat.example:8443", "http://[::1]:8000")
    assert parse_config(MINIMAL + '[cors]\norigins = ["*"]').cors.origins == ("*",)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a = \n", ":1: not valid TOML at column 5"),
        ("[server]\nport = 3000\nport = 3001\n", ":3: not valid TOML"),
        ('[routing]\nstrategy = "rule\n', ":2: not valid TOML"),
        ("[a]\nb = 1\n[a]\n", ":3: not valid TOML at column 3: a table is declared twice"),
        ("x = { sk-live-0123456789 = 1, sk-live-0123456789 = 2 }", "a key is given twice in an inline table"),
        ("a = " + "[" * 100_000, "holds nesting or numbers beyond"),
        ("a = " + "9" * 10_000, "holds nesting or numbers beyond"),
        ("a = 9999-99-99", "not valid TOML"),
    ],
)
def test_a_syntax_error_names_its_place_and_repeats_nothing(text: str, place: str) -> None:
    (line,) = problems_of(text)
    assert place in line
    assert "sk-live" not in line


def test_flags_win_over_environment_and_environment_over_file(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(MINIMAL + '[server]\nhost = "127.0.0.1"\nport = 1000\n')
    env = {"OCTOROUTE_HOST": "127.0.0.2", "OCTOROUTE_PORT": "2000"}
    assert load_config(path, env={}).server.port == 1000
    server = load_config(path, env=env).server
    assert (server.host, server.port) == ("127.0.0.2", 2000)
    server = load_config(path, env=env, overrides=Overrides(host="127.0.0.3", port=0)).server
    assert (server.host, server.port) == ("127.0.0.3", 0)


def test_more_than_one_worker_on_the_command_line_is_refused_with_the_reason() -> None:
    with pytest.raises(InvalidConfig, match="--workers: must be 1; one process already fills a core"):
        parse_config(MINIMAL, overrides=Overrides(workers=2))
    assert parse_config(MINIMAL, overrides=Overrides(workers=1)).server.workers == 1


def test_the_path_is_absolute_and_credentials_are_found_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.toml").write_text(MINIMAL.replace("[[models.deep]]", '[[models.deep]]\napi_key_file = "deep.key"'))
    key = Path("deep.key")
    key.write_text("sk-0123456789\n")
    key.chmod(0o600)
    config = load_config(Path("config.toml"), env={})
    assert config.path == tmp_path / "config.toml"
    secret = config.endpoints[2].api_key
    assert secret is not None
    assert secret.reveal() == "sk-0123456789"


def test_the_flag_wins_over_the_variable_and_the_variable_over_the_folder(tmp_path: Path) -> None:
    for name in ("config.toml", "flag.toml", "variable.toml"):
        (tmp_path / name).touch()
    env = {"OCTOROUTE_CONFIG": "variable.toml"}
    assert find_config(Path("flag.toml"), env, tmp_path).name == "flag.toml"
    assert find_config(None, env, tmp_path).name == "variable.toml"
    assert find_config(None, {"OCTOROUTE_CONFIG": ""}, tmp_path).name == "config.toml"


@pytest.mark.parametrize(
    ("flag", "env", "looked"),
    [
        (None, {}, "neither -c nor OCTOROUTE_CONFIG is set"),
        (Path("x.toml"), {}, "named by -c"),
        (None, {"OCTOROUTE_CONFIG": "y.toml"}, "named by OCTOROUTE_CONFIG"),
    ],
)
def test_a_missing_file_says_where_it_was_looked_for_and_how_to_make_one(
    tmp_path: Path, flag: Path | None, env: dict[str, str], looked: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        find_config(flag, env, tmp_path)
    for part in (str(tmp_path), looked, "octoroute config -o config.toml", "octoroute demo"):
        assert part in str(caught.value)


def test_what_is_no_readable_text_file_is_refused_clearly(tmp_path: Path) -> None:
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# fine\n# caf\xe9\n")
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MOST_BYTES + 1))
    cases = {tmp_path: "is a directory", latin: ":2: is not UTF-8", large: "larger than 1 MiB"}
    cases[tmp_path / "none.toml"] = "no such file"
    for path, said in cases.items():
        with pytest.raises(ConfigError, match=said):
            load_config(path, env={})


def test_a_pipe_is_read_to_its_end_and_one_that_nobody_writes_to_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "config.toml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError):  # nobody has it open
        load_config(pipe, env={})
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with pipe.open("w") as writer:
        monkeypatch.setattr("octoroute_py.config.load._PIPE_S", 0.01)
        with pytest.raises(ConfigError, match="nothing comes through the pipe"):
            load_config(pipe, env={})
        writer.write(MINIMAL)
    assert load_config(pipe, env={}).endpoints
    os.close(reader)


@pytest.fixture
def nobody_special() -> Iterator[None]:
    """Give up root's right to read everything for the length of a test."""
    whoever = os.geteuid()
    if whoever == 0:
        os.seteuid(65534)
    yield
    os.seteuid(whoever)


def test_an_unreadable_file_is_refused_clearly(tmp_path: Path, nobody_special: None) -> None:
    path = tmp_path / "config.toml"
    with contextlib.suppress(PermissionError):  # the folder itself is out of reach when root gave up its rights
        path.touch(mode=0o000)
    with pytest.raises(ConfigError, match="chmod"):
        load_config(path, env={})


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + MINIMAL.replace("\n", "\r\n").encode())
    assert len(load_config(path, env={}).endpoints) == 3
    path.write_bytes(b"\xef\xbb\xbf" + (MINIMAL + "nope = 1").replace("\n", "\r\n").encode())
    with pytest.raises(InvalidConfig, match=r":13: routing\.nope: unknown key"):
        load_config(path, env={})


def test_the_process_environment_is_a_read_only_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTOROUTE_PORT", "1")
    env = process_env()
    monkeypatch.setenv("OCTOROUTE_PORT", "2")
    assert env["OCTOROUTE_PORT"] == "1"


def test_thousands_of_problems_end_in_a_count() -> None:
    lines = problems_of("\n".join(f"unknown{number} = 1" for number in range(5000)))
    assert len(lines) == 201
    assert lines[-1] == "config.toml: and 4804 more"
