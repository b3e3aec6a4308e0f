"""What stands before the body of the router process's answers: its status, and what metrics want to know."""

import struct
from typing import Final

from octoroute_py.telemetry.dancer_counts import Ranked

LENGTH: Final = struct.Struct("<I")
HEAD: Final = struct.Struct("<HHBffIff")
"""Status, seconds to wait, kind of decision, confidence, uncertainty, candidates, seconds of features and inference."""

_NOTHING, _NO_DECISION, _POWERFUL, _LIGHT = range(4)


def head_of(status: int, retry_after_s: int, ranked: Ranked | None) -> bytes:
    """The head of an answer."""
    wait_s = min(retry_after_s, 0xFFFF)
    if ranked is None:
        return HEAD.pack(status, wait_s, _NOTHING, 0.0, 0.0, 0, 0.0, 0.0)
    kind = _NO_DECISION if ranked.lightweight is None else _LIGHT if ranked.lightweight else _POWERFUL
    return HEAD.pack(
        status,
        wait_s,
        kind,
        ranked.confidence,
        ranked.uncertainty,
        ranked.candidates,
        ranked.feature_s,
        ranked.inference_s,
    )


def read_head(frame: bytes) -> tuple[int, int, Ranked | None]:
    """The status, the seconds to wait and what was ranked, if anything was."""
    status, retry_after_s, kind, confidence, uncertainty, candidates, feature_s, inference_s = HEAD.unpack_from(frame)
    if kind == _NOTHING:
        return status, retry_after_s, None
    lightweight = None if kind == _NO_DECISION else kind == _LIGHT
    return status, retry_after_s, Ranked(lightweight, confidence, uncertainty, candidates, feature_s, inference_s)
