"""POST /chat: octoroute 1.0.0's own buffered chat, through the same pipeline as everything else."""

import msgspec

from octoroute_py.core.errors import BadRequest, GatewayError, UpstreamFailed
from octoroute_py.core.words import Importance, TaskType
from octoroute_py.gateway.attempt import Sent
from octoroute_py.gateway.context import RequestContext

MAX_MESSAGE_CHARS = 100_000
"""Longest message, as in octoroute 1.0.0."""


class _Given(msgspec.Struct, gc=False):
    """The fields that are read; of others, however many, nothing is built."""

    message: msgspec.Raw = msgspec.Raw(b"null")
    importance: msgspec.Raw = msgspec.Raw(b"null")
    task_type: msgspec.Raw = msgspec.Raw(b"null")


_decode = msgspec.json.Decoder(_Given).decode
_decode_text = msgspec.json.Decoder(str).decode


class Native:
    """{message, importance?, task_type?} in, {content, model_tier, model_name, routing_strategy, warnings?} out."""

    def request(self, ctx: RequestContext, body: bytes) -> bytes:
        """The chat completion that a native request stands for."""
        return openai_body(body)

    def answer(self, ctx: RequestContext, sent: Sent) -> bytes:
        """The text of the answer, and who gave it. Raises UpstreamFailed when there is no text in it."""
        text = sent.whole.text() if sent.whole is not None else None
        if text is None or ctx.decision is None:
            raise UpstreamFailed("The model's answer holds no text.", code="upstream_error")
        answer: dict[str, object] = {
            "content": text,
            "model_tier": ctx.decision.tier,
            "model_name": sent.endpoint.name,
            "routing_strategy": ctx.decision.strategy,
        }
        if ctx.warnings:
            answer["warnings"] = ctx.warnings
        return msgspec.json.encode(answer)

    def error(self, ctx: RequestContext, error: GatewayError) -> bytes:
        """OpenAI's envelope, as octoroute 1.0.0 has it here too."""
        return error.body()


def openai_body(body: bytes) -> bytes:
    """The chat completion that a native request stands for. Raises BadRequest; unknown fields are ignored."""
    try:
        given = _decode(body)
    except msgspec.ValidationError as error:
        raise BadRequest("The request body must be a JSON object.") from error
    except (msgspec.DecodeError, RecursionError, ValueError) as error:
        raise BadRequest("The request body is not valid JSON.") from error
    message = _text(given.message)
    if message is None or not message.strip():
        raise BadRequest("'message' must be a text that is not blank.", param="message")
    if len(message) > MAX_MESSAGE_CHARS:
        raise BadRequest(f"'message' is longer than {MAX_MESSAGE_CHARS} characters.", param="message")
    hints: dict[str, str] = {}
    for name, raw, words in (
        ("importance", given.importance, Importance),
        ("task_type", given.task_type, TaskType),
    ):
        if bytes(raw) == b"null":
            continue
        word = _text(raw)
        if word is None or word not in tuple(words):
            raise BadRequest(f"'{name}' must be one of {', '.join(words)}.", param=name)
        hints[name] = word
    return msgspec.json.encode(
        {"model": "auto", "messages": [{"role": "user", "content": message}], "octoroute": hints}
    )


def _text(raw: msgspec.Raw) -> str | None:
    """The value if it is a text."""
    try:
        return _decode_text(raw)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return None
