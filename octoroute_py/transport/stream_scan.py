"""Watches one answer stream as it passes: where it commits, what it used, whether it is whole, when it goes wrong.

The relay feeds what it reads and sends on what it gets back. Nothing comes back before the first valid data event, so
whatever is sent can never be the start of an answer that has to be given up for another endpoint.
"""

import msgspec

from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Surface
from octoroute_py.transport.faults import Fault, fault_from_error_event, malformed
from octoroute_py.transport.heard import Heard
from octoroute_py.transport.said import Said, text_within
from octoroute_py.transport.sse import MAX_EVENT_BYTES, Block, SseSplitter
from octoroute_py.transport.usage import ChatUsage, ResponsesUsage, read_usage

_ABSENT = msgspec.Raw(b"")
_NOTHING = (b"", b"null", b"{}", b'""', b"false")


class _Choice(msgspec.Struct, gc=False):
    delta: Said | None = None
    text: str | None = None
    finish_reason: str | None = None
    index: int = 0


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: ChatUsage | None = None
    error: msgspec.Raw = _ABSENT
    object: str | None = None


class _Response(msgspec.Struct, gc=False):
    usage: ResponsesUsage | None = None


class _ResponseEvent(msgspec.Struct, gc=False):
    type: str | None = None
    delta: str | None = None
    response: _Response | None = None
    error: msgspec.Raw = _ABSENT


_decode_chunk = msgspec.json.Decoder(_Chunk).decode
_decode_response_event = msgspec.json.Decoder(_ResponseEvent).decode
_TERMINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})
_SOUND = frozenset({"response.audio.delta", "response.output_audio.delta"})
_CHARS_PER_TOKEN = 4
_BROKEN = (msgspec.MsgspecError, RecursionError, ValueError)


class StreamScan:
    """State of one stream.

    `started`: a valid data event was seen (the commit point; a withheld usage event counts). `done`: `[DONE]` or a
    terminal responses event was seen, nothing after it is passed on. `complete`: done, or every one of `choices`
    has its finish_reason. `usage`: the last one told, `usage_is_last` if no text came after it. `events`: data events
    so far. `heard`: keeps what is said, where that is wanted. `fault`: why the stream is given up; `feed` returns
    b"" from then on.
    """

    __slots__ = (
        "_chars",
        "_finished",
        "_partial",
        "_responses",
        "_splitter",
        "_texts",
        "_told_at",
        "_waiting",
        "_withhold",
        "choices",
        "complete",
        "done",
        "events",
        "fault",
        "heard",
        "started",
        "usage",
    )

    def __init__(self, surface: Surface, *, choices: int = 1, withhold_usage: bool) -> None:
        self.choices = choices
        self.started = False
        self.done = False
        self.complete = False
        self.usage: Usage | None = None
        self.events = 0
        self.fault: Fault | None = None
        self.heard: Heard | None = None
        self._texts = 0
        self._chars = 0
        self._told_at = 0
        self._responses = surface is Surface.RESPONSES
        self._withhold = withhold_usage
        self._finished: set[int] = set()
        self._waiting = bytearray()
        self._splitter = SseSplitter()
        self._partial = self._splitter.held

    @property
    def held(self) -> int:
        """Bytes taken in and not yet given out: a partial event, and comments before the commit point."""
        return len(self._partial) + len(self._waiting)

    @property
    def delivered_tokens(self) -> int:
        """The running count of the answer's tokens: events that carried text, or a quarter of its characters."""
        return max(self._texts, self._chars // _CHARS_PER_TOKEN)

    @property
    def usage_is_last(self) -> bool:
        """Whether the usage told covers all text that came."""
        return self._told_at == self._texts

    def feed(self, data: bytes) -> bytes:
        """The raw bytes of the whole events to send on now; b"" when there are none."""
        if self.done or self.fault is not None:
            return b""
        if (
            self.started
            and not self._partial
            and data.startswith(b"data: {")
            and data.endswith(b"}\n\n")
            and b"\r" not in data
            and len(data) <= MAX_EVENT_BYTES
        ):
            if data.find(b"\n") == len(data) - 2:
                return data if self._passes(data[6:-2], None) else b""
            payloads = data[6:-2].split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * len(payloads):
                return self._feed_lines(data, payloads)
        return self._feed_blocks(self._splitter.feed(data))

    def end(self) -> bytes:
        """The upstream's bytes are over: what of them was held back only because more might have followed."""
        if self.done or self.fault is not None:
            return b""
        return self._feed_blocks(self._splitter.end())

    def _feed_blocks(self, blocks: list[Block]) -> bytes:
        out = [block.raw for block in blocks if self._takes(block)]
        if self._splitter.too_large and self.fault is None and not self.done:
            self.fault = malformed("An event of the stream is too large.")
        if not self.started:
            return self._wait(out)
        if self._waiting:
            out.insert(0, bytes(self._waiting))
            self._waiting.clear()
        return b"".join(out)

    def _feed_lines(self, data: bytes, payloads: list[bytes]) -> bytes:
        """The usual read of several events, each one `data: ` line and nothing else."""
        out: list[bytes] = []
        for payload in payloads:
            if self._passes(payload, None):
                out.append(b"data: %b\n\n" % payload)
            if self.done or self.fault is not None:
                break
        return data if len(out) == len(payloads) else b"".join(out)

    def _takes(self, block: Block) -> bool:
        """Whether the block is sent on."""
        if self.done or self.fault is not None:
            return False
        return block.data is None or self._passes(block.data, block.event)

    def _wait(self, out: list[bytes]) -> bytes:
        """Keep comments until there is an answer they belong to."""
        for raw in out:
            self._waiting += raw
        if len(self._waiting) > MAX_EVENT_BYTES and self.fault is None:
            self.fault = malformed("The stream holds nothing but comments.")
        if self.fault is not None:
            self._waiting.clear()
        return b""

    def _passes(self, payload: bytes, event: bytes | None) -> bool:
        """Take one data event into account; whether it is sent on."""
        if event == b"error":
            self.fault = fault_from_error_event(payload)
            return False
        if payload[:1] != b"{" and payload.strip() == b"[DONE]":
            self.events += 1
            self.started = self.done = self.complete = True
            return True
        try:
            if not payload.isascii():
                payload.decode()
            return self._takes_response_event(payload) if self._responses else self._takes_chunk(payload)
        except msgspec.ValidationError:
            return self._takes_odd(payload)
        except _BROKEN:
            self.fault = malformed("An event of the stream is not valid JSON.")
            return False

    def _takes_chunk(self, payload: bytes) -> bool:
        chunk = _decode_chunk(payload)
        if (chunk.error is not _ABSENT and bytes(chunk.error) not in _NOTHING) or chunk.object == "error":
            self.fault = fault_from_error_event(payload)
            return False
        self.events += 1
        self.started = True
        if chunk.choices:
            for choice in chunk.choices:
                delta = choice.delta
                text = choice.text if delta is None else delta.content
                if text:
                    self._texts += 1
                    self._chars += len(text)
                    if self.heard is not None:
                        self.heard.add(text)
                elif delta is not None:
                    self._count(delta.beside())
                if choice.finish_reason:
                    self._finish(choice.index)
        if chunk.usage is not None:
            self._tell(chunk.usage.counted())
            if self._withhold and chunk.choices is not None and not chunk.choices:
                self._withhold = False
                return False
        return True

    def _tell(self, usage: Usage) -> None:
        self.usage = usage
        self._told_at = self._texts

    def _count(self, text: str) -> None:
        """One event's text."""
        if text:
            self._texts += 1
            self._chars += len(text)
            if self.heard is not None:
                self.heard.add(text)

    def _takes_response_event(self, payload: bytes) -> bool:
        event = _decode_response_event(payload)
        if event.type == "error" or (event.type is None and bytes(event.error) not in _NOTHING):
            self.fault = fault_from_error_event(payload)
            return False
        self.events += 1
        self.started = True
        if event.delta and event.type not in _SOUND:
            self._count(event.delta)
        if event.response is not None and event.response.usage is not None:
            self._tell(event.response.usage.counted())
        if event.type in _TERMINAL:
            self.done = self.complete = True
        return True

    def _takes_odd(self, payload: bytes) -> bool:
        """An event whose fields have types we do not expect: read what can be read, pass it on all the same."""
        try:
            value = msgspec.json.decode(payload, type=dict[str, object])
        except _BROKEN:
            self.fault = malformed("An event of the stream is no JSON object.")
            return False
        kind = value.get("type") if self._responses else value.get("object")
        if kind == "error" or (value.get("error") and not (self._responses and kind)):
            self.fault = fault_from_error_event(payload)
            return False
        self.events += 1
        self.started = True
        return self._takes_odd_response(value) if self._responses else self._takes_odd_chunk(value)

    def _takes_odd_chunk(self, value: dict[str, object]) -> bool:
        choices = value.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                delta = choice.get("delta")
                self._count(text_within(choice.get("text") if delta is None else delta))
                if choice.get("finish_reason"):
                    index = choice.get("index")
                    self._finish(index if isinstance(index, int) else 0)
        usage = read_usage(value.get("usage"))
        if usage is not None:
            self._tell(usage)
            if self._withhold and choices == []:
                self._withhold = False
                return False
        return True

    def _takes_odd_response(self, value: dict[str, object]) -> bool:
        if value.get("type") not in _SOUND:
            self._count(text_within(value.get("delta")))
        response = value.get("response")
        usage = read_usage(response.get("usage")) if isinstance(response, dict) else None
        if usage is not None:
            self._tell(usage)
        if value.get("type") in _TERMINAL:
            self.done = self.complete = True
        return True

    def _finish(self, index: int) -> None:
        if self.choices == 1:
            self.complete = True
        elif 0 <= index < self.choices:
            self._finished.add(index)
            self.complete = len(self._finished) == self.choices
