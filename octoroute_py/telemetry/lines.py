"""What every log line shares: its time, and that it is one line a terminal can show safely."""

import re
import time

_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")


_MILLIS = tuple(f"{millis:03d}Z" for millis in range(1000))


class Stamp:
    """Turns Unix time into RFC 3339 UTC with milliseconds; the second's text is made once a second. For one thread."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def at(self, wall_s: float) -> str:
        """For example `2026-01-31T08:15:00.042Z`."""
        second = int(wall_s)
        if second != self._second:
            self._text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._second = second
        return self._text + _MILLIS[int((wall_s - second) * 1000)]


def escaped(text: str) -> str:
    r"""The text with every control, direction and unpaired surrogate character spelled as `\uXXXX`.

    That spelling is also JSON's, so it may be applied to an encoded JSON line.
    """
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_spell, text)


def _spell(match: re.Match[str]) -> str:
    return f"\\u{ord(match.group()):04x}"
