"""Labelled prompts from JSONL files, plain or gzipped.

A row has `prompt` or `messages`, and what came of it: `tiers` {fast, balanced, deep} with 0 or 1 (or a share of
successes; any of them may be missing), or `weak_correct` and `strong_correct`. Optional: `id`, `tag`, `group` (rows of
one group never part ways), `source`, `subject`, `models` {name: 0 or 1}. Other fields are ignored.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from octoroute_py.features.vector import Prompt

MOST_LINE_BYTES: Final = 16 * 1024 * 1024
"""Longest line; a longer one is no labelled prompt."""


class DatasetError(Exception):
    """A file that cannot be used as labelled prompts; the message names the file and the line."""


class Labels(msgspec.Struct, frozen=True):
    """Whether each tier answers correctly, in [0, 1]; None where it is not known."""

    fast: float | None = None
    balanced: float | None = None
    deep: float | None = None


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One labelled prompt.

    `ladder` are the outcomes of three tiers, `pair` those of a weak and a strong model (as fast and deep); a row may
    have both, of different models.
    """

    id: str
    prompt: Prompt
    group: str
    source: str
    subject: str
    ladder: Labels | None
    pair: Labels | None
    models: dict[str, float]
    names: tuple[str, ...] = ()

    @property
    def labels(self) -> Labels:
        """What to learn: the ladder, the pair, or where a row has both the mean of what they say of a tier."""
        if self.ladder is None or self.pair is None:
            return self.ladder or self.pair or Labels()
        return Labels(
            fast=_mean(self.ladder.fast, self.pair.fast),
            balanced=self.ladder.balanced,
            deep=_mean(self.ladder.deep, self.pair.deep),
        )


class _Tiers(msgspec.Struct):
    fast: float | None = None
    balanced: float | None = None
    deep: float | None = None
    names: list[str] = []


class _Part(msgspec.Struct):
    type: str | None = None
    text: str | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[_Part] | None = None

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "\n".join(part.text for part in self.content or () if part.text is not None)

    def images(self) -> int:
        return 0 if isinstance(self.content, str) else sum(part.type == "image_url" for part in self.content or ())


class _Line(msgspec.Struct):
    id: str | int | None = None
    prompt: str | None = None
    messages: list[_Message] | None = None
    tools: list[msgspec.Raw] | None = None
    tag: str | None = None
    group: str | None = None
    source: str = "own"
    subject: str = ""
    tiers: _Tiers | None = None
    weak_correct: float | None = None
    strong_correct: float | None = None
    weak_model: str | None = None
    strong_model: str | None = None
    models: dict[str, float] | None = None


_DECODER: Final = msgspec.json.Decoder(_Line)


def read_rows(path: Path) -> list[Row]:
    """The labelled rows of a file, in its order.

    Raises DatasetError naming the first line that is wrong, and when the file cannot be read or holds no row.
    """
    rows = [_row(line, place=f"{path}:{number}", number=number) for number, line in _lines(path)]
    if not rows:
        raise DatasetError(f"{path}: holds no rows")
    return rows


def read_prompts(path: Path) -> Iterator[tuple[str | int, Prompt]]:
    """The id (as it was given, else `line-N`) and the prompt of every row, labelled or not, as they are read.

    Raises DatasetError naming the first line that is wrong, and when the file cannot be read.
    """
    for number, line in _lines(path):
        read = _decoded(line, place=f"{path}:{number}")
        yield (f"line-{number}" if read.id is None else read.id), _prompt(read)


def prompt_of(messages: Sequence[_Message], *, tools: int = 0, tag: str | None = None) -> Prompt:
    """A conversation as a prompt: its last user turn, what was said before, how long the system prompt is."""
    last = max((index for index, message in enumerate(messages) if message.role == "user"), default=-1)
    earlier = [message for message in messages[: max(last, 0)] if message.role not in ("system", "developer")]
    return Prompt(
        text=messages[last].text() if last >= 0 else "",
        context="\n".join(message.text() for message in earlier),
        turns=max(1, sum(message.role == "user" for message in messages)),
        tools=tools,
        images=sum(message.images() for message in messages),
        system_chars=sum(len(message.text()) for message in messages if message.role in ("system", "developer")),
        tag=tag,
    )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while line := file.readline(MOST_LINE_BYTES + 1):
                number += 1
                if len(line) > MOST_LINE_BYTES:
                    raise DatasetError(f"{path}:{number}: is longer than {MOST_LINE_BYTES // 1024**2} MiB")
                if line.strip():
                    yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DatasetError(f"{path}: is not a complete gzip file (after line {number})") from None
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or 'error'})") from None


def _decoded(line: bytes, *, place: str) -> _Line:
    try:
        read = _DECODER.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DatasetError(f"{place}: {error}") from None
    if (read.prompt is None) == (read.messages is None):
        raise DatasetError(f"{place}: needs either `prompt` or `messages`")
    return read


def _prompt(read: _Line) -> Prompt:
    tools = len(read.tools or ())
    if read.prompt is not None:
        return Prompt(read.prompt, tools=tools, tag=read.tag)
    return prompt_of(read.messages or (), tools=tools, tag=read.tag)


def _row(line: bytes, *, place: str, number: int) -> Row:
    read = _decoded(line, place=place)
    tiers = read.tiers
    ladder = Labels(tiers.fast, tiers.balanced, tiers.deep) if tiers is not None else Labels()
    pair = Labels(fast=read.weak_correct, deep=read.strong_correct)
    for value in (ladder.fast, ladder.balanced, ladder.deep, pair.fast, pair.deep):
        if value is not None and not 0.0 <= value <= 1.0:
            raise DatasetError(f"{place}: an outcome is a number from 0 to 1, not {value:g}")
    if pair == ladder == Labels():
        raise DatasetError(f"{place}: has no outcome: needs `tiers`, or `weak_correct` and `strong_correct`")
    names = tuple(tiers.names) if tiers is not None else ()
    if names and read.weak_model == names[0]:
        pair = Labels()  # the ladder's own two ends, told once more
    identity = f"line-{number}" if read.id is None else str(read.id)
    return Row(
        id=identity,
        prompt=_prompt(read),
        group=read.group or identity,
        source=read.source,
        subject=read.subject,
        ladder=ladder if ladder != Labels() else None,
        pair=pair if pair != Labels() else None,
        models=read.models or {},
        names=names or tuple(name for name in (read.weak_model, read.strong_model) if name),
    )


def _mean(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return (one + other) / 2
