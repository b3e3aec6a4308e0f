"""The measurements: a target's processes, their CPU and memory, and what the load tools see.

The target is pinned to core 0, upstream and load to core 1. CPU is user and system time of the whole process tree.
"""

import json
import os
import resource
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from targets import PATH, Target, Workspace

Row = dict[str, float]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
TARGET_CORE, LOAD_CORE = "0", "1"
START_LIMIT_S = 90.0
PROMPT = "Please summarise the following incident report and list three follow-up actions, with an owner for each. "
WRK_SCRIPT = """
local f=io.open(os.getenv("BENCH_BODY"),"r"); wrk.body=f:read("*a"); f:close()
wrk.method="POST"; wrk.headers["Content-Type"]="application/json"
for k,v in string.gmatch(os.getenv("BENCH_HEADERS") or "","([^=;]+)=([^;]+)") do wrk.headers[k]=v end
done=function(s,l,r)
  local bad=s.errors.status+s.errors.connect+s.errors.read+s.errors.write+s.errors.timeout
  io.write(string.format('JSON {"requests":%d,"us":%d,"bad":%d,"p50":%d,"p99":%d}\\n',
    s.requests,s.duration,bad,l:percentile(50),l:percentile(99)))
end
"""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A started process; `start_s` is from its start to its first answer."""

    pid: int
    start_s: float

    def pids(self) -> list[int]:
        """The process and all its descendants."""
        return _tree(self.pid)


def _tree(pid: int) -> list[int]:
    found = [pid]
    with suppress(OSError):  # it may have just ended
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += _tree(int(child))
    return found


def cpu_s(pids: list[int]) -> float:
    """User and system time of the processes so far, in seconds."""
    ticks = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / TICKS_PER_S


def rss_mb(pids: list[int]) -> float:
    """Resident memory of the processes, in MB."""
    kb = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            continue
        kb += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return kb / 1024


def allow_many_files() -> None:
    """Raises the limit on open files, which the started processes inherit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


def body_file(space: Workspace, *, model: str, kb: int, stream: bool) -> Path:
    """A chat request of about `kb` KB."""
    path = space.work / f"body-{model.replace('/', '_')}-{kb}-{stream}.json"
    if not path.exists():
        text = PROMPT * max(1, (kb * 1024 - 200) // len(PROMPT))
        system = "You are a careful assistant that answers briefly."
        body: dict[str, object] = {
            "model": model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
            "temperature": 0.2,
            "max_tokens": 256,
        }
        path.write_text(json.dumps({**body, "stream": True} if stream else body))
    return path


@contextmanager
def upstream(space: Workspace, *, port: int, events: int = 200, gap_us: int = 10_000) -> Iterator[Running]:
    """The fake model server: streams of `events` events, `gap_us` microseconds apart."""
    command = ["taskset", "-c", LOAD_CORE, space.tool("upstream"), str(port), str(events), str(gap_us), "0"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield Running(pid=process.pid, start_s=0.0)
    finally:
        process.terminate()
        process.wait()


@contextmanager
def running(space: Workspace, target: Target) -> Iterator[Running]:
    """The target's process, from its first answer on; SIGTERM ends it, after 5 s SIGKILL."""
    assert target.command is not None
    log_file = space.work / f"{target.name}.log"
    with log_file.open("ab") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            ["taskset", "-c", TARGET_CORE, *target.command],
            cwd=space.work,
            env={**os.environ, **target.environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        _wait_for_answer(space, target, process=process, log_file=log_file)
        yield Running(pid=process.pid, start_s=time.monotonic() - started)
    finally:
        _stop(process)


def _wait_for_answer(space: Workspace, target: Target, *, process: subprocess.Popen[bytes], log_file: Path) -> None:
    body = body_file(space, model=target.model, kb=1, stream=False).read_bytes()
    headers = {"content-type": "application/json", **target.headers}
    request = urllib.request.Request(f"http://127.0.0.1:{target.port}{PATH}", body, headers)
    reason = "it has ended"
    give_up = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < give_up:
        try:
            with urllib.request.urlopen(request, timeout=5) as response:
                if json.load(response)["choices"]:
                    return
        except (OSError, ValueError, KeyError) as error:
            reason = str(error)
        time.sleep(0.01)
    raise SystemExit(f"{target.name} does not answer: {reason}; its log: {log_file}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    pids = _tree(process.pid)
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with suppress(OSError):  # it may have just ended
                os.kill(pid, signal.SIGKILL)
        process.wait()


def requests(space: Workspace, target: Target, process: Running, *, connections: int, seconds: int, kb: int) -> Row:
    """Buffered requests for `seconds`: rate, latencies in µs, CPU seconds per 1,000 and failures."""
    body = body_file(space, model=target.model, kb=kb, stream=False)
    headers = ";".join(f"{name}={value}" for name, value in target.headers.items())
    script = space.write("post.lua", WRK_SCRIPT)
    load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script)]
    before = cpu_s(process.pids())
    printed = subprocess.run(
        ["taskset", "-c", LOAD_CORE, *load, f"http://127.0.0.1:{target.port}{PATH}"],
        env={**os.environ, "BENCH_BODY": str(body), "BENCH_HEADERS": headers},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    used = cpu_s(process.pids()) - before
    seen = json.loads(next(line for line in printed.splitlines() if line.startswith("JSON"))[5:])
    return {
        "rps": seen["requests"] / (seen["us"] / 1e6),
        "p50_us": seen["p50"],
        "p99_us": seen["p99"],
        "cpu_per_1k": used / max(1, seen["requests"]) * 1000,
        "bad": seen["bad"],
    }


def streams_command(space: Workspace, target: Target, *, connections: int, rounds: int, kb: int = 1) -> list[str]:
    """The streaming client: `connections` streams that start within 10 ms, `rounds` times."""
    body = body_file(space, model=target.model, kb=kb, stream=True)
    client = [space.tool("sseclient"), str(target.port), str(connections), str(rounds), PATH, str(body)]
    return ["taskset", "-c", LOAD_CORE, *client, *(f"{name}: {value}" for name, value in target.headers.items())]


def streams(space: Workspace, target: Target, process: Running, *, connections: int = 64, rounds: int = 2) -> Row:
    """Streamed requests: times to the first event and gaps in ms, CPU seconds per 10,000 events and failures."""
    before = cpu_s(process.pids())
    command = streams_command(space, target, connections=connections, rounds=rounds)
    seen = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    used = cpu_s(process.pids()) - before
    return {
        "cpu_per_10k_events": used / max(1, seen["chunks"]) * 1e4,
        "ttfe_p50_ms": seen["ttfc_p50_ms"],
        "ttfe_p99_ms": seen["ttfc_p99_ms"],
        "gap_p99_ms": seen["gap_p99_ms"],
        "events_per_s": seen["chunks_per_s"],
        "bad": seen["err"],
    }


def kb_per_live_stream(space: Workspace, target: Target, process: Running, *, connections: int) -> float:
    """How much memory the target holds more at the height of `connections` live streams, in KB a stream."""
    before = highest = rss_mb(process.pids())
    command = streams_command(space, target, connections=connections, rounds=1)
    client = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while client.poll() is None:
        highest = max(highest, rss_mb(process.pids()))
        time.sleep(0.1)
    if client.returncode:
        raise SystemExit(f"{target.name}: live streams failed")
    return (highest - before) * 1024 / connections
