"""The featuriser as plain Python: what the kernel must compute, written to be read.

A text is cut into tokens: words (letters, folded to lower case), numbers (only their shape, `3,141.59` is `0,000.00`),
and marks (everything else that is no space; a run of the same mark is one token). Folding is exactly this: A-Z, and by
fixed distance the capitals of Latin-1 (U+00C0-U+00DE without U+00D7), Greek (U+0391-U+03A9) and Cyrillic
(U+0400-U+042F). Other letters stay as they are.
"""

import math
from collections.abc import Sequence

from octoroute_py.features.layout import (
    CODE_MARKS,
    CONTEXT_ROOM,
    CONTEXT_TOKENS,
    COUNTS,
    HEAD_TOKENS,
    LONG_WORD,
    MATHS_MARKS,
    MOST_TOKENS,
    TAIL_TOKENS,
    Count,
    Kind,
)
from octoroute_py.features.lexicon import WORD_CLASSES, bucket_of, fnv1a

_GROUPS = {fnv1a(word.encode()): group for group, words in enumerate(WORD_CLASSES) for word in words}
_SHAPE_CHARS = 8


def kind(char: str) -> Kind:
    """What one character is."""
    code = ord(char)
    if code <= 0x20 or 0x7F <= code <= 0xA0 or 0x2000 <= code <= 0x200F or code in (0x2028, 0x2029, 0x3000, 0xFEFF):
        return Kind.SPACE
    if char in "0123456789":
        return Kind.DIGIT
    if "a" <= char <= "z" or "A" <= char <= "Z" or (0xC0 <= code < 0x2000 and code not in (0xD7, 0xF7)):
        return Kind.LETTER
    return Kind.MARK


def fold(char: str) -> str:
    """The lower-case form of a letter, by the fixed distances above."""
    code = ord(char)
    if (
        "A" <= char <= "Z"
        or (0xC0 <= code <= 0xDE and code != 0xD7)
        or 0x391 <= code <= 0x3A9
        or 0x410 <= code <= 0x42F
    ):
        return chr(code + 0x20)
    return chr(code + 0x50) if 0x400 <= code <= 0x40F else char


def walk(text: str) -> tuple[list[int], list[int]]:
    """The bucket of every token of a text, and what was counted on the way."""
    counts = [0] * COUNTS
    counts[Count.FRESH_LINE] = 1
    buckets: list[int] = []
    at = 0
    while at < len(text):
        what = kind(text[at])
        if what is Kind.SPACE:
            if text[at] == "\n":
                _end_choice(counts)
                counts[Count.FRESH_LINE] = 1
            counts[Count.SPACES] += 1
            at += 1
            continue
        counts[Count.LAST_MARK] = 0
        step = {Kind.LETTER: _word, Kind.DIGIT: _number, Kind.MARK: _mark}[what]
        at, value = step(text, at, counts)
        counts[Count.TOKENS] += 1
        counts[Count.FRESH_LINE] = 0
        buckets.append(bucket_of(value))
    _end_choice(counts)
    counts[Count.CHARS] = len(text)
    counts[Count.DISTINCT] = len(set(buckets))
    if not counts[Count.CHOICES]:
        counts[Count.STEM_WORDS] = counts[Count.WORDS]
    counts[Count.FOREIGN] = sum(char > "\x7f" for char in text)
    return buckets, counts


def tokens(text: str, context: str) -> tuple[list[int], list[int]]:
    """The buckets that enter the network, those of earlier turns first, and the counts of the text alone."""
    buckets, counts = walk(text)
    kept = buckets if len(buckets) <= MOST_TOKENS else buckets[:HEAD_TOKENS] + buckets[-TAIL_TOKENS:]
    room = min(CONTEXT_TOKENS, CONTEXT_ROOM - len(kept))
    earlier = walk(context)[0][-room:] if room > 0 else []
    return earlier + kept, counts


def scalars(counts: Sequence[int], extras: Sequence[int]) -> list[float]:
    """The 32 scalars of a text; `extras` are its whole length, the context's, turns, tools, images, system length."""
    chars, found, letters = max(1, counts[Count.CHARS]), counts[Count.TOKENS], counts[Count.LETTERS]
    words = max(1, counts[Count.WORDS])
    length, context, turns, tools, images, system = extras
    return [
        math.log1p(length),
        math.log1p(found),
        letters / words,
        counts[Count.DIGITS] / chars,
        counts[Count.CAPITALS] / max(1, letters),
        counts[Count.SPACES] / chars,
        counts[Count.FOREIGN] / chars,
        counts[Count.DISTINCT] / max(1, found),
        counts[Count.SHOUTED] / words,
        counts[Count.LONG_WORDS] / words,
        math.log1p(counts[Count.CHOICES]),
        math.log1p(counts[Count.STEM_WORDS]),
        math.log1p(counts[Count.SHORTEST_CHOICE]),
        math.log1p(counts[Count.MATHS]),
        math.log1p(counts[Count.CODE]),
        math.log1p(counts[Count.QUESTIONS]),
        1.0 if counts[Count.LAST_MARK] == ord("?") else 0.0,
        1.0 if counts[Count.LAST_MARK] == ord(":") else 0.0,
        *(math.log1p(count) for count in counts[Count.WORD_GROUP :]),
        math.log1p(max(0, turns - 1)),
        math.log1p(tools),
        math.log1p(images),
        math.log1p(context + system),
    ]


def _so_far(counts: list[int]) -> int:
    """How many characters have been walked over."""
    return counts[Count.LETTERS] + counts[Count.DIGITS] + counts[Count.SPACES] + counts[Count.MARKS]


def _end_choice(counts: list[int]) -> None:
    """At the end of a line: how long the choice on it was, if it was one."""
    if counts[Count.CHOICE_BEGAN]:
        length = _so_far(counts) - counts[Count.CHOICE_BEGAN]
        shortest = counts[Count.SHORTEST_CHOICE]
        counts[Count.SHORTEST_CHOICE] = min(shortest, length) if shortest else length
        counts[Count.CHOICE_BEGAN] = 0


def _word(text: str, at: int, counts: list[int]) -> tuple[int, int]:
    end = at
    while end < len(text) and kind(text[end]) is Kind.LETTER:
        end += 1
    word = text[at:end]
    counts[Count.WORDS] += 1
    counts[Count.LETTERS] += len(word)
    capitals = sum(fold(char) != char for char in word)
    counts[Count.CAPITALS] += capitals
    counts[Count.SHOUTED] += capitals == len(word) > 1
    counts[Count.LONG_WORDS] += len(word) >= LONG_WORD
    if len(word) == 1 and "A" <= word <= "J" and counts[Count.FRESH_LINE] and text[end : end + 1] in (".", ")", ":"):
        _end_choice(counts)
        if not counts[Count.CHOICES]:
            counts[Count.STEM_WORDS] = counts[Count.WORDS] - 1
        counts[Count.CHOICES] += 1
        counts[Count.CHOICE_BEGAN] = _so_far(counts)
    value = fnv1a("".join(map(fold, word)).encode())
    group = _GROUPS.get(value)
    if group is not None:
        counts[Count.WORD_GROUP + group] += 1
    return end, value


def _number(text: str, at: int, counts: list[int]) -> tuple[int, int]:
    end = at
    shape = ""
    while end < len(text):
        if kind(text[end]) is Kind.DIGIT:
            shape += "0"
            counts[Count.DIGITS] += 1
        elif text[end] in ".," and end + 1 < len(text) and kind(text[end + 1]) is Kind.DIGIT:
            shape += text[end]
            counts[Count.MARKS] += 1
        else:
            break
        end += 1
    return end, fnv1a(shape[:_SHAPE_CHARS].encode())


def _mark(text: str, at: int, counts: list[int]) -> tuple[int, int]:
    mark = text[at]
    end = at
    while end < len(text) and text[end] == mark:
        end += 1
    times = end - at
    counts[Count.MARKS] += times
    counts[Count.MATHS] += times * (mark in MATHS_MARKS)
    counts[Count.CODE] += times * (mark in CODE_MARKS)
    counts[Count.QUESTIONS] += times * (mark == "?")
    counts[Count.LAST_MARK] = ord(mark)
    return end, fnv1a(mark.encode())
