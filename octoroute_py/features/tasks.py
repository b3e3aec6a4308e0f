"""What kind of work a prompt asks for, told from a few English words.

The words and their order are those of octoroute 1.0.0 (contract §4), but each one must stand alone: "Delhi is" holds no
"hi" and "they say" no "hey". A neighbour that is alphanumeric in any script, or an underscore, makes it another word.
"""

import re
from typing import Final

from octoroute_py.core.words import TaskType

LOOKED_AT: Final = 16_384
"""So many characters of the last user message are looked at, by this module and by rule patterns."""

_END_CHARS: Final = 2_048
"""How much of either end of a long text tells what is asked."""

FENCE: Final = "```"


# A word's left neighbour is checked after the word: so the regex engine can search for the literal, which takes
# microseconds where a leading look-behind takes half a millisecond on 16,384 characters.
_WORDS: Final = tuple(
    (word, re.compile(rf"{word}(?<!\w{word})(?!\w)"), task_type)
    for task_type, words in (
        (TaskType.CODE, ("code", "function", "implement", "programming", "debug")),
        (TaskType.DEEP_ANALYSIS, ("analyze", "analysis", "compare", "evaluate")),
        (TaskType.CREATIVE_WRITING, ("write a story", "creative", "poem", "fiction")),
        (TaskType.DOCUMENT_SUMMARY, ("summarize", "summary", "tldr")),
        (TaskType.CASUAL_CHAT, ("hello", "hi", "hey")),
    )
    for word in words
)
_HOW_ARE: Final = re.compile(r"\s*how are(?!\w)")

_CLASS: Final = re.compile(r"class \w{1,64}+(?:\([\w., ]{0,64}+\))?\s?[:{]")
# A character that prose seldom has, the words beside it, and what they must look like: looking for one character first
# costs a twentieth of looking for words.
_CODE: Final[tuple[tuple[str, tuple[tuple[str, re.Pattern[str] | None], ...]], ...]] = (
    ("`", ((FENCE, None),)),
    (";", (("();", None),)),
    ("<", (("#include <", None), ("</", re.compile(r"</\w{1,32}+>")))),
    (
        "(",
        (
            ("Traceback (most recent call last)", None),
            ("def ", re.compile(r"def \w{1,64}+\(")),
            ("function ", re.compile(r"function \w{1,64}+\(")),
        ),
    ),
    (":", (("class ", _CLASS),)),
    ("{", (("class ", _CLASS),)),
)


def infer_task_type(text: str) -> TaskType:
    """What the text asks for; the first group with a word in it wins, `question_answer` when there is none.

    Of a long text its beginning and its end are searched: that is where people say what they want, and a long middle
    is what they want it done to.
    """
    text = text[:LOOKED_AT]
    if len(text) > 2 * _END_CHARS:
        text = f"{text[:_END_CHARS]}\n{text[-_END_CHARS:]}"
    text = text.lower()
    if FENCE[0] in text and FENCE in text:
        return TaskType.CODE
    for word, alone, task_type in _WORDS:
        # Most words are nowhere in the text, and `in` finds that out ten times faster than the expression.
        if word in text and alone.search(text) is not None:
            return task_type
    return TaskType.CASUAL_CHAT if _HOW_ARE.match(text) is not None else TaskType.QUESTION_ANSWER


def shows_code(text: str) -> bool:
    """Whether the text contains code itself (a fence, a definition, a traceback), not just words about it."""
    text = text[:LOOKED_AT]
    for rare, forms in _CODE:
        if rare in text:
            for words, shape in forms:
                if words in text and (shape is None or shape.search(text) is not None):
                    return True
    return False
