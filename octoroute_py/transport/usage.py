"""Token counts as chat, completions, embeddings and responses spell them, read from bytes that may hold anything."""

from typing import Annotated, TypeAlias

import msgspec

from octoroute_py.core.usage import Usage

MAX_TOKENS_COUNTED = 10**12
"""A count above this is noise, not usage; it is read as 0 so that no ledger adds it up."""

Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS_COUNTED)]


class Details(msgspec.Struct, gc=False):
    """The part of the prompt that came from the provider's cache."""

    cached_tokens: Count | None = None


class ChatUsage(msgspec.Struct, gc=False):
    """`usage` of chat, completions and embeddings."""

    prompt_tokens: Count | None = None
    completion_tokens: Count | None = None
    prompt_tokens_details: Details | None = None

    def counted(self) -> Usage:
        """The same as one of our values."""
        details = self.prompt_tokens_details
        return Usage(
            prompt=self.prompt_tokens or 0,
            completion=self.completion_tokens or 0,
            cached=(details.cached_tokens or 0) if details is not None else 0,
        )


class ResponsesUsage(msgspec.Struct, gc=False):
    """`usage` of a responses object."""

    input_tokens: Count | None = None
    output_tokens: Count | None = None
    input_tokens_details: Details | None = None

    def counted(self) -> Usage:
        """The same as one of our values."""
        details = self.input_tokens_details
        return Usage(
            prompt=self.input_tokens or 0,
            completion=self.output_tokens or 0,
            cached=(details.cached_tokens or 0) if details is not None else 0,
        )


def read_usage(value: object) -> Usage | None:
    """Usage from an already parsed `usage` value of either spelling, counts of a wrong type as 0; None if no object."""
    if not isinstance(value, dict):
        return None
    details = value.get("prompt_tokens_details") or value.get("input_tokens_details")
    return Usage(
        prompt=_count(value.get("prompt_tokens", value.get("input_tokens"))),
        completion=_count(value.get("completion_tokens", value.get("output_tokens"))),
        cached=_count(details.get("cached_tokens")) if isinstance(details, dict) else 0,
    )


def _count(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_TOKENS_COUNTED:
        return 0
    return value
