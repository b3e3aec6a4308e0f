from typing import Any

import msgspec
import pytest

from octoroute_py.core.rules import RoutingRule
from octoroute_py.routing.rule_problems import problems

TWO = [{"modelId": "a"}, {"modelId": "b"}]


def found(**given: Any) -> list[tuple[str, str]]:
    body = {"id": "r", "name": "r", "targets": [{"modelId": "m"}], **given}
    return problems(msgspec.json.decode(msgspec.json.encode(body), type=RoutingRule))


def custom(**given: Any) -> dict[str, Any]:
    return {"conditions": {"customConditions": given}}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"conditions": {"contentLength": {"min": 5, "max": 5}, "timeOfDay": {"start": "22:00", "end": "22:00"}}},
        {"conditions": {"timeOfDay": {"start": "22:00", "end": "06:00", "timezone": "Europe/Berlin"}}},
        custom(headers={"X-App": "a", "x-other": {"exists": False}}, metadata={"a b": {"noneOf": [1]}}),
        {"targets": TWO, "trafficSplit": {"primary": 99.9, "canary": 0.1}},
        {"targets": [{"modelId": "a", "weight": 0}, {"modelId": "b"}]},
        {"targets": [{"modelId": "a", "weight": 0}, {"modelId": "b", "weight": 1}]},
    ],
)
def test_a_rule_that_can_be_used_has_none(given: dict[str, Any]) -> None:
    assert found(**given) == []


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"name": "  "}, "name"),
        ({"conditions": {"contentLength": {"min": 6, "max": 5}}}, "conditions.contentLength.min"),
        (
            {"conditions": {"timeOfDay": {"start": "22:00", "end": "06:00", "timezone": "Mars/Base"}}},
            "conditions.timeOfDay.timezone",
        ),
        (
            {"conditions": {"timeOfDay": {"start": "22:00", "end": "06:00", "timezone": "../../etc/passwd"}}},
            "conditions.timeOfDay.timezone",
        ),
        (custom(headers={"Authorization": "x"}), "conditions.customConditions.headers.Authorization"),
        (custom(headers={"x-api-key": {"exists": True}}), "conditions.customConditions.headers.x-api-key"),
        (custom(headers={"a b": "x"}), "conditions.customConditions.headers.a b"),
        (custom(headers={"X-A": "x", "x-a": "x"}), "conditions.customConditions.headers.x-a"),
        (custom(headers={"X-A": {}}), "conditions.customConditions.headers.X-A"),
        (custom(metadata={"m": {"anyOf": ["x"], "exists": False}}), "conditions.customConditions.metadata.m.exists"),
        ({"targets": [{"modelId": "a"}, {"modelId": "a"}]}, "targets[1].modelId"),
        ({"targets": [{"modelId": " a"}]}, "targets[0].modelId"),
        ({"targets": [{"modelId": "a", "weight": 0}, {"modelId": "b", "weight": 0}]}, "targets"),
        ({"trafficSplit": {"primary": 90, "canary": 10}}, "trafficSplit"),
        ({"targets": TWO, "trafficSplit": {"primary": 90, "canary": 9}}, "trafficSplit"),
    ],
)
def test_what_is_wrong_names_the_field(given: dict[str, Any], param: str) -> None:
    assert [(each, told.startswith(f"'{param}' ")) for each, told in found(**given)] == [(param, True)]


def test_everything_that_is_wrong_is_told_in_order() -> None:
    given = custom(headers={"cookie": {}}, metadata={"m": {}})
    told = found(name=" ", **given, trafficSplit={"primary": 1, "canary": 1})
    assert [param for param, _ in told] == [
        "name",
        "conditions.customConditions.headers.cookie",
        "conditions.customConditions.headers.cookie",
        "conditions.customConditions.metadata.m",
        "trafficSplit",
        "trafficSplit",
    ]
