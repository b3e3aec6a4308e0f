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
    LINES = 7
    WORDS = 8
    NUMBERS = 9
    TOKENS = 10
    CHOICES = 11
    MATHS = 12
    LATEX = 13
    CODE = 14
    QUESTIONS = 15
    FRESH_LINE = 16
    LAST_MARK = 17
    WORD_GROUP = 18


COUNTS: Final = Count.WORD_GROUP + 10

MATHS_MARKS: Final = "+*/=<>^%±×÷"
LATEX_MARKS: Final = "\\$"
CODE_MARKS: Final = "{}();[]_#`"

SCALARS: Final = (
    "log_chars", "log_tokens", "word_length", "digit_share", "capital_share", "space_share", "mark_share",
    "foreign_share", "log_numbers", "log_lines", "log_choices", "words_per_line", "log_maths", "log_latex", "log_code",
    "log_context_chars", "log_questions", "ends_asking", "asks_what", "asks_number", "asks_reasons", "negates",
    "supposes", "speaks_code", "asks_creation", "chats", "asks_transformation", "speaks_exam", "log_turns",
    "log_tools", "log_images", "log_system_chars",
)  # fmt: skip
"""The names of the 32 scalars, in their order."""
