"""What a feature vector of schema 1 consists of: names, sizes, and the characters that count.

Changing anything here, in `lexicon` or in how either walks the text makes another schema: artifacts trained on the old
one are then refused, because they would silently read other numbers.
"""

import enum
from typing import Final

SCHEMA_VERSION: Final = 1

HEAD_TOKENS: Final = 160
TAIL_TOKENS: Final = 96
MOST_TOKENS: Final = HEAD_TOKENS + TAIL_TOKENS
CONTEXT_TOKENS: Final = 48
"""At most so many tokens of earlier turns are put before those of the last user turn."""
CONTEXT_ROOM: Final = 64
"""Earlier turns are read only as far as the last user turn has fewer tokens than this: a short one leans on them."""

HEAD_CHARS: Final = 4096
TAIL_CHARS: Final = 2048
CONTEXT_CHARS: Final = 512
"""Code points looked at: the ends of a long text hold the question, and the time this takes stays bounded."""


class Kind(enum.IntEnum):
    """What a character is. Everything from U+2000 that is no space stands alone: symbols, ideographs, emoji."""

    SPACE = 0
    LETTER = 1
    DIGIT = 2
    MARK = 3


class Count(enum.IntEnum):
    """What is counted while the text is walked; WORD_GROUP is the first of ten, one for each group of words."""

    CHARS = 0
    LETTERS = 1
    CAPITALS = 2
    DIGITS = 3
    SPACES = 4
    MARKS = 5
    FOREIGN = 6
    WORDS = 7
    TOKENS = 8
    CHOICES = 9
    MATHS = 10
    CODE = 11
    QUESTIONS = 12
    SHOUTED = 13
    LONG_WORDS = 14
    STEM_WORDS = 15
    SHORTEST_CHOICE = 16
    CHOICE_BEGAN = 17
    DISTINCT = 18
    FRESH_LINE = 19
    LAST_MARK = 20
    WORD_GROUP = 21


COUNTS: Final = Count.WORD_GROUP + 10
LONG_WORD: Final = 12
"""A word with so many letters is a long one."""

MATHS_MARKS: Final = "+*/=<>^%±×÷\\$"
"""With those of LaTeX."""
CODE_MARKS: Final = "{}();[]_#`"

SCALARS: Final = (
    "log_chars", "log_tokens", "word_length", "digit_share", "capital_share", "space_share", "foreign_share",
    "distinct_share", "shouted_share", "long_word_share", "log_choices", "log_stem_words", "log_shortest_choice",
    "log_maths", "log_code", "log_questions", "ends_asking", "ends_with_colon", "asks_what", "asks_number",
    "asks_reasons", "negates", "supposes", "speaks_code", "asks_text", "chats", "speaks_of_self", "speaks_exam",
    "log_turns", "log_tools", "log_images", "log_around_chars",
)  # fmt: skip
"""The names of the 32 scalars, in their order. A choice is a line that begins with a letter A to J and one of `.):`,
the stem what stands before the first; around a prompt stand the system prompt and earlier turns."""
