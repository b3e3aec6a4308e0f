"""`[[routing.rules]]`."""

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import RuleConfig, RuleWhen, TimeOfDayRange
from octoroute_py.core.words import Importance, TaskType, Tier
from tests.fakes.configs import MINIMAL

RULE = '[[routing.rules]]\nname = "r"\ntier = "deep"\n'


def rules(text: str) -> tuple[RuleConfig, ...]:
    return parse_config(MINIMAL + text).routing.rules


def problem(text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        rules(text)
    (line,) = str(caught.value).splitlines()
    return line


def test_a_rule_without_conditions_has_the_documented_defaults() -> None:
    assert rules(RULE) == (RuleConfig(name="r", tier=Tier.DEEP, priority=0, enabled=True, when=RuleWhen()),)


def test_every_condition_arrives() -> None:
    (rule,) = rules(
        RULE
        + """priority = -3
enabled = false
[routing.rules.when]
min_tokens = 0
max_tokens = 10
task_type = "code"
importance = ["low", "high"]
model = "gpt-*"
header = { X-Team = "search" }
pattern = '(?i)\\brefactor\\b'
has_tools = true
has_images = false
hours = ["22:00-06:00", "9:30 - 24:00"]
timezone = "UTC"
"""
    )
    assert (rule.priority, rule.enabled) == (-3, False)
    assert rule.when == RuleWhen(
        min_tokens=0,
        max_tokens=10,
        task_type=(TaskType.CODE,),
        importance=(Importance.LOW, Importance.HIGH),
        model=("gpt-*",),
        header=(("x-team", "search"),),
        pattern=r"(?i)\brefactor\b",
        has_tools=True,
        has_images=False,
        hours=(TimeOfDayRange(1320, 360), TimeOfDayRange(570, 1440)),
        timezone="UTC",
    )


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ("min_tokens = -1", "when.min_tokens: must be at least 0"),
        ("min_tokens = 2\nwhen.max_tokens = 1", "when.min_tokens: is above max_tokens"),
        ('task_type = "coding"', 'when.task_type: "coding" is not known here; did you mean "code"?'),
        ('importance = ["high", "critical"]', 'when.importance[1]: "critical" is not known here'),
        ('pattern = "("', "when.pattern: is no valid regular expression at character 1"),
        (f'pattern = "{"x" * 1001}"', "when.pattern: must not be longer than 1000 characters"),
        ('hours = "22-6"', 'when.hours: must be a time of day range; as in "22:00-06:00"'),
        ('hours = ["09:00-17:00", "25:00-26:00"]', "when.hours[1]: must be a time of day range"),
        ('hours = "09:00-24:01"', "when.hours: ends after 24:00"),
        ('hours = "09:00-09:00"', "when.hours: starts and ends at the same minute"),
        ("hours = 9", "when.hours: must be a string or an array of strings"),
        ('timezone = "Europe/Berln"', "when.timezone: is no known time zone"),
        ('timezone = "../../etc/passwd"', "when.timezone: is no known time zone"),
        ('timezone = "Europe"', "when.timezone: is no known time zone"),
        ('header = { "x y" = "1" }', "is no header name"),
        ("header = { x = 1 }", "when.header.x: must be a string"),
        ('has_tools = "yes"', "when.has_tools: must be true or false, not a string"),
        ('patern = "x"', 'when.patern: unknown key; did you mean "pattern"?'),
    ],
)
def test_a_condition_that_cannot_be_is_told(when: str, said: str) -> None:
    line = problem(RULE + "when." + when)
    assert said in line
    assert line.startswith("config.toml:16: routing.rules[0].when")


def test_a_rule_needs_a_tier_and_a_name_of_its_own() -> None:
    assert "routing.rules[0].tier: required" in problem('[[routing.rules]]\nname = "r"')
    assert "routing.rules[0].name: required" in problem('[[routing.rules]]\ntier = "fast"')
    assert "routing.rules[1].name: is already the name of another rule" in problem(RULE + RULE)
