"""`POST /v1/responses`: the same answers as items, whole or as named events."""

from collections.abc import Iterator

import msgspec

from octoroute_py.core.errors import BadRequest
from octoroute_py.simulator.bodies import InputItem, JsonObject, ResponsesBody
from octoroute_py.simulator.chat import chosen_tool
from octoroute_py.simulator.model import SimulatedModel, tokens_in
from octoroute_py.simulator.render import Event, new_id, sse
from octoroute_py.simulator.reply import Ask, Reply, ToolCall, ToolSpec, compose, pieces


class ResponsesAnswer:
    """The answer to one Responses request; `created` is in seconds since the epoch."""

    def __init__(self, model: SimulatedModel, body: ResponsesBody, *, created: int) -> None:
        ask = _ask(body)
        self._reply = compose(model, ask)
        self._items = list(_items(self._reply))
        self._sequence = 0
        self._usage: JsonObject = {
            "input_tokens": ask.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": self.tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": ask.prompt_tokens + self.tokens,
        }
        self._frame: JsonObject = {
            "id": new_id("resp_"),
            "object": "response",
            "created_at": created,
            "model": model.name,
            "parallel_tool_calls": body.parallel_tool_calls is not False,
            "tool_choice": body.tool_choice or "auto",
            "tools": [
                {"type": "function", "name": tool.name, "parameters": tool.parameters, "strict": False}
                for tool in body.tools or []
                if tool.name
            ],
            "instructions": body.instructions,
            "error": None,
            "metadata": {},
        }

    @property
    def tokens(self) -> int:
        """Tokens of the answer."""
        return self._reply.tokens

    def body(self) -> bytes:
        """The `response` object."""
        return msgspec.json.encode(self._finished())

    def events(self) -> Iterator[Event]:
        """created, in_progress, the items piece by piece, and completed or incomplete; there is no `[DONE]`."""
        begun: JsonObject = {**self._frame, "status": "in_progress", "output": [], "usage": None}
        yield self._event("response.created", {"response": begun})
        yield self._event("response.in_progress", {"response": begun})
        for index, item in enumerate(self._items):
            place: JsonObject = {"output_index": index}
            empty: JsonObject = {"arguments": ""} if self._reply.calls else {"content": []}
            yield self._event("response.output_item.added", place | {"item": item | empty | {"status": "in_progress"}})
            place["item_id"] = item["id"]
            yield from self._call(place, self._reply.calls[index]) if self._reply.calls else self._text(place)
            yield self._event("response.output_item.done", {"output_index": index, "item": item})
        finished = self._finished()
        yield self._event(f"response.{finished['status']}", {"response": finished})

    def _finished(self) -> JsonObject:
        cut = self._reply.finish_reason == "length"
        return {
            **self._frame,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "output": self._items,
            "usage": self._usage,
        }

    def _text(self, place: JsonObject) -> Iterator[Event]:
        place |= {"content_index": 0}
        part: JsonObject = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
        yield self._event("response.content_part.added", place | {"part": part})
        for piece in pieces(self._reply.text):
            delta = place | {"delta": piece, "logprobs": []}
            yield self._event("response.output_text.delta", delta, tokens_in(piece))
        yield self._event("response.output_text.done", place | {"text": self._reply.text, "logprobs": []})
        yield self._event("response.content_part.done", place | {"part": part | {"text": self._reply.text}})

    def _call(self, place: JsonObject, call: ToolCall) -> Iterator[Event]:
        for piece in pieces(call.arguments):
            yield self._event("response.function_call_arguments.delta", place | {"delta": piece}, tokens_in(piece))
        told: JsonObject = {"name": call.name, "arguments": call.arguments}
        yield self._event("response.function_call_arguments.done", place | told)

    def _event(self, kind: str, fields: JsonObject, tokens: int = 0) -> Event:
        number, self._sequence = self._sequence, self._sequence + 1
        return sse({"type": kind, "sequence_number": number, **fields}, tokens, event=kind)


def _items(reply: Reply) -> Iterator[JsonObject]:
    for call in reply.calls:
        yield {
            "id": new_id("fc_"),
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.arguments,
        }
    if not reply.calls:
        part: JsonObject = {"type": "output_text", "text": reply.text, "annotations": [], "logprobs": []}
        status = "incomplete" if reply.finish_reason == "length" else "completed"
        yield {"id": new_id("msg_"), "type": "message", "role": "assistant", "status": status, "content": [part]}


def _ask(body: ResponsesBody) -> Ask:
    items = [InputItem(role="user", content=body.input)] if isinstance(body.input, str) else body.input
    if not items:
        raise BadRequest("The input is empty.", param="input")
    form = body.text.format if body.text else None
    if form is not None and form.type == "json_schema" and not form.schema:
        raise BadRequest("A json_schema format needs a schema.", param="text.format.schema")
    texts = [body.instructions or "", *map(InputItem.text, items)]
    last = items[-1]
    return Ask(
        question=next((item.text() for item in reversed(items) if item.role == "user"), ""),
        prompt="\n".join(text for text in texts if text),
        tool_result=last.text() if last.type == "function_call_output" else None,
        tools=tuple(ToolSpec(tool.name, tool.parameters or {}) for tool in body.tools or [] if tool.name),
        choice=chosen_tool(body.tool_choice),
        parallel=body.parallel_tool_calls is not False,
        form=form.type if form else "text",
        schema=form.schema if form else None,
        max_tokens=body.max_output_tokens,
    )
