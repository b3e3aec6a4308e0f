"""What one answer says, kept as it passes: only where content is captured."""

from octoroute_py.transport.answers import BufferedFacts

MOST_CHARS = 16 * 1024
"""Of a longer stream no more is kept."""


class Heard:
    """The text of an answer; `whole` is one that came in one piece, and is read later."""

    __slots__ = ("_chars", "_texts", "cut", "whole")

    def __init__(self) -> None:
        self.whole: BufferedFacts | None = None
        self.cut = False
        self._texts: list[str] = []
        self._chars = 0

    def add(self, text: str) -> None:
        """The stream went on with this text."""
        room = MOST_CHARS - self._chars
        if len(text) > room:
            self.cut = True
            text = text[:room]
        if text:
            self._texts.append(text)
            self._chars += len(text)

    def text(self) -> str:
        """All that was said, as far as it was kept; choices of a whole answer stand below each other."""
        if self.whole is not None:
            return "\n".join(self.whole.texts())
        return "".join(self._texts)
