"""Bounds how deep and how busy a JSON text is, at the speed of bytes methods; the text must have been parsed before."""

from itertools import accumulate

MAX_DEPTH = 64
"""Deepest nesting of objects and arrays in a request, the body itself included."""
MAX_STRINGS = 250_000
MAX_CONTAINERS = 250_000

_BRACKETS = b"{}[]"
_NOT_BRACKETS = bytes(set(range(256)) - set(_BRACKETS))
_STEPS = bytes.maketrans(_BRACKETS, b"\x01\xff\x01\xff")
_MEMBER_MARKS = _BRACKETS + b":"
_NOT_MEMBER_MARKS = bytes(set(range(256)) - set(_MEMBER_MARKS))
_MEMBER_STEPS = bytes.maketrans(_MEMBER_MARKS, b"\x01\xff\x01\xff\0")


class TooComplex(Exception):
    """More strings or containers than a request may hold."""


def skeleton(text: bytes) -> bytes:
    """The text without its strings: brackets, commas, colons, numbers and literals. Raises TooComplex."""
    if b"\\" in text:
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    if text.count(b'"') > 2 * MAX_STRINGS:
        raise TooComplex
    return b"".join(text.split(b'"')[::2])


def depth(text: bytes) -> int:
    """How many objects and arrays enclose the innermost value. Raises TooComplex."""
    brackets = skeleton(text).translate(_STEPS, _NOT_BRACKETS)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise TooComplex
    return max(accumulate(memoryview(brackets).cast("b")), default=0)


def has_more_members(text: bytes, *, limit: int) -> bool:
    """Whether the outermost object has more than `limit` members; holds for text that was not parsed yet.

    What follows a mistake in the text cannot hide the members before it. Raises TooComplex.
    """
    if text.count(b":") <= limit:
        return False
    marks = skeleton(text).translate(_MEMBER_STEPS, _NOT_MEMBER_MARKS)
    colons = marks.count(b"\0")
    if colons <= limit:
        return False
    if colons > MAX_STRINGS or len(marks) - colons > 2 * MAX_CONTAINERS:
        raise TooComplex
    steps = memoryview(marks).cast("b")
    found = 0
    for step, level in zip(steps, accumulate(steps), strict=True):
        if step == 0 and level == 1:
            found += 1
            if found > limit:
                return True
    return False


def is_too_deep(text: bytes, *, limit: int) -> bool:
    """Whether more than `limit` containers are nested; a text without that many openers is not looked at closer."""
    return len(text) > 2 * limit and has_more_openers(text, limit=limit) and depth(text) > limit


def has_more_openers(text: bytes, *, limit: int) -> bool:
    """Whether more than `limit` braces and brackets open, those in strings included.

    Looking for the next one costs a tenth of counting them all where there are few, as in a long prompt.
    """
    found = 0
    for opener in (b"{", b"["):
        at = text.find(opener)
        while at >= 0:
            found += 1
            if found > limit:
                return True
            at = text.find(opener, at + 1)
    return False
