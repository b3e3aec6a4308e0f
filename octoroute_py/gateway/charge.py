"""What one attempt used and may be charged for, whichever way it ended (reliability §1.5, column "Bill").

    never sent; refused, by a status or an error event   nothing
    sent, and no answer came                             the prompt, if the provider bills what it accepts
    sent, and the client did not wait for an answer      the prompt
    answered 200, but no valid event or no whole body    the prompt
    a stream past its commit point, then broken or left  the prompt and what was delivered
    a whole answer                                       what the upstream counted

Where no upstream counted, both parts are estimates.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from octoroute_py.core.usage import Usage
from octoroute_py.features.estimate import text_quarters
from octoroute_py.features.tokens import CODE_POINTS_PER_TOKEN
from octoroute_py.transport.answers import BufferedFacts
from octoroute_py.transport.faults import Fault, FaultKind
from octoroute_py.transport.stream_scan import StreamScan

_FREE: Final = frozenset(
    {
        FaultKind.CONNECT,
        FaultKind.EXHAUSTED,
        FaultKind.RATE_LIMITED,
        FaultKind.QUOTA,
        FaultKind.AUTH,
        FaultKind.MODEL_MISSING,
        FaultKind.CONTEXT_LENGTH,
        FaultKind.REJECTED,
    }
)
"""What nobody charges for: the upstream never had the request, or would not have it."""

PromptTokens = Callable[[], int]
"""Estimates the prompt; asked only where no upstream counted it."""


class Charge(msgspec.Struct, frozen=True):
    """Tokens to pay for; `usage` None is nothing at all. `estimated`: not, or not all of it, counted by an upstream."""

    usage: Usage | None
    estimated: bool = False


NOTHING: Final = Charge(None)


def charge_answer(answer: BufferedFacts, prompt: PromptTokens) -> Charge:
    """A buffered answer that came whole."""
    if answer.usage is not None and _is_told(answer.usage):
        return Charge(answer.usage)
    texts = answer.texts()
    completion = max(len(texts), text_quarters(texts) // CODE_POINTS_PER_TOKEN)
    return Charge(Usage(prompt(), completion), estimated=True)


def charge_stream(scan: StreamScan, prompt: PromptTokens) -> Charge:
    """A stream past its commit point, as far as it came: the larger of what was counted on the way and what was told.

    Only a usage that came when every choice had finished, and after all text, is believed whatever the count says.
    """
    usage, delivered = scan.usage, scan.delivered_tokens
    if usage is None or not _is_told(usage):
        return Charge(Usage(prompt(), delivered), estimated=True)
    if usage.completion >= delivered or (scan.complete and scan.usage_is_last):
        return Charge(usage)
    return Charge(Usage(usage.prompt or prompt(), delivered, usage.cached), estimated=True)


def charge_failure(fault: Fault | None, *, status: int | None, bills_on_accept: bool, prompt: PromptTokens) -> Charge:
    """An attempt that came to no answer; `fault` None: the client left first, `status` None: not even a head came."""
    if fault is not None and fault.kind in _FREE:
        return NOTHING
    if status is not None and not 200 <= status < 300:
        return NOTHING
    unheard = status is None or fault is None or fault.kind is FaultKind.TIMEOUT
    if unheard and not bills_on_accept:
        return NOTHING
    return Charge(Usage(prompt()), estimated=True)


def _is_told(usage: Usage) -> bool:
    """Whether it says anything: some servers send a usage of zeros, or an empty one."""
    return usage.prompt > 0 or usage.completion > 0
