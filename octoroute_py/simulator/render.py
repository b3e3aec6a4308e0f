"""What every operation's answers are made of: events with their share of tokens, and the seam between them."""

import secrets
from collections.abc import Iterator
from typing import NamedTuple, Protocol

import msgspec

from octoroute_py.simulator.bodies import JsonObject

DONE = b"data: [DONE]\n\n"


class Event(NamedTuple):
    """A server-sent event and how many tokens of the answer it brings; the server waits for those first."""

    data: bytes
    tokens: int = 0


class Answer(Protocol):
    """An answer that can be sent whole or as events. Both say the same."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole answer."""
        ...

    def body(self) -> bytes:
        """The buffered JSON body."""
        ...

    def events(self) -> Iterator[Event]:
        """The stream, with its last event."""
        ...


def sse(value: JsonObject, tokens: int = 0, *, event: str | None = None) -> Event:
    """An event whose data is `value`; the Responses API also names its events."""
    name = b"" if event is None else b"event: %b\n" % event.encode()
    return Event(b"%bdata: %b\n\n" % (name, msgspec.json.encode(value)), tokens)


def new_id(prefix: str) -> str:
    """A fresh id such as `chatcmpl-…`."""
    return f"{prefix}{secrets.token_hex(12)}"


def usage_of(prompt: int, completion: int) -> JsonObject:
    """The `usage` of chat and text completions."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
