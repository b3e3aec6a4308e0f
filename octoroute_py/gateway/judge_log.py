"""Says in the log that the judge fails: each kind of failure once in a while, and how often it happened in between.

Nothing of a request is in it. Every failed request has its own access line with the reason anyway.
"""

from typing import Final

import structlog

from octoroute_py.core.clock import Monotonic
from octoroute_py.routing.verdict import JudgeFailure

QUIET_S: Final = 10.0
"""After a line, the same kind of failure is only counted for so long."""

_log = structlog.stdlib.get_logger("octoroute.gateway")


class JudgeLog:
    """A judge's `Report`."""

    __slots__ = ("_now", "_said_at", "_unsaid")

    def __init__(self, now: Monotonic) -> None:
        self._now = now
        self._said_at: dict[JudgeFailure, float] = {}
        self._unsaid: dict[JudgeFailure, int] = {}

    def __call__(self, failure: JudgeFailure, error: Exception | None) -> None:
        """Log the failure or count it; a defect of ours is always logged."""
        now = self._now()
        said_at = self._said_at.get(failure)
        if error is None and said_at is not None and now - said_at < QUIET_S:
            self._unsaid[failure] = self._unsaid.get(failure, 0) + 1
            return
        self._said_at[failure] = now
        before = self._unsaid.pop(failure, 0)
        _log.warning(
            "judge failed", because=failure.value, exc_info=error, **({"not_logged": before} if before else {})
        )
