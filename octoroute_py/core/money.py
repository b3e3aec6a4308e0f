"""Money is counted in integer micro-USD (`*_uusd`); people read and write USD. The only way from one to the other."""

from typing import Final, overload

UUSD_PER_USD: Final = 1_000_000


@overload
def usd(uusd: int) -> float: ...
@overload
def usd(uusd: None) -> None: ...
@overload
def usd(uusd: int | None) -> float | None: ...
def usd(uusd: int | None) -> float | None:
    """Micro-USD as the USD of the API: the float nearest to six places. None, which is no limit, stays None."""
    return None if uusd is None else uusd / UUSD_PER_USD


def usd_text(uusd: int) -> bytes:
    """Micro-USD as USD with six decimals, for a header; no float on the way. `uusd` is not negative."""
    return b"%d.%06d" % divmod(uusd, UUSD_PER_USD)


def uusd(usd: float | None) -> int | None:
    """USD as somebody wrote them, to the nearest micro-USD; None stays None. `usd` is finite."""
    return None if usd is None else round(usd * UUSD_PER_USD)
