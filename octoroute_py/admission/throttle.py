"""Guessing keys becomes slow: how many wrong ones a source may try."""

import ipaddress
from collections import OrderedDict, deque


class WrongKeys:
    """Remembers wrong keys by source; right keys are none of its business.

    After `limit` wrong keys within `window_s` seconds a source has to wait until the oldest of them is that old.
    At most `max_sources` are remembered; the one not seen for longest is forgotten first.
    """

    __slots__ = ("_limit", "_max_sources", "_strikes", "_window_s")

    def __init__(self, *, limit: int = 20, window_s: float = 60.0, max_sources: int = 10_000) -> None:
        self._limit = limit
        self._window_s = window_s
        self._max_sources = max_sources
        self._strikes: OrderedDict[str, deque[float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._strikes)

    def strike(self, source: str, now: float) -> float | None:
        """Count a wrong key; None if the source may try on, else the seconds until it may."""
        source = network_of(source)
        times = self._strikes.get(source)
        if times is None:
            times = self._strikes[source] = deque()
            if len(self._strikes) > self._max_sources:
                self._strikes.popitem(last=False)
        else:
            self._strikes.move_to_end(source)
        while times and now - times[0] >= self._window_s:
            times.popleft()
        if len(times) >= self._limit:
            return times[0] + self._window_s - now
        times.append(now)
        return None


def network_of(source: str) -> str:
    """One household's IPv6 addresses count as one source: whoever has one has 2^64 of them."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return source
    if isinstance(address, ipaddress.IPv4Address):
        return source
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), 64), strict=False))
