"""What the scripted upstream does with one request: a row of steps, with ready-made rows for good and bad days.

A turn is anything that maps the recorded request to steps. The functions below return `Script`s, which are plain
data: they can be compared, printed and taken apart. Own turns may be lambdas or functions of the request.
"""

import asyncio
import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.fakes import bodies
from tests.fakes.script import Chunking as Chunking
from tests.fakes.script import End as End
from tests.fakes.script import Fin as Fin
from tests.fakes.script import Flood as Flood
from tests.fakes.script import Framing as Framing
from tests.fakes.script import Gate as Gate
from tests.fakes.script import Hang as Hang
from tests.fakes.script import Headers as Headers
from tests.fakes.script import Pause as Pause
from tests.fakes.script import Recorded as Recorded
from tests.fakes.script import Rst as Rst
from tests.fakes.script import Script as Script
from tests.fakes.script import Send as Send
from tests.fakes.script import Step as Step
from tests.fakes.script import Turn as Turn
from tests.fakes.script import cut_up as cut_up
from tests.fakes.script import event_stream as event_stream
from tests.fakes.script import every as every
from tests.fakes.script import framing_fields as framing_fields
from tests.fakes.script import head as head
from tests.fakes.script import http_chunk as http_chunk


class Point(enum.StrEnum):
    """Where `cut` and `reset` break the answer. Those on events and characters break a stream."""

    BEFORE_ANSWER = "before_answer"
    AFTER_HEADERS = "after_headers"
    MID_HEADERS = "mid_headers"
    MID_BODY = "mid_body"
    AFTER_EVENTS = "after_events"
    MID_EVENT = "mid_event"
    MID_CHARACTER = "mid_character"
    MID_CHUNK = "mid_chunk"


# -- good answers ------------------------------------------------------------------------------------------------


def status(
    code: int, body: bytes = b"", *, headers: Headers = (), content_type: str = "application/json", close: bool = False
) -> Script:
    """Any status with any body and its true length."""
    fields: list[tuple[str, str]] = [] if code == 204 else [("content-length", str(len(body)))]
    if body:
        fields.append(("content-type", content_type))
    if close:
        fields.append(("connection", "close"))
    sent = Send(head(code, [*fields, *headers]) + body)
    return Script((sent, Fin()) if close else (sent,))


def json_answer(
    text: str = "Hello from the fake upstream.",
    *,
    model: str = bodies.MODEL,
    usage: tuple[int, int] | None = (7, 5),
    finish_reason: str = "stop",
    extra: bodies.JsonObject | None = None,
    headers: Headers = (),
    delay_s: float = 0.0,
) -> Script:
    """A buffered chat completion, `delay_s` after the request."""
    body = bodies.chat_body(text, model=model, usage=usage, finish_reason=finish_reason, extra=extra)
    return Script((Pause(delay_s), *status(200, body, headers=headers).steps))


@dataclass(frozen=True, slots=True)
class StreamAnswer:
    """A streamed chat completion; its usage event depends on what the request asked for. See `stream_answer`."""

    parts: tuple[str | bytes | Step, ...]
    model: str
    usage: tuple[int, int] | None
    always_usage: bool
    finish_reason: str
    done: bool
    delay_s: float
    chunking: Chunking | None
    framing: Framing
    headers: Headers
    then: End | None

    def __call__(self, request: Recorded) -> tuple[Step, ...]:
        events: list[bytes | Step] = [bodies.chat_chunk(role="assistant", model=self.model)]
        events += [
            bodies.chat_chunk(text=part, model=self.model) if isinstance(part, str) else part for part in self.parts
        ]
        if self.then is None:
            events.append(bodies.chat_chunk(finish_reason=self.finish_reason, model=self.model))
            if self.usage is not None and (self.always_usage or wants_usage(request)):
                events.append(bodies.usage_chunk(*self.usage, model=self.model))
            if self.done:
                events.append(bodies.DONE)
        return event_stream(
            *events,
            framing=self.framing,
            chunking=self.chunking,
            delay_s=self.delay_s,
            headers=self.headers,
            then=self.then,
        ).steps


def stream_answer(
    *parts: str | bytes | Step,
    model: str = bodies.MODEL,
    usage: tuple[int, int] | None = (7, 5),
    always_usage: bool = False,
    finish_reason: str = "stop",
    done: bool = True,
    delay_s: float = 0.0,
    chunking: Chunking | None = None,
    framing: Framing = "chunked",
    headers: Headers = (),
    then: End | None = None,
) -> StreamAnswer:
    """A streamed chat completion: role, then `parts` (text, raw events or steps), finish, usage if asked, `[DONE]`.

    With `then`, what follows `parts` is left out and the connection ends that way.
    """
    return StreamAnswer(
        parts or ("Hello ", "from the ", "fake upstream."),
        model=model,
        usage=usage,
        always_usage=always_usage,
        finish_reason=finish_reason,
        done=done,
        delay_s=delay_s,
        chunking=chunking,
        framing=framing,
        headers=headers,
        then=then,
    )


def wants_usage(request: Recorded) -> bool:
    """Whether the request asked for the usage event."""
    return (request.json.get("stream_options") or {}).get("include_usage") is True


def good_answer(request: Recorded) -> Iterable[Step]:
    """A sound answer to whatever was asked: by path, streamed or not."""
    body: object = request.json if request.body else {}
    asked: bodies.JsonObject = body if isinstance(body, dict) else {}
    model, streamed = str(asked.get("model", bodies.MODEL)), asked.get("stream") is True
    text = "Hello from the fake upstream."
    if request.path.endswith("/embeddings"):
        return status(200, bodies.embeddings_body([[0.6, 0.8]], model=model)).steps
    if request.path.endswith("/responses"):
        if streamed:
            return event_stream(*bodies.response_events(text, model=model)).steps
        return status(200, bodies.dump(bodies.response_object(text, model=model))).steps
    if request.path.endswith("/chat/completions"):
        return (stream_answer(model=model) if streamed else json_answer(model=model))(request)
    if request.path.endswith("/completions"):
        whole = bodies.completion_body(text, model=model)
        return (event_stream(b"data: " + whole + b"\n\n", bodies.DONE) if streamed else status(200, whole)).steps
    return status(404, bodies.error_body("No such path.", error_type="invalid_request_error")).steps


# -- bad days ----------------------------------------------------------------------------------------------------


def cut(point: Point | str = Point.BEFORE_ANSWER, *, after: int = 1, framing: Framing = "chunked") -> Turn:
    """End the connection (FIN) at `point`, after that many content events where it breaks a stream."""
    return _broken(Point(point), Fin(), after=after, framing=framing)


def reset(point: Point | str = Point.BEFORE_ANSWER, *, after: int = 1, framing: Framing = "chunked") -> Turn:
    """Reset the connection (RST) at `point`, after that many content events where it breaks a stream."""
    return _broken(Point(point), Rst(), after=after, framing=framing)


def _broken(point: Point, end: End, *, after: int, framing: Framing) -> Turn:
    whole = head(200, [("content-type", "application/json"), ("content-length", "4096")])
    texts = [f"part {number} " for number in range(after)]
    event = bodies.chat_chunk(text="日本語")
    match point:
        case Point.BEFORE_ANSWER:
            return Script((end,))
        case Point.MID_HEADERS:
            return Script((Send(whole[:-10]), Pause(), end))
        case Point.AFTER_HEADERS:
            return event_stream(framing=framing, then=end)
        case Point.MID_BODY:
            return Script((Send(whole + bodies.chat_body("half of")[:64]), Pause(), end))
        case Point.AFTER_EVENTS:
            return stream_answer(*texts, framing=framing, then=end)
        case Point.MID_EVENT:
            return stream_answer(*texts, event[: len(event) // 2], framing=framing, then=end)
        case Point.MID_CHARACTER:
            return stream_answer(*texts, event[: event.index("本".encode()) + 1], framing=framing, then=end)
        case Point.MID_CHUNK:
            return stream_answer(*texts, Send(b"%x\r\n%b" % (len(event), event[:20])), framing="chunked", then=end)


def hang() -> Script:
    """Read the request and never answer."""
    return Script((Hang(),))


def stall_after(events: int) -> StreamAnswer:
    """Send the role and that many content events, then nothing more."""
    return stream_answer(*(f"part {number} " for number in range(events)), Pause(), then=Hang())


def hold(turn: Turn, event: asyncio.Event) -> Turn:
    """Begin the turn only when the test sets the event."""
    return lambda request: (Gate(event), *turn(request))


def drip(*, piece_bytes: int = 1, pause_s: float = 0.005, turn: Turn | None = None) -> Turn:
    """A sound answer (or `turn`), head included, a few bytes at a time."""

    def dripping(request: Recorded) -> Iterator[Step]:
        for step in (turn or good_answer)(request):
            if isinstance(step, Send):
                for piece in every(piece_bytes)(step.data):
                    yield from (Send(piece), Pause(pause_s))
            else:
                yield step

    return dripping


def flood(
    total_bytes: int, *, piece: bytes | None = None, content_type: str = "text/event-stream", framing: Framing = "close"
) -> Script:
    """A body of that many bytes, made as it is sent: by default valid events, as fast as the reader reads."""
    unit = bodies.chat_chunk(text="x" * 16_000) if piece is None else piece
    if framing == "chunked":
        unit = http_chunk(unit)
    fields = [("content-type", content_type), *framing_fields(framing, total_bytes)]
    end = (Send(b"0\r\n\r\n"),) if framing == "chunked" else (Fin(),)
    return Script((Send(head(200, fields)), Flood(unit, total_bytes), *end))


def raw(*pieces: bytes, pause_s: float = 0.0, then: End | None = None) -> Script:
    """Exactly these bytes, head included, with pauses between them."""
    steps: list[Step] = []
    for piece in pieces:
        steps += [Send(piece), Pause(pause_s)]
    return Script((*steps, then) if then is not None else tuple(steps))


def bad_json() -> Script:
    """A 200 that calls itself JSON and is not."""
    return status(200, b'{"id": "chatcmpl-fake", "choices": [')


def html_200() -> Script:
    """A 200 with a web page, as a proxy in the way would answer."""
    return status(200, b"<html><body>Sign in to continue</body></html>", content_type="text/html")


def empty_200() -> Script:
    """A 200 without a body."""
    return status(200)


def empty_stream() -> Script:
    """A 200 event stream that ends properly without one event."""
    return event_stream()


_STREAM_ERRORS = {
    "openai": bodies.sse({"error": {"message": "The server had an error.", "type": "server_error", "code": None}}),
    "vllm": bodies.sse({"error": {"object": "error", "message": "engine dead", "type": "InternalError", "code": 500}}),
    "anthropic": bodies.sse(
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, event="error"
    ),
}
Dialect: TypeAlias = Literal["openai", "vllm", "anthropic"]


def error_event_first(dialect: Dialect = "openai") -> Script:
    """A 200 stream whose first event is an error."""
    return event_stream(_STREAM_ERRORS[dialect])


def error_event_after(events: int, dialect: Dialect = "openai") -> StreamAnswer:
    """A 200 stream with that many content events, then an error event and the proper end of the body."""
    parts = [f"part {number} " for number in range(events)]
    return stream_answer(*parts, _STREAM_ERRORS[dialect], Send(b"0\r\n\r\n"), then=Fin())


def bad_event_after(events: int, data: bytes = b"data: {bad\n\n") -> StreamAnswer:
    """A stream with that many content events, then an event that does not parse."""
    return stream_answer(*(f"part {number} " for number in range(events)), data)


def redirect(url: str, code: int = 307) -> Script:
    """A redirect to `url`."""
    return status(code, headers=[("location", url)])


def rate_limited(retry_after: float | str | None = None, *, headers: Headers = ()) -> Script:
    """A 429; `retry_after` in seconds or as an HTTP date. Other forms go in `headers`."""
    told = [] if retry_after is None else [("retry-after", str(retry_after))]
    body = bodies.error_body("Slow down.", error_type="requests", code="rate_limit_exceeded")
    return status(429, body, headers=[*told, *headers])


def quota_exhausted() -> Script:
    """A 429 that means money, not speed; it has no Retry-After."""
    body = bodies.error_body("You exceeded your quota.", error_type="insufficient_quota", code="insufficient_quota")
    return status(429, body)


def unauthorized(message: str = "Incorrect API key provided.", code: int = 401) -> Script:
    """The upstream does not like our key."""
    return status(code, bodies.error_body(message, error_type="invalid_request_error", code="invalid_api_key"))


_TOO_LONG = {
    "openai": bodies.error_body(
        "This model's maximum context length is 8192 tokens, your messages have 9000.",
        error_type="invalid_request_error",
        code="context_length_exceeded",
        param="messages",
    ),
    "vllm": bodies.dump(
        {
            "object": "error",
            "message": "This model's maximum context length is 8192 tokens. You requested 9000 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        }
    ),
    "llama_cpp": bodies.dump(
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9000,
                "n_ctx": 8192,
            }
        }
    ),
    "ollama": bodies.dump({"error": "the input length exceeds the context length"}),
}


def context_too_long(dialect: Literal["openai", "vllm", "llama_cpp", "ollama"] = "openai") -> Script:
    """A 400 because the prompt does not fit, in the words of four servers."""
    return status(400, _TOO_LONG[dialect])
