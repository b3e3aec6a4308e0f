"""Asks a port of this machine whether a model server listens there, and which models it has."""

import asyncio

import httpx
import msgspec

_MOST_BYTES = 1024 * 1024
_MOST_MODELS = 200
_LONGEST_NAME = 200


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


async def list_models(port: int, *, timeout_s: float = 1.0) -> tuple[str, ...] | None:
    """The models of the OpenAI-compatible server at 127.0.0.1:`port`, None when there is none.

    Waits at most `timeout_s` for the whole answer. Names that are not one printable line are left out.
    """
    url = f"http://127.0.0.1:{port}/v1/models"
    try:
        async with (
            asyncio.timeout(timeout_s),
            # a proxy named in the environment has no business with loopback
            httpx.AsyncClient(trust_env=False, timeout=timeout_s, follow_redirects=False) as client,
            client.stream("GET", url, headers={"accept": "application/json"}) as answer,
        ):
            body = await _body(answer)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):
        return None
    if answer.status_code != httpx.codes.OK or body is None:
        return None
    try:
        models = msgspec.json.decode(body, type=_Models).data
    except (msgspec.DecodeError, RecursionError):
        return None
    names = (model.id.strip() for model in models)
    usable = (name for name in names if name.isprintable() and 0 < len(name) <= _LONGEST_NAME)
    return tuple(dict.fromkeys(usable))[:_MOST_MODELS]


async def _body(answer: httpx.Response) -> bytes | None:
    body = bytearray()
    async for chunk in answer.aiter_bytes():
        body += chunk
        if len(body) > _MOST_BYTES:
            return None
    return bytes(body)
