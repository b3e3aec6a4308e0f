"""An address that never accepts: connections to it neither succeed nor fail."""

import errno
import socket
from types import TracebackType

_FILLERS = 4


class BlackHole:
    """A listener whose queue of waiting connections is full, so that the kernel drops every further SYN.

    with BlackHole() as hole:
        ...                     # a connect to (hole.host, hole.port) hangs
    """

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self._sockets: list[socket.socket] = []

    @property
    def base_url(self) -> str:
        """The URL to configure as an endpoint's `base_url`."""
        return f"http://{self.host}:{self.port}/v1"

    def __enter__(self) -> "BlackHole":
        listener = socket.create_server((self.host, 0), backlog=0)
        self.port = listener.getsockname()[1]
        self._sockets.append(listener)
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            self._sockets.append(filler)
            if filler.connect_ex((self.host, self.port)) not in (0, errno.EINPROGRESS):
                raise OSError("the black hole could not be filled")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for opened in reversed(self._sockets):
            opened.close()
