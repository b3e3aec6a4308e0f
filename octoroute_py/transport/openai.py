"""The OpenAI operations as bytes: read a client's body once, fit it to an endpoint, judge the answer.

Everything the client spelled goes upstream as it was spelled; `patch` lists the few exceptions.
"""

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import Surface
from octoroute_py.transport.answers import BufferedFacts, is_json_type, read_answer
from octoroute_py.transport.envelope import Envelope, parse_body, raw_is_null

__all__ = [
    "BufferedFacts",
    "Envelope",
    "Patched",
    "honoured_limit",
    "is_json_type",
    "parse_body",
    "patch",
    "read_answer",
    "upstream_path",
]

_PATHS = {
    Surface.CHAT: "/chat/completions",
    Surface.COMPLETIONS: "/completions",
    Surface.EMBEDDINGS: "/embeddings",
    Surface.RESPONSES: "/responses",
}
_HONOURED = {
    Surface.CHAT: ("max_completion_tokens", "max_tokens"),
    Surface.COMPLETIONS: ("max_tokens",),
    Surface.EMBEDDINGS: (),
    Surface.RESPONSES: ("max_output_tokens",),
}
_OVERRIDE = "n_predict"
"""What llama.cpp takes before any other token limit, below zero for none at all."""
_decode_options = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Patched(msgspec.Struct, frozen=True, gc=False):
    """A body ready for one endpoint.

    `withhold_usage`: the stream's usage event was asked for by us and is not for the client. `warning` is ASCII, for
    `X-Octoroute-Warning`.
    """

    body: bytes
    withhold_usage: bool = False
    warning: str | None = None


def upstream_path(surface: Surface) -> str:
    """The path below an endpoint's base URL."""
    return _PATHS[surface]


def patch(envelope: Envelope, *, endpoint: EndpointConfig, surface: Surface, at_most: int | None = None) -> Patched:
    """The client's body for `endpoint`: its model, no routing hints, its token limit, its defaults (contract §3).

    Names keep their order, untouched values their spelling. A field given as null counts as given: nothing is added
    in its place. `at_most` is the token limit of a request that must have one, where neither the client nor the
    endpoint sets one; it then stands under the name that the endpoint knows, whoever set it.
    """
    fields: dict[str, object] = {**envelope.fields, "model": endpoint.model}
    fields.pop("octoroute", None)
    if surface is Surface.EMBEDDINGS:
        return Patched(_encode(fields))
    warning = _lower_token_limits(fields, envelope, endpoint.max_tokens) if endpoint.max_tokens is not None else None
    _add_defaults(fields, endpoint, surface)
    if at_most is not None:
        warning = _cap(fields, envelope, endpoint, surface, at_most) or warning
    if _OVERRIDE in fields and (at_most is not None or endpoint.max_tokens is not None):
        del fields[_OVERRIDE]
        warning = f"{_OVERRIDE} left out, because it would override the token limit"
    withhold = (
        envelope.stream
        and endpoint.include_usage
        and not envelope.include_usage_asked
        and surface is not Surface.RESPONSES
    )
    if withhold:
        options = envelope.fields.get("stream_options")
        kept = _decode_options(options) if options is not None and not raw_is_null(options) else {}
        fields["stream_options"] = {**kept, "include_usage": True}
    return Patched(_encode(fields), withhold, warning)


def honoured_limit(envelope: Envelope, surface: Surface) -> int | None:
    """The client's own token limit, the largest under a name that the operation knows; others bind nobody."""
    return max((value for name, value in envelope.token_limits if name in _HONOURED[surface]), default=None)


def _cap(
    fields: dict[str, object], envelope: Envelope, endpoint: EndpointConfig, surface: Surface, at_most: int
) -> str | None:
    """Set the token limit, also in the place of one given as null; what to tell the client, if it is not usual.

    The client's own stays, but under the name that the endpoint knows: servers ignore the others.
    """
    name, asked = _limit_field(endpoint, surface), honoured_limit(envelope, surface)
    if asked is not None and any(name == given for given, _ in envelope.token_limits):
        return None
    for other in _HONOURED[surface]:
        fields.pop(other, None)
    if asked is not None:
        fields[name] = asked if endpoint.max_tokens is None else min(asked, endpoint.max_tokens)
        return f"the token limit was sent as {name}, because a budget applies"
    fields[name] = at_most if endpoint.max_tokens is None else endpoint.max_tokens
    return f"{name} set to {at_most}, because a budget applies" if endpoint.max_tokens is None else None


def _lower_token_limits(fields: dict[str, object], envelope: Envelope, most: int) -> str | None:
    lowered = [(name, value) for name, value in envelope.token_limits if value > most]
    if not lowered:
        return None
    for name, _ in lowered:
        fields[name] = most
    return "; ".join(f"{name} lowered from {value} to {most}" for name, value in lowered)


def _add_defaults(fields: dict[str, object], endpoint: EndpointConfig, surface: Surface) -> None:
    if endpoint.temperature is not None and "temperature" not in fields:
        fields["temperature"] = endpoint.temperature
    if endpoint.max_tokens is None or any(
        name in fields for name in ("max_tokens", "max_completion_tokens", "max_output_tokens")
    ):
        return
    fields[_limit_field(endpoint, surface)] = endpoint.max_tokens


def _limit_field(endpoint: EndpointConfig, surface: Surface) -> str:
    """Under which name the operation takes a token limit."""
    if surface is Surface.RESPONSES:
        return "max_output_tokens"
    return "max_tokens" if surface is Surface.COMPLETIONS else endpoint.token_limit_field.value
