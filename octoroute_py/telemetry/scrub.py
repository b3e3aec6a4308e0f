"""Keys stay out of the logs, whatever a message says."""

import re
from collections.abc import Iterable
from urllib.parse import quote

MASK = "***"

_MIN_SECRET_CHARS = 8
# A word that ends in `sk-` or `okr-`, such as `task-1`, is no key.
_LOOKALIKE = re.compile(
    r"(?i:\b(?:bearer|basic)\s+)[^\s,;\"']{4,}|(?<![A-Za-z0-9])(?:okr|sk)-[A-Za-z0-9_-]{8,}|(?<=://)[^\s/@]+(?=@)"
)


class Scrubber:
    """Replaces known secrets, and what looks like a key, by `***`.

    Secrets shorter than 8 characters are not looked for: masking `none` or `ollama` would hide more than a key.
    """

    __slots__ = ("_known",)

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known: re.Pattern[str] | None = None
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Look for these secrets from now on, in place of those before: after a reload."""
        spellings = {
            spelling
            for secret in secrets
            if len(secret) >= _MIN_SECRET_CHARS
            for spelling in (secret, quote(secret, safe=""))
        }
        # The longest first, or a key that starts with another one would leave its tail behind.
        ordered = sorted(spellings, key=lambda spelling: (-len(spelling), spelling))
        self._known = re.compile("|".join(map(re.escape, ordered))) if ordered else None

    def clean(self, text: str) -> str:
        """The text without secrets."""
        if self._known is not None:
            text = self._known.sub(MASK, text)
        return _LOOKALIKE.sub(MASK, text)
