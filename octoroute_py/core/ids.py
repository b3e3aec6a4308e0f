"""Request ids: random, or the caller's own when it is safe to repeat in headers and logs."""

import random
import re

_SAFE = re.compile(rb"[A-Za-z0-9._:+/=-]{1,128}")


def new_request_id() -> str:
    """A fresh id of 128 random bits as 32 hex digits; an id is no secret, so the fast generator will do."""
    return f"{random.getrandbits(128):032x}"


def safe_request_id(raw: bytes) -> str | None:
    """The caller's id if it is 1-128 visible characters that need no escaping anywhere, else None."""
    return raw.decode("ascii") if _SAFE.fullmatch(raw) else None
