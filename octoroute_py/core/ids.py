"""Request ids: our own, or the caller's when it is safe to repeat in headers and logs."""

import random
import re

from octoroute_py.core import clock
from octoroute_py.core.clock import Wall

_SAFE = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")


def new_request_id(*, now: Wall = clock.wall) -> str:
    """A fresh id as 32 hex digits: 48 bits of milliseconds and 80 random ones.

    In the order of time they are added at the end of the journal's index; a random one would change a page of its own,
    which costs a large journal twice as much. An id is no secret, so the fast generator will do.
    """
    return f"{int(now() * 1000.0):012x}{random.getrandbits(80):020x}"


def safe_request_id(raw: bytes) -> str | None:
    """The caller's id if it is 1-128 visible characters that need no escaping anywhere, else None."""
    return raw.decode("ascii") if _SAFE.fullmatch(raw) else None
