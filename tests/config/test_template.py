"""The template is valid as it stands and shows every setting."""

import re
from pathlib import Path

import msgspec
import pytest

from octoroute_py.config import schema
from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.template import NAME, template

ROOT = Path(__file__).parents[2]


def test_the_repository_shows_the_same_file() -> None:
    assert (ROOT / NAME).read_bytes() == template().encode()


def test_it_is_valid_without_any_variable_and_asks_for_nothing_unbuilt() -> None:
    config = parse_config(template())
    assert config.unbuilt == ()
    assert config.routing.strategy is schema.StrategyName.RULE
    assert len(config.endpoints) == 3


def test_its_comments_are_settings_that_exist() -> None:
    text = re.sub(r"^#(?=[a-z\[])", "", template(), flags=re.MULTILINE)
    with pytest.raises(InvalidConfig) as caught:
        parse_config(text)
    # the files and variables it gives as examples are not there; nothing else is wrong
    assert {problem.path for problem in caught.value.problems} == {
        "server.tls.cert_file",
        "server.tls.client_ca_file",
        "models.fast[0].api_key_file",
        "models.fast[0].ca_file",
        "auth.keys[0].env",
    }


def test_it_shows_every_setting_there_is() -> None:
    shown = set(re.findall(r"^#?(?:when\.)?([a-z0-9_]+) = ", template(), flags=re.MULTILINE))
    made_up = {"tier", "api_key", "path", "unbuilt", "endpoints", "storage_url", "redis_url", "sha256", "start_minute"}
    tables = {"tls", "rules", "when", "neural", "keys", *schema.Config.__struct_fields__, "end_minute"}
    settings = {
        field
        for struct in vars(schema).values()
        if isinstance(struct, type) and issubclass(struct, msgspec.Struct) and struct is not msgspec.Struct
        for field in struct.__struct_fields__
    }
    assert settings - made_up - tables <= shown
    assert {"api_key_env", "api_key_file", "env", "url"} <= shown
