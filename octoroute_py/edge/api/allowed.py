"""What may stand at a place of a body, in words, where its decoder only says that something else may not."""

import re
from collections.abc import Iterator

from msgspec import inspect

_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")


def allowed(shape: type, place: str) -> str | None:
    """The words that a field may be one of, or what its shape says of it; None for nothing to be said.

    `place` is as decoders tell it: `conditions.requestType[0]`.
    """
    found: list[inspect.Type] = [inspect.type_info(shape)]
    for step in _STEP.findall(place):
        found = [inner for each in found for inner in _inside(each, step)]
    for each in (part for whole in found for part in _parts(whole)):
        if isinstance(each, inspect.EnumType):
            return f"one of {', '.join(str(member.value) for member in each.cls)}"
        if isinstance(each, inspect.Metadata) and "description" in (each.extra_json_schema or {}):
            return str((each.extra_json_schema or {})["description"])
    return None


def _parts(each: inspect.Type) -> Iterator[inspect.Type]:
    """A type and, where it is one of several, all of them."""
    yield each
    for inner in each.types if isinstance(each, inspect.UnionType) else ():
        yield from _parts(inner)


def _inside(whole: inspect.Type, step: str) -> Iterator[inspect.Type]:
    """What may stand one step further in."""
    for each in _parts(whole):
        if isinstance(each, inspect.Metadata):
            yield from _inside(each.type, step)
        elif isinstance(each, inspect.StructType):
            yield from (field.type for field in each.fields if field.encode_name == step)
        elif step.startswith("[") and isinstance(each, inspect.ListType | inspect.VarTupleType):
            yield each.item_type
        elif step == "[...]" and isinstance(each, inspect.DictType):
            yield each.value_type
