"""OpenAI-shaped bodies and events for the scripted upstream, as bytes."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import msgspec

JsonObject: TypeAlias = dict[str, Any]
"""A decoded JSON object; its values are whatever the other side sent."""

MODEL = "fake-model"
CREATED = 1_700_000_000
DONE = b"data: [DONE]\n\n"


def dump(value: object) -> bytes:
    """Compact JSON, non-ASCII characters left as they are."""
    return msgspec.json.encode(value)


def sse(value: object, *, event: str | None = None) -> bytes:
    """One server-sent event whose data is `value` as JSON."""
    name = b"" if event is None else b"event: " + event.encode() + b"\n"
    return name + b"data: " + dump(value) + b"\n\n"


def usage_object(prompt: int, completion: int, *, cached: int = 0) -> JsonObject:
    """The `usage` of a chat or text completion."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def chat_body(
    text: str,
    *,
    model: str = MODEL,
    usage: tuple[int, int] | None = (7, 5),
    finish_reason: str = "stop",
    extra: JsonObject | None = None,
) -> bytes:
    """A buffered chat completion; `extra` adds or replaces top-level fields."""
    answer: JsonObject = {
        "id": "chatcmpl-fake",
        "object": "chat.completion",
        "created": CREATED,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "logprobs": None,
                "finish_reason": finish_reason,
            }
        ],
    }
    if usage is not None:
        answer["usage"] = usage_object(*usage)
    return dump(answer | (extra or {}))


def chat_chunk(
    *, text: str | None = None, role: str | None = None, finish_reason: str | None = None, model: str = MODEL
) -> bytes:
    """One `chat.completion.chunk` event."""
    delta: JsonObject = {}
    if role is not None:
        delta |= {"role": role, "content": ""}
    if text is not None:
        delta["content"] = text
    return sse(_chunk([{"index": 0, "delta": delta, "finish_reason": finish_reason}], model=model))


def usage_chunk(prompt: int, completion: int, *, model: str = MODEL) -> bytes:
    """The event after the last choice that carries only the usage."""
    return sse(_chunk([], model=model) | {"usage": usage_object(prompt, completion)})


def error_body(
    message: str = "The fake upstream says no.",
    *,
    error_type: str = "server_error",
    code: str | int | None = None,
    param: str | None = None,
) -> bytes:
    """OpenAI's error envelope."""
    return dump({"error": {"message": message, "type": error_type, "param": param, "code": code}})


def completion_body(text: str, *, model: str = MODEL, usage: tuple[int, int] = (7, 5)) -> bytes:
    """A buffered text completion."""
    return dump(
        {
            "id": "cmpl-fake",
            "object": "text_completion",
            "created": CREATED,
            "model": model,
            "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
            "usage": usage_object(*usage),
        }
    )


def embeddings_body(vectors: Sequence[Sequence[float]], *, model: str = MODEL, prompt: int = 7) -> bytes:
    """An embeddings answer."""
    rows = [{"object": "embedding", "index": index, "embedding": list(row)} for index, row in enumerate(vectors)]
    usage = {"prompt_tokens": prompt, "total_tokens": prompt}
    return dump({"object": "list", "model": model, "data": rows, "usage": usage})


def response_object(text: str, *, model: str = MODEL, status: str = "completed") -> JsonObject:
    """The object of the Responses API, with the fields clients read."""
    part = {"type": "output_text", "text": text, "annotations": []}
    item = {"id": "msg_fake", "type": "message", "role": "assistant", "status": status, "content": [part]}
    return {
        "id": "resp_fake",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "model": model,
        "output": [item],
        "usage": {"input_tokens": 7, "output_tokens": 5, "total_tokens": 12},
    }


def response_events(text: str, *, model: str = MODEL) -> list[bytes]:
    """A streamed response: created, one delta, completed."""
    begun = response_object("", model=model, status="in_progress") | {"output": [], "usage": None}
    delta = {"type": "response.output_text.delta", "item_id": "msg_fake", "output_index": 0, "content_index": 0}
    return [
        sse({"type": "response.created", "response": begun}, event="response.created"),
        sse(delta | {"delta": text}, event="response.output_text.delta"),
        sse(
            {"type": "response.completed", "response": response_object(text, model=model)},
            event="response.completed",
        ),
    ]


def models_body(names: Sequence[str]) -> bytes:
    """The list of `GET /v1/models`."""
    rows = [{"id": name, "object": "model", "created": CREATED, "owned_by": "fake"} for name in names]
    return dump({"object": "list", "data": rows})


def _chunk(choices: list[JsonObject], *, model: str) -> JsonObject:
    return {
        "id": "chatcmpl-fake",
        "object": "chat.completion.chunk",
        "created": CREATED,
        "model": model,
        "choices": choices,
    }
