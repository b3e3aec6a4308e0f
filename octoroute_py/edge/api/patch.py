"""JSON merge patches (RFC 7396): the fields that are given take the place of those that are kept, null takes one away.

Values keep the spelling they came with.
"""

import types
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, UNSET, UnsetType

from octoroute_py.core.errors import BadRequest

DEEPEST: Final = 32
_Members = dict[str, msgspec.Raw]
_decode = msgspec.json.Decoder(_Members).decode


def patch_of(shape: type[msgspec.Struct], *, without: tuple[str, ...]) -> type[msgspec.Struct]:
    """What a patch of this shape looks like: every field may be missing, and null where it can be taken away."""
    hints = get_type_hints(shape, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(shape):
        if field.name in without:
            continue
        required = field.default is NODEFAULT and field.default_factory is NODEFAULT
        given = hints[field.name]
        allowed: Any = given | UnsetType if required or _takes_null(given) else given | None | UnsetType
        fields.append((field.name, allowed, msgspec.field(default=UNSET, name=field.encode_name)))
    return msgspec.defstruct(
        f"{shape.__name__}Patch", fields, module=shape.__module__, frozen=True, kw_only=True, forbid_unknown_fields=True
    )


def merged(kept: bytes, patch: bytes, *, depth: int = DEEPEST) -> bytes:
    """The JSON that a patch makes of what is kept. Raises BadRequest for one that is nested too deeply."""
    if not _is_object(patch):
        return patch
    if depth == 0:
        raise BadRequest(f"The body is nested deeper than {DEEPEST} objects.")
    members = _decode(kept) if _is_object(kept) else {}
    for name, value in _decode(patch).items():
        if bytes(value).strip() == b"null":
            members.pop(name, None)
        else:
            before = bytes(members.get(name, b"null"))
            members[name] = msgspec.Raw(merged(before, bytes(value), depth=depth - 1))
    return msgspec.json.encode(members)


def _is_object(text: bytes) -> bool:
    return text.lstrip()[:1] == b"{"


def _takes_null(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType) and type(None) in get_args(hint)
