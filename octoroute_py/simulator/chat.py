"""`POST /v1/chat/completions`: from the request to the answer, whole or streamed."""

from collections.abc import Iterator

import msgspec

from octoroute_py.core.errors import BadRequest
from octoroute_py.simulator.bodies import ChatBody, JsonObject, Message
from octoroute_py.simulator.model import SimulatedModel, tokens_in
from octoroute_py.simulator.render import DONE, Event, new_id, sse, usage_of
from octoroute_py.simulator.reply import Ask, Reply, ToolCall, ToolSpec, compose, logprob, pieces


class ChatAnswer:
    """The answer to one chat request; `created` is in seconds since the epoch."""

    def __init__(self, model: SimulatedModel, body: ChatBody, *, created: int) -> None:
        ask = _ask(body)
        self._replies = [compose(model, ask, index=index) for index in range(body.n or 1)]
        self._top = (body.top_logprobs or 0) if body.logprobs else None
        self._with_usage = body.stream_options is not None and body.stream_options.include_usage is True
        self._usage = usage_of(ask.prompt_tokens, self.tokens)
        self._frame: JsonObject = {
            "id": new_id("chatcmpl-"),
            "created": created,
            "model": model.name,
            "system_fingerprint": "fp_simulated",
        }

    @property
    def tokens(self) -> int:
        """Tokens of all choices."""
        return sum(reply.tokens for reply in self._replies)

    def body(self) -> bytes:
        """The `chat.completion` object."""
        choices = [self._choice(index, reply) for index, reply in enumerate(self._replies)]
        return msgspec.json.encode(
            {**self._frame, "object": "chat.completion", "choices": choices, "usage": self._usage}
        )

    def events(self) -> Iterator[Event]:
        """Role, content and finish of each choice, the usage if it was asked for, `[DONE]`."""
        for index, reply in enumerate(self._replies):
            yield self._chunk(index, {"role": "assistant", "content": None if reply.calls else "", "refusal": None})
            for piece in pieces(reply.text):
                yield self._chunk(index, {"content": piece}, tokens=tokens_in(piece), piece=piece)
            for number, call in enumerate(reply.calls):
                yield from self._call_chunks(index, number, call)
            yield self._chunk(index, {}, finish_reason=reply.finish_reason)
        if self._with_usage:
            yield sse({**self._frame, "object": "chat.completion.chunk", "choices": [], "usage": self._usage})
        yield Event(DONE)

    def _choice(self, index: int, reply: Reply) -> JsonObject:
        message: JsonObject = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if reply.calls:
            message["tool_calls"] = [_call(call) for call in reply.calls]
        elif not reply.text:
            message["content"] = ""
        chosen: JsonObject = {"index": index, "message": message, "finish_reason": reply.finish_reason}
        return chosen | {"logprobs": self._logprobs(list(pieces(reply.text)))}

    def _chunk(
        self, index: int, delta: JsonObject, *, tokens: int = 0, finish_reason: str | None = None, piece: str = ""
    ) -> Event:
        choice: JsonObject = {"index": index, "delta": delta, "finish_reason": finish_reason}
        choice["logprobs"] = self._logprobs([piece]) if piece else None
        chunk: JsonObject = {**self._frame, "object": "chat.completion.chunk", "choices": [choice]}
        return sse(chunk | ({"usage": None} if self._with_usage else {}), tokens)

    def _call_chunks(self, index: int, number: int, call: ToolCall) -> Iterator[Event]:
        begun = _call(call) | {"index": number, "function": {"name": call.name, "arguments": ""}}
        yield self._chunk(index, {"tool_calls": [begun]}, tokens=tokens_in(call.name))
        for piece in pieces(call.arguments):
            delta: JsonObject = {"tool_calls": [{"index": number, "function": {"arguments": piece}}]}
            yield self._chunk(index, delta, tokens=tokens_in(piece))

    def _logprobs(self, texts: list[str]) -> JsonObject | None:
        if self._top is None:
            return None
        return {"content": [_logprob(text, self._top) for text in texts], "refusal": None}


def _ask(body: ChatBody) -> Ask:
    last = body.messages[-1]
    form = body.response_format
    if form is not None and form.type not in ("text", "json_object", "json_schema"):
        raise BadRequest("The response format is not known.", param="response_format.type")
    if form is not None and form.type == "json_schema" and (form.json_schema is None or not form.json_schema.schema):
        raise BadRequest("A json_schema format needs a schema.", param="response_format.json_schema")
    tools = [tool.function for tool in body.tools or [] if tool.function is not None]
    return Ask(
        question=next((message.text() for message in reversed(body.messages) if message.role == "user"), ""),
        prompt="\n".join(map(Message.text, body.messages)),
        tool_result=last.text() if last.role == "tool" else None,
        tools=tuple(ToolSpec(tool.name, tool.parameters or {}) for tool in tools),
        choice=chosen_tool(body.tool_choice),
        parallel=body.parallel_tool_calls is not False,
        form=form.type if form else "text",
        schema=form.json_schema.schema if form and form.json_schema else None,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        stop=stops(body.stop),
        seed=body.seed,
    )


def stops(stop: str | list[str] | None) -> tuple[str, ...]:
    """Stop sequences, however they were spelled."""
    return (stop,) if isinstance(stop, str) else tuple(stop or ())


def chosen_tool(choice: str | JsonObject | None) -> str:
    """auto, none, required, or the name of the function that must be called."""
    if choice is None or isinstance(choice, str):
        return choice or "auto"
    function = choice.get("function", choice)
    name = function.get("name") if isinstance(function, dict) else None
    return name if isinstance(name, str) else "auto"


def _call(call: ToolCall) -> JsonObject:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}


def _logprob(text: str, top: int) -> JsonObject:
    one: JsonObject = {"token": text, "logprob": logprob(text), "bytes": list(text.encode())}
    others: list[JsonObject] = [
        {"token": f"~{rank}", "logprob": logprob(text) - rank, "bytes": list(f"~{rank}".encode())}
        for rank in range(1, top)
    ]
    return one | {"top_logprobs": [one, *others][:top]}
