"""Asks endpoints for their models, to learn whether they answer and accept the credential."""

import asyncio
from collections.abc import Callable, Iterable
from urllib.parse import urlsplit

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.transport.base import ConnectFailed, TimedOut, Transport, TransportError, UpstreamRequest

_CONNECT_S = 3.0
_WHOLE_S = 10.0
_MOST_BYTES = 4 * 1024 * 1024
_AT_ONCE = 16
_MOST_NAMED = 5
_LONGEST_NAME = 200


class ProbeResult(msgspec.Struct, frozen=True):
    """What one endpoint said, in a few words that carry nothing of its own text but names of models."""

    endpoint_id: str
    ok: bool
    said: str


async def probe_all(
    endpoints: Iterable[EndpointConfig], *, make_transport: Callable[[EndpointConfig], Transport]
) -> list[ProbeResult]:
    """One result an endpoint, in the given order."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def in_turn(endpoint: EndpointConfig) -> ProbeResult:
        async with turns:
            return await _probe_one(endpoint, make_transport(endpoint))

    return await asyncio.gather(*(in_turn(endpoint) for endpoint in endpoints))


async def _probe_one(endpoint: EndpointConfig, transport: Transport) -> ProbeResult:
    deadline = asyncio.get_running_loop().time() + _WHOLE_S
    request = UpstreamRequest("GET", "/models", headers=((b"accept", b"application/json"),))
    try:
        answer = await transport.send(request, deadline=deadline, connect_s=_CONNECT_S)
        try:
            body = await answer.read(deadline=deadline, max_bytes=_MOST_BYTES)
        finally:
            answer.close()
    except TransportError as error:
        return ProbeResult(endpoint.id, ok=False, said=_failure(error))
    finally:
        await transport.aclose()
    ok, said = _verdict(answer.status, body, endpoint)
    return ProbeResult(endpoint.id, ok=ok, said=said)


def _failure(error: TransportError) -> str:
    if isinstance(error, ConnectFailed):
        return "cannot connect"
    if isinstance(error, TimedOut):
        return f"connected, but gave no whole answer within {_WHOLE_S:g} s"
    return "connected, but its answer is no clean HTTP"


def _verdict(status: int, body: bytes, endpoint: EndpointConfig) -> tuple[bool, str]:
    if status in (401, 403):
        return False, f"status {status}: it does not accept the credential"
    if status in (404, 405):
        return True, f"status {status}: answers, but lists no models at /models; {_advice(endpoint.base_url)}"
    if not 200 <= status < 300:
        return False, f"status {status}"
    models = model_ids(body)
    if models is None:
        return True, "ok, though its list of models is not readable"
    if endpoint.model not in models and f"{endpoint.model}:latest" not in models:  # Ollama takes either name
        return False, f"answers, but it does not list the model {endpoint.model}; {_there(models)}"
    return True, "ok"


def _advice(base_url: str) -> str:
    if urlsplit(base_url).path:
        return "is base_url right?"
    return f'is it base_url = "{base_url}/v1"?'


def _there(models: list[str]) -> str:
    """The first few models of a list; names that would disturb a terminal are only counted."""
    shown = [name for name in models if name.isprintable() and 0 < len(name) <= _LONGEST_NAME][:_MOST_NAMED]
    if not shown:
        return f"it lists {len(models)}"
    more = len(models) - len(shown)
    return f"it has {', '.join(shown)}" + (f" and {more} more" if more else "")


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def model_ids(body: bytes) -> list[str] | None:
    """The ids in an OpenAI list of models, None when it is none."""
    try:
        return [model.id for model in msgspec.json.decode(body, type=_Models).data]
    except (msgspec.DecodeError, RecursionError):
        return None
