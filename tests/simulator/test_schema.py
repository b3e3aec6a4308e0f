"""Example values are valid under the schemas they were made for."""

import jsonschema
import pytest

from octoroute_py.simulator.schema import example

SCHEMAS: list[dict[str, object]] = [
    {"type": "string", "minLength": 30},
    {"type": "string", "maxLength": 3},
    {"type": "string", "format": "date"},
    {"type": "integer", "minimum": 1.5, "maximum": 9},
    {"type": "integer", "exclusiveMaximum": -3},
    {"type": "integer", "minimum": 8, "multipleOf": 5},
    {"type": "number", "exclusiveMinimum": 2},
    {"type": ["null", "string"]},
    {"enum": [3, "x"]},
    {"const": {"a": 1}},
    {"type": "array", "minItems": 3, "items": {"type": "boolean"}},
    {"anyOf": [{"type": "null"}, {"type": "integer"}]},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}}, {"required": ["a"]}]},
    {"properties": {"a": {"type": "string", "default": "b"}, "c": {}}, "required": ["a", "d"]},
    {
        "$defs": {"node": {"type": "object", "properties": {"next": {"type": "array"}}, "required": ["next"]}},
        "type": "object",
        "properties": {"node": {"$ref": "#/$defs/node"}},
        "required": ["node"],
        "additionalProperties": False,
    },
]


@pytest.mark.parametrize("every_property", [True, False])
@pytest.mark.parametrize("schema", SCHEMAS)
def test_the_example_is_valid(schema: dict[str, object], every_property: bool) -> None:
    jsonschema.validate(example(schema, every_property=every_property), schema)


def test_optional_properties_are_left_out_of_arguments_and_filled_in_answers() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "boolean"}}, "required": ["b"]}
    assert example(schema, every_property=False) == {"b": True}
    assert example(schema, every_property=True) == {"b": True, "a": None}


@pytest.mark.parametrize(("rank", "value"), [(0, "a"), (1, "b"), (9, "c")])
def test_a_choice_is_taken_by_its_rank_or_is_the_last_one(rank: int, value: str) -> None:
    schema = {"type": "object", "properties": {"x": {"enum": ["a", "b", "c"]}}}
    assert example(schema, every_property=True, rank=rank) == {"x": value}


def test_a_schema_without_end_still_ends() -> None:
    names = [f"p{number}" for number in range(50)]
    endless: dict[str, object] = {
        "type": "object",
        "properties": {name: {"$ref": "#"} for name in names},
        "required": names,
    }
    assert isinstance(example(endless, every_property=True), dict)
    assert example({"$ref": "#"}, every_property=True) is None


@pytest.mark.parametrize("schema", [None, 3, [], {"type": 7}, {"enum": []}, {"items": 3, "type": "array"}])
def test_a_broken_schema_gives_some_value(schema: object) -> None:
    example(schema, every_property=True)
