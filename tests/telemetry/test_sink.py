import io
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from octoroute_py.telemetry.sink import CLOSE_S, MAX_LINE_BYTES, Sink


class Stuck:
    """A stream whose reader has stopped, until `release` is set."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.release = threading.Event()
        self.written = b""

    def write(self, data: bytes, /) -> int:
        self.entered.set()
        self.release.wait()
        self.written += data
        return len(data)


class Halting:
    """A non-blocking stream that takes three bytes and then pauses once."""

    def __init__(self) -> None:
        self.written = b""
        self.ready = False

    def write(self, data: bytes, /) -> int | None:
        self.ready = not self.ready
        if not self.ready:
            return None
        self.written += data[:3]
        return len(data[:3])


class Gone:
    """A stream whose reader has gone."""

    def write(self, data: bytes, /) -> int:
        raise BrokenPipeError


def test_lines_arrive_whole_and_in_order() -> None:
    stream = io.BytesIO()
    sink = Sink(stream)
    for number in range(5000):
        sink.write(b"%d\n" % number)
    sink.close()
    assert stream.getvalue() == b"".join(b"%d\n" % number for number in range(5000))
    assert sink.dropped == 0


def test_lines_arrive_without_a_close() -> None:
    arrived = threading.Event()

    class Stream:
        def write(self, data: bytes, /) -> int:
            arrived.set()
            return len(data)

    sink = Sink(Stream())
    for _ in range(2):
        arrived.clear()
        sink.write(b"x\n")
        assert arrived.wait(5.0)
    sink.close()


def test_lines_of_many_threads_stay_whole() -> None:
    stream = io.BytesIO()
    sink = Sink(stream)

    def write(name: int) -> None:
        for number in range(500):
            sink.write(b"%d %d\n" % (name, number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    sink.close()
    lines = stream.getvalue().splitlines()
    for name in range(4):
        own = [line for line in lines if line.startswith(b"%d " % name)]
        assert own == [b"%d %d" % (name, number) for number in range(500)]


def test_a_stuck_stream_blocks_nobody_and_what_does_not_fit_is_dropped_and_counted() -> None:
    stream = Stuck()
    sink = Sink(stream, max_buffer_bytes=1000)
    sink.write(b"first\n")
    assert stream.entered.wait(5.0)
    for _ in range(200):
        sink.write(b"123456789\n")
    assert sink.dropped == 101
    stream.release.set()
    sink.close()
    assert stream.written == b"first\n" + b"123456789\n" * 99


def test_close_gives_a_stuck_stream_two_seconds() -> None:
    stream = Stuck()
    sink = Sink(stream)
    sink.write(b"x\n")
    started = time.monotonic()
    sink.close()
    assert CLOSE_S * 0.9 <= time.monotonic() - started < CLOSE_S + 1.0
    stream.release.set()


def test_a_stream_that_takes_little_at_a_time_gets_everything() -> None:
    stream = Halting()
    sink = Sink(stream)
    sink.write(b"0123456789\n")
    sink.close()
    assert stream.written == b"0123456789\n"


def test_a_stream_without_a_reader_loses_lines_and_nothing_else() -> None:
    sink = Sink(Gone())
    sink.write(b"x\n")
    sink.write(b"y\n")
    sink.close()
    assert sink.dropped == 2


def test_after_close_lines_are_dropped_and_closing_again_is_fine() -> None:
    stream = io.BytesIO()
    sink = Sink(stream)
    sink.close()
    sink.write(b"late\n")
    sink.close()
    assert stream.getvalue() == b""
    assert sink.dropped == 1


def test_an_overlong_line_is_cut() -> None:
    stream = io.BytesIO()
    sink = Sink(stream)
    sink.write(b"x" * 1_000_000 + b"\n")
    sink.close()
    assert len(stream.getvalue()) == MAX_LINE_BYTES
    assert stream.getvalue().endswith(b"...\n")


SCRIPT = """
from octoroute_py.telemetry.sink import Sink
sink = Sink(open(2, "wb", buffering=0, closefd=False))
for number in range({lines}):
    sink.write(b"x" * 999 + b"\\n")
"""


def test_a_process_that_just_ends_has_written_its_lines() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(lines=100)], stderr=subprocess.PIPE, timeout=30)
    assert done.returncode == 0
    assert len(done.stderr) == 100_000


def test_a_process_whose_stderr_nobody_reads_still_ends() -> None:
    reader, writer = os.pipe()
    try:
        done = subprocess.run([sys.executable, "-c", SCRIPT.format(lines=1000)], stderr=writer, timeout=30)
    finally:
        os.close(writer)
        os.close(reader)
    assert done.returncode == 0
