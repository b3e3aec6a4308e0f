"""The operations a simulated model offers, by path."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, TypeAlias

from octoroute_py.simulator.bodies import ChatBody, CompletionBody, EmbeddingsBody, ResponsesBody, decode
from octoroute_py.simulator.chat import ChatAnswer
from octoroute_py.simulator.completions import CompletionAnswer, EmbeddingsAnswer
from octoroute_py.simulator.model import SimulatedModel
from octoroute_py.simulator.render import Answer
from octoroute_py.simulator.responses import ResponsesAnswer


class Prepared(NamedTuple):
    """An answer ready to be sent, the model name the client asked for, and whether it wants a stream."""

    asked: str
    answer: Answer
    stream: bool


Operation: TypeAlias = Callable[[bytes, SimulatedModel, int], Prepared]
"""Turns a body into the model's answer, created at that second since the epoch. Raises BadRequest."""


def _chat(raw: bytes, model: SimulatedModel, created: int) -> Prepared:
    body = decode(raw, ChatBody)
    return Prepared(body.model, ChatAnswer(model, body, created=created), body.stream is True)


def _completion(raw: bytes, model: SimulatedModel, created: int) -> Prepared:
    body = decode(raw, CompletionBody)
    return Prepared(body.model, CompletionAnswer(model, body, created=created), body.stream is True)


def _embeddings(raw: bytes, model: SimulatedModel, created: int) -> Prepared:
    body = decode(raw, EmbeddingsBody)
    return Prepared(body.model, EmbeddingsAnswer(model, body), False)


def _responses(raw: bytes, model: SimulatedModel, created: int) -> Prepared:
    body = decode(raw, ResponsesBody)
    return Prepared(body.model, ResponsesAnswer(model, body, created=created), body.stream is True)


OPERATIONS: Mapping[str, Operation] = MappingProxyType(
    {
        "/v1/chat/completions": _chat,
        "/v1/completions": _completion,
        "/v1/embeddings": _embeddings,
        "/v1/responses": _responses,
    }
)
