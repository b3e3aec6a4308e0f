"""Whether a web page may use a gateway that asks for no key.

A browser sends cross-origin POSTs of plain text without asking first, so any page its user visits could spend their
models' time and money through a gateway on loopback, though it could not read the answer. Pages of this machine and
applications with a scheme of their own (app://, vscode-webview://) may; any other needs its origin in `cors.origins`.
"""

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit


class Origins:
    """The origins that may use open routes; `allowed` are exact origins, or `*` for all."""

    __slots__ = ("_all", "_allowed", "_hosts", "_last")

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(allowed)
        self._all = "*" in self._allowed
        self._hosts = frozenset(urlsplit(each).hostname for each in self._allowed)
        self._last: bytes | None = None

    def admits(self, origin: bytes, *, host: bytes | None = None) -> bool:
        """Whether a page of this origin may; `null`, the origin of sandboxed pages, may not.

        `host` is the request's Host where a page of the same host is one of our own; never on loopback, where any name
        may have been made to point (DNS rebinding).
        """
        text = origin.decode("latin-1").strip()
        if self._all or text in self._allowed:
            return True
        try:
            parts = urlsplit(text)
            name = parts.hostname
        except ValueError:
            return False
        if not parts.scheme or name is None:
            return False
        own = host is not None and parts.netloc == host.decode("latin-1")
        return own or parts.scheme not in ("http", "https") or _is_this_machine(name)

    def knows(self, host: bytes) -> bool:
        """Whether a page that was loaded from this Host may ask a gateway on loopback, as it can without an Origin.

        A browser sends none with what a page reads from where it came from, and any name with a dot may have been made
        to point to this machine (DNS rebinding). Addresses and names without a dot cannot; others count if the host of
        an allowed origin is theirs.
        """
        if host == self._last:  # all clients of a gateway call it by one name
            return True
        if self._is_fine(host):
            self._last = host
            return True
        return False

    def _is_fine(self, host: bytes) -> bool:
        try:
            name = urlsplit(f"//{host.decode('latin-1')}").hostname
        except ValueError:
            return False
        if name is None or self._all or name in self._hosts or "." not in name or _is_this_machine(name):
            return True
        try:
            return bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _is_this_machine(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
