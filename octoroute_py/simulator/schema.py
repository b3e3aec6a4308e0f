"""Example values that satisfy a JSON schema, for tool arguments and structured answers.

Covers what tool and answer schemas use: types, enum, const, default, required, items, bounds, lengths, formats,
anyOf/oneOf/allOf and local references. A `pattern` is not solved.
"""

import math

from octoroute_py.simulator.bodies import JsonObject

_MAX_DEPTH = 12
_MAX_ITEMS = 100
_MAX_VALUES = 2_000
_FORMATS = {
    "date": "2024-01-31",
    "date-time": "2024-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "192.0.2.1",
    "hostname": "example.com",
}


def example(schema: object, *, every_property: bool, name: str = "value", rank: int = 0) -> object:
    """A value valid under `schema`; with `every_property`, optional properties of objects are filled in too.

    Of an enum the value at place `rank` is taken, or its last one.

    Very deep or very large schemas end in null, so that no schema can make the simulator work for long.
    """
    root = schema if isinstance(schema, dict) else {}
    return _Maker(root, every_property, rank).value(root, name, 0)


class _Maker:
    def __init__(self, root: JsonObject, every_property: bool, rank: int) -> None:
        self._root = root
        self._every_property = every_property
        self._rank = rank
        self._values_left = _MAX_VALUES

    def value(self, schema: object, name: str, depth: int) -> object:
        self._values_left -= 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._values_left < 0:
            return None
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        choices = schema.get("enum")
        if isinstance(choices, list) and choices:
            return choices[min(self._rank, len(choices) - 1)]
        found = _simplified(schema, self._root)
        if found is not None:
            return self.value(found, name, depth + 1)
        return self._typed(schema, name, depth)

    def _typed(self, schema: JsonObject, name: str, depth: int) -> object:
        match _type_of(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                count = min(max(int(_number(schema, "minItems", 1)), 0), _MAX_ITEMS)
                item = schema.get("items", {"type": "string"})
                return [self.value(item, name, depth + 1) for _ in range(count)]
            case "integer":
                return math.ceil(_bounded(schema, step=1.0))
            case "number":
                return _bounded(schema, step=0.5)
            case "boolean":
                return True
            case "null":
                return None
            case _:
                return _string(schema, name)

    def _object(self, schema: JsonObject, depth: int) -> JsonObject:
        properties, required = schema.get("properties"), schema.get("required")
        known = properties if isinstance(properties, dict) else {}
        names = [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
        if self._every_property and depth < _MAX_DEPTH // 2:
            names = list(dict.fromkeys([*names, *known]))
        return {name: self.value(known.get(name, {}), name, depth + 1) for name in names}


def _simplified(schema: JsonObject, root: JsonObject) -> JsonObject | None:
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _resolve(reference, root)
    for key in ("anyOf", "oneOf"):
        options = schema.get(key)
        if isinstance(options, list) and options and isinstance(options[0], dict):
            return options[0]
    parts = schema.get("allOf")
    if isinstance(parts, list) and parts:
        merged: JsonObject = {key: value for key, value in schema.items() if key != "allOf"}
        for part in parts:
            if isinstance(part, dict):
                merged |= part
        return merged
    return None


def _resolve(reference: str, root: JsonObject) -> JsonObject:
    found: object = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            found = found.get(step) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else {}


def _type_of(schema: JsonObject) -> str:
    declared = schema.get("type")
    if isinstance(declared, list) and declared:
        declared = declared[0]
    if isinstance(declared, str):
        return declared
    return "object" if "properties" in schema else "string"


def _number(schema: JsonObject, key: str, default: float) -> float:
    value = schema.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default


def _bounded(schema: JsonObject, *, step: float) -> float:
    low = max(_number(schema, "minimum", -1e15), _number(schema, "exclusiveMinimum", -1e15) + step)
    high = min(_number(schema, "maximum", 1e15), _number(schema, "exclusiveMaximum", 1e15) - step)
    value = min(max(1.0, low), high)
    multiple = _number(schema, "multipleOf", 0)
    return value if multiple < 1e-6 else multiple * max(1, -(-value // multiple))


def _string(schema: JsonObject, name: str) -> str:
    format_name = schema.get("format")
    text = _FORMATS.get(format_name, "") if isinstance(format_name, str) else ""
    text = text or f"simulated {name}"
    shortest, longest = int(_number(schema, "minLength", 0)), int(_number(schema, "maxLength", 10_000))
    return text.ljust(min(shortest, 10_000), ".")[: max(longest, 0)]
