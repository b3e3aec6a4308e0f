"""`POST /v1/completions` and `/v1/embeddings`: the older text operation, and texts as vectors."""

import base64
import itertools
import struct
from collections.abc import Iterator

import msgspec

from octoroute_py.core.errors import BadRequest
from octoroute_py.simulator.bodies import CompletionBody, EmbeddingsBody, JsonObject, texts_of
from octoroute_py.simulator.chat import stops
from octoroute_py.simulator.model import SimulatedModel, tokens_in
from octoroute_py.simulator.render import DONE, Event, new_id, sse, usage_of
from octoroute_py.simulator.reply import Ask, Reply, compose, embed, logprob, pieces

_MAX_TEXTS = 2_048
_MAX_ANSWERS = 256


class CompletionAnswer:
    """The answer to one completion request; `created` is in seconds since the epoch."""

    def __init__(self, model: SimulatedModel, body: CompletionBody, *, created: int) -> None:
        prompts = texts_of(body.prompt)
        if not prompts or len(prompts) * (body.n or 1) > _MAX_ANSWERS:
            raise BadRequest(f"Between 1 and {_MAX_ANSWERS} answers can be asked for at once.", param="prompt")
        asks = [
            Ask(question=text, prompt=text, max_tokens=body.max_tokens, stop=stops(body.stop), seed=body.seed)
            for text in prompts
        ]
        self._replies = [
            (ask.prompt if body.echo else "", compose(model, ask, index=index))
            for ask in asks
            for index in range(body.n or 1)
        ]
        self._top = body.logprobs
        self._with_usage = body.stream_options is not None and body.stream_options.include_usage is True
        self._usage = usage_of(sum(ask.prompt_tokens for ask in asks), self.tokens)
        self._frame: JsonObject = {
            "id": new_id("cmpl-"),
            "object": "text_completion",
            "created": created,
            "model": model.name,
        }

    @property
    def tokens(self) -> int:
        """Tokens of all choices."""
        return sum(reply.tokens for _, reply in self._replies)

    def body(self) -> bytes:
        """The `text_completion` object."""
        choices = [
            self._choice(index, echoed + reply.text, reply.finish_reason)
            for index, (echoed, reply) in enumerate(self._replies)
        ]
        return msgspec.json.encode({**self._frame, "choices": choices, "usage": self._usage})

    def events(self) -> Iterator[Event]:
        """The text of each choice piece by piece, the usage if it was asked for, `[DONE]`."""
        for index, (echoed, reply) in enumerate(self._replies):
            yield from self._one(index, echoed, reply)
        if self._with_usage:
            yield sse({**self._frame, "choices": [], "usage": self._usage})
        yield Event(DONE)

    def _one(self, index: int, echoed: str, reply: Reply) -> Iterator[Event]:
        usage: JsonObject = {"usage": None} if self._with_usage else {}
        if echoed:
            yield sse({**self._frame, **usage, "choices": [self._choice(index, echoed, None)]})
        for piece in pieces(reply.text):
            yield sse({**self._frame, **usage, "choices": [self._choice(index, piece, None)]}, tokens_in(piece))
        yield sse({**self._frame, **usage, "choices": [self._choice(index, "", reply.finish_reason)]})

    def _choice(self, index: int, text: str, finish_reason: str | None) -> JsonObject:
        return {"index": index, "text": text, "logprobs": self._logprobs(text), "finish_reason": finish_reason}

    def _logprobs(self, text: str) -> JsonObject | None:
        if self._top is None or not text:
            return None
        parts = list(pieces(text))
        return {
            "tokens": parts,
            "token_logprobs": [logprob(part) for part in parts],
            "top_logprobs": [{part: logprob(part)} for part in parts] if self._top else None,
            "text_offset": list(itertools.accumulate(map(len, parts[:-1]), initial=0)),
        }


class EmbeddingsAnswer:
    """Unit vectors for the texts, as numbers or base64 of little-endian floats; it is never streamed."""

    tokens = 0

    def __init__(self, model: SimulatedModel, body: EmbeddingsBody) -> None:
        self._texts = texts_of(body.input)
        if not self._texts or len(self._texts) > _MAX_TEXTS or not all(self._texts):
            raise BadRequest(f"Between 1 and {_MAX_TEXTS} texts that are not empty are needed.", param="input")
        if body.encoding_format not in ("float", "base64"):
            raise BadRequest("The encoding format is float or base64.", param="encoding_format")
        self._packed = body.encoding_format == "base64"
        self._dimensions = body.dimensions
        self._model = model.name

    def body(self) -> bytes:
        """The list of embeddings."""
        rows = [
            {"object": "embedding", "index": index, "embedding": self._coded(embed(text, self._dimensions))}
            for index, text in enumerate(self._texts)
        ]
        prompt = sum(map(tokens_in, self._texts))
        usage = {"prompt_tokens": prompt, "total_tokens": prompt}
        return msgspec.json.encode({"object": "list", "data": rows, "model": self._model, "usage": usage})

    def events(self) -> Iterator[Event]:
        """Nothing: embeddings have no stream."""
        return iter(())

    def _coded(self, vector: list[float]) -> list[float] | str:
        if not self._packed:
            return vector
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
