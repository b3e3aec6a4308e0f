"""Which values of the file changed from one configuration to the next, by their dotted paths; never the values."""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from octoroute_py.config.problems import dotted
from octoroute_py.config.schema import Config, EndpointConfig

_NO_VALUES: Final = frozenset({"path", "unbuilt", "endpoints"})
_WHOLE: Final = frozenset({("limits",), ("auth",), ("registry",)})
"""Tables that are read into another shape than they are written in: only told as a whole."""
_CALLED: Final = {"redis_url": ("redis", "url")}


def changed_paths(before: Config, after: Config) -> tuple[str, ...]:
    """What differs, such as `routing.strategy` or `models["fast/small#1"].weight`, in the order of the document."""
    found = [*_endpoints(before.endpoints, after.endpoints)]
    for name in Config.__struct_fields__:
        if name not in _NO_VALUES:
            where = _CALLED.get(name, (name,))
            found.extend(_differing(where, getattr(before, name), getattr(after, name)))
    return tuple(found)


def _differing(where: tuple[str, ...], before: object, after: object) -> Iterator[str]:
    if before == after:
        return
    if not isinstance(before, msgspec.Struct) or type(before) is not type(after) or where[:1] in _WHOLE:
        yield dotted(where)
        return
    for name in before.__struct_fields__:
        yield from _differing((*where, name), getattr(before, name), getattr(after, name))


def _endpoints(before: Sequence[EndpointConfig], after: Sequence[EndpointConfig]) -> Iterator[str]:
    old, new = ({each.id: each for each in endpoints} for endpoints in (before, after))
    for id_ in dict.fromkeys((*old, *new)):
        was, now = old.get(id_), new.get(id_)
        where = f'models["{id_}"]'
        if was is None or now is None:
            yield f"{where} ({'new' if was is None else 'gone'})"
        else:
            yield from (f"{where}.{path}" for path in _differing((), was, now))
