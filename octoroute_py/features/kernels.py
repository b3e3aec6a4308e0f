"""The featuriser's numba twin: one pass over UTF-8 bytes, equal to `reference` on any text.

Importing this module imports numba; `warm` compiles or loads what it needs from numba's cache.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from octoroute_py.features.layout import (
    CODE_MARKS,
    CONTEXT_ROOM,
    CONTEXT_TOKENS,
    COUNTS,
    HEAD_TOKENS,
    LONG_WORD,
    MATHS_MARKS,
    MOST_TOKENS,
    SCALARS,
    TAIL_TOKENS,
    Kind,
)
from octoroute_py.features.lexicon import BUCKETS, FNV_OFFSET, FNV_PRIME, SLOTS, word_slots

F = TypeVar("F", bound=Callable[..., Any])

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_SPACE, _LETTER, _DIGIT, _MARK = (int(kind) for kind in Kind)
_CHARS, _LETTERS, _CAPITALS, _DIGITS, _SPACES, _MARKS, _FOREIGN, _WORDS, _TOKENS, _CHOICES, _MATHS = range(11)
_CODE, _QUESTIONS, _SHOUTED, _LONG_WORDS, _STEM_WORDS, _SHORTEST, _BEGAN, _DISTINCT = range(11, 19)
_FRESH_LINE, _LAST_MARK, _WORD_GROUP = range(19, 22)
# Numbers with a type of their own: numba would compile a function once more for every literal it is called with.
_ZERO: Final[Any] = np.int64(0)
_START: Final[Any] = np.int64(FNV_OFFSET)
_HEAD: Final[Any] = np.int64(HEAD_TOKENS)
_TAIL: Final[Any] = np.int64(TAIL_TOKENS)
_SLOT_HASHES: Final = np.array(word_slots()[0], dtype=np.int64)
_SLOT_GROUPS: Final = np.array(word_slots()[1], dtype=np.int64)
_TRAITS: Final = np.zeros(256, dtype=np.uint8)
"""For every mark up to U+00FF, in which list it stands: 1 maths, 2 code."""
for _bit, _marks in ((1, MATHS_MARKS), (2, CODE_MARKS)):
    for _char in _marks:
        _TRAITS[ord(_char)] |= _bit


def _jit(function: F) -> F:
    """The function compiled when it is first called, for calls from compiled code only; keeps its signature."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: F = njit(**options)(function)
    return compiled


def _entry(function: F) -> F:
    """The function compiled when it is first called, for calls from Python too."""
    options: dict[str, Any] = {"no_cfunc_wrapper": True}
    compiled: F = njit(**options)(function)
    return compiled


@_jit
def _size(lead: int) -> int:
    """How many bytes the character takes that begins with this byte."""
    if lead < 0x80:
        return 1
    if lead < 0xE0:
        return 2
    return 3 if lead < 0xF0 else 4


@_jit
def _code(data: Bytes, at: int) -> int:
    """The code point that begins at `at`."""
    lead = int(data[at])
    if lead < 0x80:
        return lead
    if lead < 0xE0:
        return (lead & 0x1F) << 6 | (int(data[at + 1]) & 0x3F)
    if lead < 0xF0:
        return (lead & 0x0F) << 12 | (int(data[at + 1]) & 0x3F) << 6 | (int(data[at + 2]) & 0x3F)
    rest = (int(data[at + 1]) & 0x3F) << 12 | (int(data[at + 2]) & 0x3F) << 6 | (int(data[at + 3]) & 0x3F)
    return (lead & 0x07) << 18 | rest


@_jit
def _kind(code: int) -> int:
    if code < 0x80:
        if code <= 0x20 or code == 0x7F:
            return _SPACE
        if 0x30 <= code <= 0x39:
            return _DIGIT
        return _LETTER if 0x61 <= code | 0x20 <= 0x7A else _MARK
    if code <= 0xA0 or 0x2000 <= code <= 0x200F or code in (0x2028, 0x2029, 0x3000, 0xFEFF):
        return _SPACE
    return _LETTER if 0xC0 <= code < 0x2000 and code not in (0xD7, 0xF7) else _MARK


@_jit
def _fold(code: int) -> int:
    if 0x41 <= code <= 0x5A or 0x391 <= code <= 0x3A9 or 0x410 <= code <= 0x42F:
        return code + 0x20
    if 0xC0 <= code <= 0xDE and code != 0xD7:
        return code + 0x20
    return code + 0x50 if 0x400 <= code <= 0x40F else code


@_jit
def _mix(value: int, byte: int) -> int:
    return (value ^ byte) * FNV_PRIME & 0xFFFFFFFF


@_jit
def _mix_code(value: int, code: int) -> int:
    """The hash after the UTF-8 bytes of a folded letter, which is below U+2000."""
    if code < 0x80:
        return _mix(value, code)
    if code < 0x800:
        return _mix(_mix(value, 0xC0 | code >> 6), 0x80 | code & 0x3F)
    return _mix(_mix(_mix(value, 0xE0 | code >> 12), 0x80 | code >> 6 & 0x3F), 0x80 | code & 0x3F)


@_jit
def _so_far(counts: Ints) -> int:
    so_far: int = counts[_LETTERS] + counts[_DIGITS] + counts[_SPACES] + counts[_MARKS]
    return so_far


@_jit
def _end_choice(counts: Ints) -> None:
    if counts[_BEGAN]:
        length = _so_far(counts) - counts[_BEGAN]
        if counts[_SHORTEST] == 0 or length < counts[_SHORTEST]:
            counts[_SHORTEST] = length
        counts[_BEGAN] = 0


@_jit
def _begin_choice(counts: Ints) -> None:
    _end_choice(counts)
    if counts[_CHOICES] == 0:
        counts[_STEM_WORDS] = counts[_WORDS] - 1
    counts[_CHOICES] += 1
    counts[_BEGAN] = _so_far(counts)


@_jit
def _word(data: Bytes, at: int, counts: Ints) -> tuple[int, int]:
    value: int = _START
    letters = capitals = 0
    code = first = _code(data, at)
    while _kind(code) == _LETTER:
        folded = _fold(code)
        capitals += folded != code
        counts[_FOREIGN] += code > 0x7F
        value = _mix_code(value, folded)
        letters += 1
        at += _size(data[at])
        if at >= len(data):
            break
        code = _code(data, at)
    counts[_LETTERS] += letters
    counts[_CAPITALS] += capitals
    counts[_WORDS] += 1
    counts[_SHOUTED] += capitals == letters and letters > 1
    counts[_LONG_WORDS] += letters >= LONG_WORD
    alone = letters == 1 and 0x41 <= first <= 0x4A and counts[_FRESH_LINE] and at < len(data)
    if alone and (data[at] == 0x2E or data[at] == 0x29 or data[at] == 0x3A):
        _begin_choice(counts)
    slot = value & SLOTS - 1
    while _SLOT_HASHES[slot] != 0:
        if _SLOT_HASHES[slot] == value:
            counts[_WORD_GROUP + _SLOT_GROUPS[slot]] += 1
            break
        slot = slot + 1 & SLOTS - 1
    return at, value


@_jit
def _number(data: Bytes, at: int, counts: Ints) -> tuple[int, int]:
    value: int = _START
    shaped = 0
    while at < len(data):
        byte = int(data[at])
        if 0x30 <= byte <= 0x39:
            counts[_DIGITS] += 1
            byte = 0x30
        elif (byte == 0x2E or byte == 0x2C) and at + 1 < len(data) and 0x30 <= data[at + 1] <= 0x39:
            counts[_MARKS] += 1
        else:
            break
        if shaped < 8:
            value = _mix(value, byte)
        shaped += 1
        at += 1
    return at, value


@_jit
def _mark(data: Bytes, at: int, counts: Ints) -> tuple[int, int]:
    value: int = _START
    code = _code(data, at)
    size = _size(data[at])
    for offset in range(size):
        value = _mix(value, int(data[at + offset]))
    times = 0
    while at < len(data) and _code(data, at) == code:
        times += 1
        at += size
    counts[_MARKS] += times
    counts[_LAST_MARK] = code
    if code > 0x7F:
        counts[_FOREIGN] += times
    if code <= 0xFF:
        traits = _TRAITS[code]
        counts[_MATHS] += times * (traits & 1)
        counts[_CODE] += times * (traits >> 1 & 1)
        counts[_QUESTIONS] += times * (code == 0x3F)
    return at, value


@_jit
def _walk(data: Bytes, counts: Ints, kept: NDArray[np.int32], head: int, ring: int) -> int:
    """Cuts a text into tokens: the first `head` buckets go to `kept`, the last `ring` round and round behind them."""
    met = np.zeros(BUCKETS, dtype=np.bool_)
    at: int = _ZERO
    found: int = _ZERO
    counts[_FRESH_LINE] = 1
    while at < len(data):
        code = _code(data, at)
        kind = _kind(code)
        if kind == _SPACE:
            if code == 0x0A:
                _end_choice(counts)
                counts[_FRESH_LINE] = 1
            counts[_SPACES] += 1
            counts[_FOREIGN] += code > 0x7F
            at += _size(data[at])
            continue
        counts[_LAST_MARK] = 0
        if kind == _LETTER:
            at, value = _word(data, at, counts)
        elif kind == _DIGIT:
            at, value = _number(data, at, counts)
        else:
            at, value = _mark(data, at, counts)
        counts[_FRESH_LINE] = 0
        bucket = (value ^ value >> 14) & (BUCKETS - 1)
        counts[_DISTINCT] += not met[bucket]
        met[bucket] = True
        kept[found if found < head else head + (found - head) % ring] = bucket
        found += 1
    _end_choice(counts)
    counts[_TOKENS] = found
    counts[_CHARS] = _so_far(counts)
    if counts[_CHOICES] == 0:
        counts[_STEM_WORDS] = counts[_WORDS]
    return found


@_jit
def _scalars(counts: Ints, extras: tuple[int, int, int, int, int, int], out: NDArray[np.float32]) -> None:
    chars, words = max(1, counts[_CHARS]), max(1, counts[_WORDS])
    out[0] = math.log1p(extras[0])
    out[1] = math.log1p(counts[_TOKENS])
    out[2] = counts[_LETTERS] / words
    out[3] = counts[_DIGITS] / chars
    out[4] = counts[_CAPITALS] / max(1, counts[_LETTERS])
    out[5] = counts[_SPACES] / chars
    out[6] = counts[_FOREIGN] / chars
    out[7] = counts[_DISTINCT] / max(1, counts[_TOKENS])
    out[8] = counts[_SHOUTED] / words
    out[9] = counts[_LONG_WORDS] / words
    out[10] = math.log1p(counts[_CHOICES])
    out[11] = math.log1p(counts[_STEM_WORDS])
    out[12] = math.log1p(counts[_SHORTEST])
    out[13] = math.log1p(counts[_MATHS])
    out[14] = math.log1p(counts[_CODE])
    out[15] = math.log1p(counts[_QUESTIONS])
    out[16] = 1.0 if counts[_LAST_MARK] == 0x3F else 0.0
    out[17] = 1.0 if counts[_LAST_MARK] == 0x3A else 0.0
    for group in range(10):
        out[18 + group] = math.log1p(counts[_WORD_GROUP + group])
    out[28] = math.log1p(max(0, extras[2] - 1))
    out[29] = math.log1p(extras[3])
    out[30] = math.log1p(extras[4])
    out[31] = math.log1p(extras[1] + extras[5])


@_entry
def featurise(
    text: Bytes,
    context: Bytes,
    extras: tuple[int, int, int, int, int, int],
    tokens: NDArray[np.int32],
    scalars: NDArray[np.float32],
) -> int:
    """Writes a prompt's buckets into `tokens` (at least 256) and its scalars into `scalars` (32); how many tokens.

    `text` and `context` are UTF-8 and already cut to their windows; `extras` as in `reference.scalars`.
    """
    counts = np.zeros(COUNTS, dtype=np.int64)
    kept = np.empty(MOST_TOKENS, dtype=np.int32)
    found = _walk(text, counts, kept, _HEAD, _TAIL)
    _scalars(counts, extras, scalars)
    length = min(found, MOST_TOKENS)
    filled = 0
    room = min(CONTEXT_TOKENS, CONTEXT_ROOM - length)
    if room > 0 and len(context) > 0:
        earlier = np.empty(CONTEXT_TOKENS, dtype=np.int32)
        behind = _walk(context, np.zeros(COUNTS, dtype=np.int64), earlier, _ZERO, room)
        filled = min(room, behind)
        start = behind % room if behind > room else 0
        for index in range(filled):
            tokens[index] = earlier[(start + index) % room]
    turn = (found - HEAD_TOKENS) % TAIL_TOKENS if found > MOST_TOKENS else 0
    for index in range(length):
        past = index - HEAD_TOKENS
        tokens[filled + index] = kept[index] if past < 0 else kept[HEAD_TOKENS + (past + turn) % TAIL_TOKENS]
    return filled + length


def warm() -> None:
    """Compiles the featuriser, or loads it from the cache; without a place to cache it is compiled each start."""
    entry: Any = featurise
    with contextlib.suppress(RuntimeError):  # no folder can be written: the code lives in this process alone
        entry.enable_caching()
    text = np.frombuffer(b"warm 1 ?", dtype=np.uint8)
    featurise(
        text, text, (8, 8, 1, 0, 0, 0), np.empty(MOST_TOKENS, dtype=np.int32), np.empty(len(SCALARS), dtype=np.float32)
    )
