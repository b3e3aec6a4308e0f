"""The template is valid as it stands and shows every setting."""

import re
from pathlib import Path

import msgspec
import pytest
import tomli

from octoroute_py.config import schema
from octoroute_py.config.keeping import DEFAULT_STORAGE
from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.template import NAME, template
from octoroute_py.core.allowance import Budgets, Rates
from octoroute_py.core.words import Tier
from octoroute_py.gateway.timers import (
    BUFFERED_DEADLINE_S,
    CONNECT_LOCAL_S,
    CONNECT_REMOTE_S,
    FIRST_EVENT_S,
    SILENCE_S,
    STREAM_DEADLINE_S,
    WHOLE_ANSWER_S,
)

ROOT = Path(__file__).parents[2]
TABLES: dict[str, type[msgspec.Struct]] = {
    "server": schema.ServerConfig,
    "models": schema.EndpointConfig,
    "routing": schema.RoutingConfig,
    "timeouts": schema.TimeoutsConfig,
    "retry": schema.RetryConfig,
    "breaker": schema.BreakerConfig,
    "health": schema.HealthConfig,
    "limits": schema.LimitsConfig,
    "storage": schema.StorageConfig,
    "registry": schema.RegistryConfig,
    "auth": schema.AuthConfig,
    "admin": schema.AdminConfig,
    "observability": schema.ObservabilityConfig,
    "tracing": schema.TracingConfig,
    "cors": schema.CorsConfig,
}


class Shown(msgspec.Struct, frozen=True):
    """One `#key = value  # comment` line of a table that is no example."""

    table: str
    key: str
    value: str
    comment: str

    @property
    def an_example(self) -> bool:
        return "absent:" in self.comment

    @property
    def default(self) -> object:
        """What holds without the line, as TOML would give it."""
        if (self.table, self.key) == ("storage", "url"):
            return DEFAULT_STORAGE
        field = {each.name: each for each in msgspec.structs.fields(TABLES[self.table])}.get(self.key)
        if field is None or field.default is msgspec.NODEFAULT:
            return None
        plain = msgspec.to_builtins(field.default)
        return list(plain) if isinstance(plain, tuple) else plain


def shown_settings() -> list[Shown]:
    """The commented settings of the template, in order."""
    shown = []
    table, example = "", False
    for line in template().splitlines():
        if heading := re.match(r"#?\[+(\w+)(?:\.\w+)*\]+(?:\s+# (\w*))?", line):
            table, example = heading[1], heading[2] == "example"
        elif not example and (setting := re.fullmatch(r"#(\w+) = (.+?)(?:\s{2,}# (.*))?", line)):
            shown.append(Shown(table, setting[1], setting[2], setting[3] or ""))
    return shown


def test_the_repository_shows_the_same_file() -> None:
    assert (ROOT / NAME).read_bytes() == template().encode()


def test_it_is_valid_without_any_variable_and_asks_for_nothing_unbuilt() -> None:
    config = parse_config(template())
    assert config.unbuilt == ()
    assert config.routing.strategy is schema.StrategyName.HYBRID
    assert config.routing.default_tier is Tier.BALANCED
    assert len(config.endpoints) == 3


def test_its_comments_are_settings_that_exist() -> None:
    text = re.sub(r"^#(?=[a-z\[])", "", template(), flags=re.MULTILINE)
    with pytest.raises(InvalidConfig) as caught:
        parse_config(text)
    # the files and variables it gives as examples are not there; nothing else is wrong
    assert {problem.path for problem in caught.value.problems} == {
        "server.tls.cert_file",
        "server.tls.key_file",
        "server.tls.client_ca_file",
        "models.fast[0].api_key_file",
        "models.fast[0].ca_file",
        "auth.keys[0].env",
        "registry.credentials.openai.env",
        "auth.jwt",
        "tracing.headers_env",
    }


def test_its_commented_values_are_the_defaults() -> None:
    defaults = [each for each in shown_settings() if not each.an_example]
    assert len(defaults) > 30
    wrong = [each for each in defaults if tomli.loads(f"a = {each.value}")["a"] != each.default]
    assert wrong == []


def test_its_examples_are_of_settings_without_a_default() -> None:
    examples = [each for each in shown_settings() if each.an_example]
    assert len(examples) > 15
    # where an endpoint is, is worked out from its URL, and its headers and tags begin empty
    with_default = {each.key for each in examples if each.default is not None} - {
        "location",
        "headers",
        "compliance",
        "log_levels",
    }
    assert with_default == set()


def test_it_tells_the_limits_that_hold_without_it() -> None:
    text = template()
    assert {each.key: each.comment for each in shown_settings() if each.table == "timeouts"} == {
        "fast": f"absent: {FIRST_EVENT_S[Tier.FAST]:g} to a stream's first event, "
        f"{WHOLE_ANSWER_S[Tier.FAST]:g} for a whole buffered answer",
        "balanced": f"absent: {FIRST_EVENT_S[Tier.BALANCED]:g} and {WHOLE_ANSWER_S[Tier.BALANCED]:g}",
        "deep": f"absent: {FIRST_EVENT_S[Tier.DEEP]:g} and {WHOLE_ANSWER_S[Tier.DEEP]:g}",
    }
    assert "absent: {:g} fast, {:g} balanced, {:g} deep".format(*SILENCE_S.values()) in text
    assert f"absent: {CONNECT_LOCAL_S:g} for location local, {CONNECT_REMOTE_S:g} elsewhere" in text
    assert "{:g} s fast, {:g} s balanced, {:g} s deep for streams".format(*STREAM_DEADLINE_S.values()) in text
    assert "{:g}, {:g} and {:g} s buffered".format(*BUFFERED_DEADLINE_S.values()) in text


def test_it_shows_every_setting_there_is() -> None:
    shown = set(re.findall(r"^#?(?:when\.)?([a-z0-9_]+) = ", template(), flags=re.MULTILINE))
    made_up = {"tier", "api_key", "path", "registered", "unbuilt", "endpoints", "redis_url", "sha256", "start_minute"}
    made_up |= {"rates", "budgets", "per_key", "key", *Rates.__struct_fields__, *Budgets.__struct_fields__}
    tables = {
        "per_ip",
        "agent_types",
        "tls",
        "rules",
        "when",
        "neural",
        "keys",
        "clients",
        "credentials",
        "jwt",
        *schema.Config.__struct_fields__,
        "end_minute",
    }
    settings = {
        field
        for struct in vars(schema).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
        if struct not in {schema.NetworkRules, schema.Registered}
        for field in struct.__struct_fields__
    }
    assert settings - made_up - tables <= shown
    assert {"daily_usd", "weekly_usd", "monthly_usd", "per_request_usd"} <= shown
    assert {"requests_per_minute", "tokens_per_minute", "max_concurrent"} <= shown
    assert {"api_key_env", "api_key_file", "env", "url"} <= shown
