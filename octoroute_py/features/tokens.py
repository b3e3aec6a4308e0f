"""How long a prompt is, without a tokenizer."""

from typing import Final

CODE_POINTS_PER_TOKEN: Final = 4


def estimate_tokens(text: str) -> int:
    """A rough token count of a text: its code points divided by four, rounded down."""
    return len(text) // CODE_POINTS_PER_TOKEN
