"""`[[models.<tier>]]`: names, ids, credentials, headers, capabilities, bounds."""

from pathlib import Path

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import EndpointConfig, TokenLimitField, TransportName
from octoroute_py.core.words import Capability, Location
from tests.fakes.configs import MINIMAL, with_endpoint

SECRET = "sk-canary-0123456789"


def endpoint(keys: str, **env: str) -> EndpointConfig:
    return parse_config(with_endpoint(keys), env=env).endpoints[0]


def problem(keys: str, **env: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        endpoint(keys, **env)
    (line,) = str(caught.value).splitlines()
    assert SECRET not in line
    return line


def test_absent_settings_have_their_documented_defaults() -> None:
    small = endpoint("")
    assert small.id == "fast/small#1"
    assert small.model == "small"
    assert (small.weight, small.priority, small.include_usage) == (1.0, 1, True)
    assert small.capabilities is None
    assert small.location is Location.LOCAL
    assert small.token_limit_field is TokenLimitField.MAX_TOKENS
    assert (small.max_tokens, small.temperature, small.api_key, small.timeout_seconds) == (None, None, None, None)


def test_every_setting_arrives(tmp_path: Path) -> None:
    small = endpoint(
        'id = "a"\nmodel = "vendor/x"\nmax_tokens = 4294967295\ntemperature = 2\ntoken_limit_field = '
        '"max_completion_tokens"\ninclude_usage = false\nweight = 0.5\npriority = 255\nmax_in_flight = 4\n'
        'context_window = 1000\nlocation = "cloud"\ntransport = "httpx"\nproxy = "http://127.0.0.1:9"\nhttp2 = true\n'
        "input_cost_per_mtok = 0\noutput_cost_per_mtok = 1.5\ncached_input_cost_per_mtok = 0.1\n"
        "timeout_seconds = 1\nidle_seconds = 2\nconnect_seconds = 3600\n"
        'headers = { X-Team = "search" }'
    )
    assert (small.id, small.model, small.max_tokens, small.temperature) == ("a", "vendor/x", 2**32 - 1, 2.0)
    assert small.token_limit_field is TokenLimitField.MAX_COMPLETION_TOKENS
    assert (small.include_usage, small.weight, small.priority, small.max_in_flight) == (False, 0.5, 255, 4)
    assert (small.context_window, small.location, small.transport) == (1000, Location.CLOUD, TransportName.HTTPX)
    assert small.proxy is not None
    assert small.proxy.reveal() == "http://127.0.0.1:9"
    assert (small.input_cost_per_mtok, small.output_cost_per_mtok, small.cached_input_cost_per_mtok) == (0, 1.5, 0.1)
    assert (small.timeout_seconds, small.idle_seconds, small.connect_seconds) == (1, 2, 3600)
    assert small.headers == (("x-team", "search"),)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("max_tokens = 0", "max_tokens: must be from 1 to 4294967295"),
        ("max_tokens = 4294967296", "max_tokens: must be from 1 to 4294967295"),
        ("temperature = -0.1", "temperature: must be at least 0 and at most 2"),
        ("temperature = nan", "temperature: must be a finite number"),
        ("weight = 0", "weight: must be above 0"),
        ("weight = 1e308", "weight: must be above 0 and at most 1e+06"),
        ("weight = inf", "weight: must be a finite number"),
        ("priority = 256", "priority: must be from 0 to 255"),
        ("priority = -1", "priority: must be from 0 to 255"),
        ("input_cost_per_mtok = -1", "input_cost_per_mtok: must be at least 0"),
        ("timeout_seconds = 3601", "timeout_seconds: must be above 0 and at most 3600"),
        ('model = ""', "model: must not be empty"),
        ('id = "Auto"', "is reserved"),
        ('id = "a b"', "id: must be visible ASCII"),
        ('id = "middle"', 'the id "middle" is the name of another endpoint'),
        ('id = "deep/large#1"', "is taken by another endpoint"),
        ('location = "Cloud"', 'did you mean "cloud"?'),
        ('kind = "llama.cpp"', "kind: this is not known here"),
        ('capabilities = ["vison"]', 'capabilities[0]: "vison" is not known here; did you mean "vision"?'),
        ('capabilities = "tools"', "capabilities: must be an array of names"),
        ('proxy = "socks5://127.0.0.1:1"', "proxy: must start with http:// or https://"),
        ('ca_file = "missing.pem"', "ca_file: the file named here cannot be read as PEM certificates"),
    ],
)
def test_a_setting_outside_its_bounds_is_told(keys: str, said: str) -> None:
    line = problem(keys)
    assert said in line
    assert line.startswith(("config.toml:5: models.fast[0].", "config.toml:9: models.deep[0]"))


@pytest.mark.parametrize("name", ["auto", "FAST", "Balanced", "deep", "Local", "cloud"])
def test_reserved_names_are_refused_in_any_case(name: str) -> None:
    with pytest.raises(InvalidConfig, match=f'"{name}" is reserved'):
        parse_config(MINIMAL.replace('"small"', f'"{name}"'))


@pytest.mark.parametrize("name", ["", "  ", " small", "a\\nb", "a\\u0000b", "x" * 201])
def test_names_that_are_empty_or_no_single_line_are_refused(name: str) -> None:
    with pytest.raises(InvalidConfig, match=r"models\.fast\[0\]\.name"):
        parse_config(MINIMAL.replace('"small"', f'"{name}"'))


def test_replicas_of_a_tier_share_a_name_and_are_numbered() -> None:
    replica = '[[models.fast]]\nname = "small"\nbase_url = "http://127.0.0.1:{}/v1"\n'
    config = parse_config(replica.format(8) + MINIMAL + "".join(replica.format(port) for port in (5, 6)))
    assert [each.id for each in config.endpoints][:4] == [f"fast/small#{number}" for number in (1, 2, 3, 4)]
    assert config.endpoints[0].base_url.endswith(":8/v1")


def test_a_name_in_two_tiers_is_refused() -> None:
    with pytest.raises(InvalidConfig, match=r':6: models.balanced\[0\].name: "small" is already a name in tier fast'):
        parse_config(MINIMAL.replace('"middle"', '"small"'))


def test_a_name_beyond_ascii_gets_an_id_that_fits_a_header() -> None:
    config = parse_config(MINIMAL.replace('"small"', '"größe 8b"'))
    assert config.endpoints[0].name == "größe 8b"
    assert config.endpoints[0].id == "fast/gr%C3%B6%C3%9Fe%208b#1"


def test_single_brackets_are_explained() -> None:
    with pytest.raises(InvalidConfig, match=r"write \[\[models.fast\]\], in double brackets"):
        parse_config(MINIMAL.replace("[[models.fast]]", "[models.fast]"))


def test_capability_aliases_are_understood_and_chat_and_stream_always_added() -> None:
    small = endpoint('capabilities = ["vision", "images", "audio", "video", "json", "json_schema", "tools"]')
    assert small.capabilities == frozenset(Capability) - {Capability.REASONING}
    assert endpoint("capabilities = []").capabilities == frozenset({Capability.CHAT, Capability.STREAM})


def test_a_credential_comes_from_the_environment_and_never_shows_itself() -> None:
    small = endpoint('api_key_env = "FAST_KEY"', FAST_KEY=SECRET)
    assert small.api_key is not None
    assert small.api_key.reveal() == SECRET
    assert SECRET not in repr(small)
    assert SECRET not in str(small)


def test_a_variable_that_is_not_set_is_an_error() -> None:
    assert "environment variable FAST_KEY is not set" in problem('api_key_env = "FAST_KEY"')


@pytest.mark.parametrize("value", ["", "   ", "two words", "line\nbreak", "ümlaut", "tab\t"])
def test_a_credential_that_fits_no_header_is_an_error(value: str) -> None:
    assert "models.fast[0].api_key_env: environment variable FAST_KEY holds" in problem(
        'api_key_env = "FAST_KEY"', FAST_KEY=value
    )


@pytest.mark.parametrize(
    "keys",
    [
        f'api_key_env = "{SECRET}"',
        'api_key_env = "skcanary0123456789abcdef"',
        f'api_key_file = "{SECRET}"',
        f'api_key = "{SECRET}"',
        f'token = "{SECRET}"',
        f'kind = "{SECRET}"',
        f'location = "{SECRET}"',
        f'max_tokens = "{SECRET}"',
        f'headers = {{ Authorization = "Bearer {SECRET}" }}',
        f'headers = {{ X-Api-Key = "{SECRET}" }}',
        f'headers = {{ api-key = "{SECRET}" }}',
        f'headers = {{ Ocp-Apim-Subscription-Key = "{SECRET}" }}',
        f'headers = {{ X-Auth-Token = "{SECRET}" }}',
        f'headers = {{ Cookie = "{SECRET}" }}',
        f'headers = {{ X-Team = "bearer {SECRET}" }}',
        f'proxy = "http://user:{SECRET}@127.0.0.1:1"',
    ],
)
def test_a_secret_in_the_wrong_place_is_refused_and_not_repeated(keys: str) -> None:
    assert "skcanary" not in problem(keys)


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ('{ x-a = "b\\r\\nx-c: d" }', "must be one line"),
        ('{ x-a = "b\\u0000" }', "must be one line"),
        ('{ x-a = "é" }', "must be one line of ASCII"),
        ("{ x-a = 1 }", "must be a string"),
        ('{ "x a" = "b" }', "is no header name"),
        ('{ x-a = "1", X-A = "2" }', "is given twice"),
        ('{ Host = "b" }', "is set by the gateway itself"),
        ('{ Transfer-Encoding = "chunked" }', "is set by the gateway itself"),
        ('"x-a: b"', "must be a table"),
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers: str, said: str) -> None:
    assert said in problem(f"headers = {headers}")


@pytest.mark.parametrize("name", ["x-max-tokens", "http-referer", "x-title", "openai-organization"])
def test_ordinary_headers_are_taken(name: str) -> None:
    assert endpoint(f'headers = {{ {name} = "v" }}').headers == ((name, "v"),)


def test_a_proxy_with_a_password_comes_from_the_environment() -> None:
    small = endpoint('proxy = "env:CORP_PROXY"', CORP_PROXY=f"http://user:{SECRET}@127.0.0.1:1")
    assert small.proxy is not None
    assert SECRET in small.proxy.reveal()
    assert SECRET not in repr(small)
    assert "CORP_PROXY is not set" in problem('proxy = "env:CORP_PROXY"')


class TestCredentialFile:
    def load(self, folder: Path) -> EndpointConfig:
        text = with_endpoint('api_key_file = "key"')
        return parse_config(text, path=folder / "config.toml").endpoints[0]

    def refusal(self, folder: Path) -> str:
        with pytest.raises(InvalidConfig) as caught:
            self.load(folder)
        assert SECRET not in str(caught.value)
        return str(caught.value)

    def write(self, folder: Path, content: str, mode: int = 0o600) -> None:
        (folder / "key").write_text(content)
        (folder / "key").chmod(mode)

    def test_the_credential_is_its_content_without_the_newline(self, tmp_path: Path) -> None:
        self.write(tmp_path, SECRET + "\r\n")
        secret = self.load(tmp_path).api_key
        assert secret is not None
        assert secret.reveal() == SECRET

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
    def test_a_file_others_can_use_is_refused(self, tmp_path: Path, mode: int) -> None:
        self.write(tmp_path, SECRET, mode)
        assert "chmod 600" in self.refusal(tmp_path)

    @pytest.mark.parametrize("content", ["", "\n", "two words", SECRET + "\n\n" + SECRET, "x" * 20_000])
    def test_a_file_without_exactly_one_credential_is_refused(self, tmp_path: Path, content: str) -> None:
        self.write(tmp_path, content)
        assert "models.fast[0].api_key_file: the file named here" in self.refusal(tmp_path)

    def test_a_missing_file_and_a_folder_are_refused(self, tmp_path: Path) -> None:
        assert "No such file" in self.refusal(tmp_path)
        (tmp_path / "key").mkdir()
        assert "api_key_file: the file named here" in self.refusal(tmp_path)

    def test_naming_both_a_variable_and_a_file_is_refused(self) -> None:
        assert "api_key_env is set too" in problem('api_key_env = "K"\napi_key_file = "k"', K=SECRET).replace("6", "5")
