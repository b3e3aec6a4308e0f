"""A prompt as numbers: token buckets and scalars, made by the compiled featuriser.

    vectoriser = Vectoriser()
    vector = vectoriser.read(Prompt("Why is the sky blue?"))

Importing this module imports numpy and numba: it belongs to the scorer and to training, never to the rule strategy.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.features import kernels
from octoroute_py.features.layout import CONTEXT_CHARS, HEAD_CHARS, MOST_TOKENS, SCALARS, TAIL_CHARS
from octoroute_py.features.layout import SCHEMA_VERSION as SCHEMA_VERSION

_MOST_CHARS: Final = HEAD_CHARS + TAIL_CHARS
_NOTHING: Final = np.frombuffer(b"", dtype=np.uint8)


class Prompt(msgspec.Struct, frozen=True):
    """What the scorer is told of a request.

    `text` is the last user turn, `context` what was said before it (its end counts), `turns` the number of user turns,
    `tools` and `images` how many are given, `system_chars` the length of the system prompt in code points. `tag` is the
    operator's name for where the request comes from.
    """

    text: str
    context: str = ""
    turns: int = 1
    tools: int = 0
    images: int = 0
    system_chars: int = 0
    tag: str | None = None


class Vector(NamedTuple):
    """One prompt: token buckets (n ≤ 256,) int32 and scalars (32,) float32."""

    tokens: NDArray[np.int32]
    scalars: NDArray[np.float32]


class Matrix(NamedTuple):
    """Many prompts: buckets of all, one after another, `offsets` (N + 1,) int64 where each begins, scalars (N, 32)."""

    tokens: NDArray[np.int32]
    offsets: NDArray[np.int64]
    scalars: NDArray[np.float32]


class Vectoriser:
    """Reads prompts into numbers; a vector's arrays are reused by the next `read`, so one thread at a time."""

    __slots__ = ("_scalars", "_tokens")

    def __init__(self) -> None:
        self._tokens = np.empty(MOST_TOKENS, dtype=np.int32)
        self._scalars = np.empty(len(SCALARS), dtype=np.float32)

    def warm(self) -> None:
        """Compile the featuriser or load it from the cache; takes seconds the first time."""
        kernels.warm()

    def read(self, prompt: Prompt) -> Vector:
        """The prompt's numbers; views that hold until the next call."""
        text, context = prompt.text, prompt.context
        extras = (len(text), len(context), prompt.turns, prompt.tools, prompt.images, prompt.system_chars)
        if len(text) > _MOST_CHARS:
            text = f"{text[:HEAD_CHARS]}\n{text[-TAIL_CHARS:]}"
        earlier = _bytes(context[-CONTEXT_CHARS:]) if context else _NOTHING
        found = kernels.featurise(_bytes(text), earlier, extras, self._tokens, self._scalars)
        return Vector(self._tokens[:found], self._scalars)

    def read_all(self, prompts: Sequence[Prompt]) -> Matrix:
        """The numbers of many prompts, in arrays of their own."""
        scalars = np.empty((len(prompts), len(SCALARS)), dtype=np.float32)
        offsets = np.zeros(len(prompts) + 1, dtype=np.int64)
        parts: list[NDArray[np.int32]] = []
        for index, prompt in enumerate(prompts):
            vector = self.read(prompt)
            parts.append(vector.tokens.copy())
            scalars[index] = vector.scalars
            offsets[index + 1] = offsets[index] + len(vector.tokens)
        return Matrix(np.concatenate(parts) if parts else np.empty(0, dtype=np.int32), offsets, scalars)


def _bytes(text: str) -> NDArray[np.uint8]:
    # Half a surrogate pair cannot be UTF-8; a question mark takes its place.
    return np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)
