"""How a request ended, in one word, for records and reports."""

import enum

CLIENT_GONE = 499
"""Status of a request whose client left before its answer was whole: neither a success nor a failure."""
GIVEN_UP = "given_up"
"""What became of an attempt that lasted longer than its client chose to wait: no fault of the endpoint's."""
_TIMEOUT, _TOO_MANY = 504, 429


class Ended(enum.StrEnum):
    """The words."""

    SUCCESS = "success"
    ERROR = "error"
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    CANCELLED = "cancelled"


STATUS_OF = {Ended.TIMEOUT: _TIMEOUT, Ended.RATE_LIMITED: _TOO_MANY, Ended.CANCELLED: CLIENT_GONE}
"""The words that stand for one status alone."""


def ended(status: int, *, failed: bool) -> Ended:
    """The word for what the client got; `failed` says that there is an error code.

    A stream that broke has status 200 and is an error; of a client that left nobody knows how it would have ended.
    """
    if status == CLIENT_GONE:
        return Ended.CANCELLED
    if not failed:
        return Ended.SUCCESS
    return {_TIMEOUT: Ended.TIMEOUT, _TOO_MANY: Ended.RATE_LIMITED}.get(status, Ended.ERROR)
