"""The process that routes for the gateway: frames of JSON on stdin, frames of answers on stdout, until stdin ends.

A frame is its length as four bytes, little-endian, and so many bytes. A reply begins with a head (`frame`). What would
be printed goes to stderr, where the log is like the gateway's.
"""

import contextlib
import os
import sys
from typing import BinaryIO

import structlog

from octoroute_py.config.schema import LogFormat, LogLevel
from octoroute_py.core import clock
from octoroute_py.neural.candidate import RouterConfig
from octoroute_py.neural.errors import RouterError
from octoroute_py.neural.frame import LENGTH, head_of
from octoroute_py.neural.router import Router
from octoroute_py.neural.wire import Reply, answer, refusal
from octoroute_py.telemetry.logs import configure_logs
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink

_log = structlog.stdlib.get_logger("octoroute.neural")


def serve(requests: BinaryIO, replies: BinaryIO, config: RouterConfig) -> None:
    """Answer every frame in turn. A router that cannot be made answers all of them with the reason.

    Reading the bodies takes most of the time, so the network is not compiled: the first answer comes seconds sooner.
    """
    router: Router | None = None
    try:
        while (body := read_frame(requests)) is not None:
            try:
                router = router or Router(config, compiled=False)
                reply = answer(router, body)
            except RouterError as error:
                reply = refusal(503, str(error), code="router_unavailable")
            except Exception:  # noqa: BLE001 - the worker outlives its bugs and reports them
                _log.error("routing failed", exc_info=True)
                reply = refusal(500, "the router failed", code="internal_error")
            write_reply(replies, reply)
    finally:
        if router is not None:
            router.close()


def read_frame(stream: BinaryIO) -> bytes | None:
    """The next frame, None at the end of the stream."""
    head = stream.read(LENGTH.size)
    if len(head) < LENGTH.size:
        return None
    (length,) = LENGTH.unpack(head)
    body = stream.read(length)
    return body if len(body) == length else None


def write_reply(stream: BinaryIO, reply: Reply) -> None:
    """One reply as a frame."""
    head = head_of(reply.status, reply.retry_after_s, reply.ranked)
    stream.write(LENGTH.pack(len(head) + len(reply.body)) + head + reply.body)
    stream.flush()


def main() -> None:
    """Serve stdin; the arguments are the database's path (empty: none), the log's format and its level."""
    path, fmt, level = sys.argv[1:4]
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with open(2, "wb", buffering=0, closefd=False) as stderr:
        sink = Sink(stderr)
        configure_logs(sink=sink, level=LogLevel(level), fmt=LogFormat(fmt), scrubber=Scrubber(), now=clock.wall)
        with replies, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the gateway is gone
            serve(sys.stdin.buffer, replies, RouterConfig(database_path=path or None))
        sink.close()
