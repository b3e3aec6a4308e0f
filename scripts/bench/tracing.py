"""What tracing costs a request, in process: PYTHONPATH=. python scripts/bench/tracing.py

Three applications (tracing off, 1 % and all of the requests sampled) are asked in turns through a transport that
answers at once, with a collector in a process of its own that takes everything. Of each it tells microseconds of CPU a
request on the event loop, from the opened request to its spans handed over, and of the whole process, in which a second
thread makes and sends the spans. There are pauses, so that it keeps up: no span may be lost.
"""

import argparse
import asyncio
import contextlib
import gc
import logging
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import BinaryIO, Final

import structlog
import uvloop

from many import Bench as Silent
from many import Case, ask
from octoroute_py.config.load import parse_config
from octoroute_py.core.words import TIERS
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink
from scripts.recorded import ROOT, machine, spread, write_between_markers

CASE: Final = Case("auto", "auto")
RATIOS: Final = (None, 0.01, 1.0)
TURN: Final = 128
PAUSE_S: Final = 0.08
SENT_S: Final = 1.5
"""After so long everything has been sent, and disturbs nobody else's turn."""
SPANS: Final = 3
_COLLECTOR: Final = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200); self.send_header("content-length", "0"); self.end_headers()
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


@contextlib.contextmanager
def collector() -> Iterator[str]:
    """The URL of one."""
    process = subprocess.Popen([sys.executable, "-c", _COLLECTOR], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
    finally:
        process.kill()
        process.wait()


def application(ratio: float | None, url: str, null: BinaryIO) -> Silent:
    """A gateway that samples this share of its requests, None: without tracing."""
    models = "".join(f'[[models.{t}]]\nname = "{t}-0"\nbase_url = "http://127.0.0.1:1/v1"\n' for t in TIERS)
    target = "" if ratio is None else f'[tracing]\notlp_endpoint = "{url}"\nsample_ratio = {ratio}\n'
    config = parse_config(
        f'{models}[routing]\nstrategy = "rule"\n[storage]\nurl = "none"\n[health]\nenabled = false\n{target}'
    )
    return Silent(config, load=lambda: config, sink=Sink(null), scrubber=Scrubber(), rng=random.Random(1))


async def measure(one: Silent, turns: int) -> tuple[float, float]:
    """Microseconds a request: of the event loop's thread, of the process."""
    gc.collect()
    on_loop, whole = 0, time.process_time_ns()
    for _ in range(turns):
        began = time.thread_time_ns()
        await ask(one, CASE, times=TURN)
        on_loop += time.thread_time_ns() - began
        await asyncio.sleep(PAUSE_S)
    await asyncio.sleep(SENT_S)
    per = 1e3 * TURN * turns
    return on_loop / per, (time.process_time_ns() - whole) / per


def lost(one: Silent) -> bool:
    """Whether any span was."""
    return any(one.gateway.metrics.traces.dropped.values())


async def run(options: argparse.Namespace, null: BinaryIO, url: str) -> str:
    """The table."""
    ones = [application(ratio, url, null) for ratio in RATIOS]
    for one in ones:
        await one.start()
        await measure(one, 8)
    figures: list[list[tuple[float, float]]] = [[] for _ in ones]
    for number in range(options.rounds):
        for which in range(len(ones)) if number % 2 else reversed(range(len(ones))):
            figures[which].append(await measure(ones[which], options.turns))
    assert not any(lost(one) for one in ones), "the collector did not keep up"
    rows = []
    for ratio, own in zip(RATIOS, figures, strict=True):
        name = "off" if ratio is None else f"on, {ratio:.0%} sampled"
        cells = []
        for at in (0, 1):
            more = [each[at] - off[at] for each, off in zip(own, figures[0], strict=True)]
            cells += [spread([each[at] for each in own]), spread(more)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(
        [
            f"{machine()}; {options.rounds} interleaved rounds of {options.turns * TURN} requests (`auto`, {SPANS} "
            "spans each); CPU, median (lowest to highest).",
            "",
            "| tracing | µs on the event loop | more | µs of the process | more |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )


def main() -> int:
    """Measures, prints and, if asked, records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--turns", type=int, default=20, help=f"turns a round, of {TURN} requests each")
    parser.add_argument("--record", action="store_true", help="write the figures into docs/tracing.md")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with open("/dev/null", "wb", buffering=0) as null, collector() as url:
        text = uvloop.run(run(options, null, url))
    print(text)
    if options.record:
        write_between_markers(ROOT / "docs/tracing.md", "bench-tracing", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
