"""Tokens as the upstream counted them."""

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Token counts of one answer; `cached` is the part of `prompt` that the provider read from its cache."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
