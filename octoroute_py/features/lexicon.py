"""The words of schema 1 that say what kind of work is asked for, and how every token is hashed.

Kernel and reference read the same tables, so that they can only differ in how they walk the text.
"""

from typing import Final

BUCKETS: Final = 1 << 14
"""Tokens are hashed into so many buckets."""

FNV_OFFSET: Final = 0x811C9DC5
FNV_PRIME: Final = 0x01000193
SLOTS: Final = 512
"""Size of the open-addressed table in which the kernel looks words up; a power of two, mostly empty."""

WORD_CLASSES: Final[tuple[tuple[str, ...], ...]] = tuple(
    tuple(words.split())
    for words in (
        "what which who whom whose when where why how",
        "calculate compute find determine solve estimate many much total sum average value probability",
        "prove explain derive analyze analyse compare describe discuss justify evaluate argue",
        "not except never neither nor false incorrect least cannot without",
        "if suppose assume given let then unless",
        "def function class return import code python java javascript sql print int string assert array",
        "write story poem imagine creative essay draft compose fiction letter "
        "summarize summarise summary translate rewrite rephrase extract classify list tldr",
        "hello hi hey thanks thank please you your",
        "i my me mine we our us",
        "following statement statements true correct best answer option",
    )
)
"""Ten groups; the count of each group's words in a prompt is one scalar."""


def fnv1a(data: bytes) -> int:
    """The 32-bit FNV-1a hash of some bytes."""
    value = FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * FNV_PRIME) & 0xFFFFFFFF
    return value


def bucket_of(value: int) -> int:
    """The bucket of a 32-bit hash: its bits folded onto 14."""
    return (value ^ (value >> 14)) & (BUCKETS - 1)


def word_slots() -> tuple[list[int], list[int]]:
    """The lookup table of the grouped words: the full hash in each slot (0: free), and its group's number."""
    hashes, groups = [0] * SLOTS, [0] * SLOTS
    for group, words in enumerate(WORD_CLASSES):
        for word in words:
            value = fnv1a(word.encode())
            slot = value & (SLOTS - 1)
            while hashes[slot]:
                slot = (slot + 1) & (SLOTS - 1)
            hashes[slot], groups[slot] = value, group
    return hashes, groups
