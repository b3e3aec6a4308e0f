"""Whatever stands in the file: a Config, or a ConfigError that repeats no secret."""

import re
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config
from octoroute_py.config.template import template
from octoroute_py.core.errors import ConfigError
from tests.fakes.configs import MINIMAL

CANARY = "sk-canary-7f3a9b2c4d5e"
ALL_SETTINGS = re.sub(r"^#(?=[a-z\[])", "", template(), flags=re.MULTILINE).splitlines()
SETTING_LINES = [number for number, line in enumerate(ALL_SETTINGS) if re.match(r"[a-z0-9_.]+ = ", line)]

keys = st.sampled_from(
    sorted({line.split(" = ")[0] for line in ALL_SETTINGS if re.match(r"[a-z0-9_.]+ = ", line)} | {"nonsense", '"ü x"'})
)
headers = st.sampled_from([line.split("]  ")[0].split(" #")[0].strip() for line in ALL_SETTINGS if line[:1] == "["])
values = st.one_of(
    st.integers().map(str),
    st.floats().map(repr),
    st.sampled_from(
        ["true", "nan", "-inf", '""', "[]", "{}", "[[]]", "{ a = { b = 1 } }", "1979-05-27", "07:32:00", "'''\nx'''"]
    ),
    st.sampled_from(['"fast"', '"rule"', '"http://h/v1"', '"22:00-06:00"', '["a", 1]', '"("', f'"{CANARY}"']),
    st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters='"\\'), max_size=20).map('"{}"'.format),
)
statements = st.one_of(headers, st.builds("{} = {}".format, keys, values))


def outcome(text: str) -> str:
    """The error's text, or how the configuration shows itself."""
    try:
        config = parse_config(text)
    except ConfigError as error:
        return str(error)
    assert isinstance(config, Config)
    return repr(config)


@given(st.text(max_size=300))
def test_any_text_gives_a_config_or_a_config_error(text: str) -> None:
    outcome(text)
    outcome(MINIMAL + text)


@given(st.lists(statements, max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_settings_give_a_config_or_a_config_error(lines: list[str]) -> None:
    outcome("\n".join(lines))
    outcome(MINIMAL + "\n".join(lines))


@given(st.sampled_from(SETTING_LINES), values)
@settings(max_examples=200, deadline=None)
def test_any_value_in_any_setting_gives_a_config_or_a_config_error(number: int, value: str) -> None:
    changed = list(ALL_SETTINGS)
    changed[number] = f"{changed[number].split(' = ')[0]} = {value}"
    outcome("\n".join(changed))


def test_a_secret_in_any_setting_is_not_repeated_in_an_error() -> None:
    for number in SETTING_LINES:
        key = ALL_SETTINGS[number].split(" = ")[0]
        if key in {"name", "id"}:
            continue  # names are shown to every client
        changed = list(ALL_SETTINGS)
        for value in (f'"{CANARY}"', f'["{CANARY}"]', f'{{ a = "{CANARY}" }}', f'"http://u:{CANARY}@h/v1"', CANARY):
            changed[number] = f"{key} = {value}"
            with pytest.raises(ConfigError) as caught:
                parse_config("\n".join(changed))
            assert CANARY not in "".join(traceback.format_exception(caught.value)), key
