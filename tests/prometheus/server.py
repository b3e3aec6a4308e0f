"""A real Prometheus that scrapes one gateway every second, in a folder of its own."""

import asyncio
import contextlib
import json
import math
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from tests.fakes.client import ask, get
from tests.fakes.gateway import STOP_S
from tests.fakes.waiting import until

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")
READY_S = 20.0
SCRAPED_S = 30.0


class Sample(msgspec.Struct, frozen=True):
    """One series of an answer."""

    labels: dict[str, str]
    value: float


class Prometheus:
    """A running server; `port` is where it answers."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def _get(self, path: str) -> Any:
        answer = await ask(self.port, get(path))
        assert answer.status == 200, (path, answer.body[:500])
        return json.loads(answer.body)

    async def query(self, promql: str) -> list[Sample]:
        """What an instant query gives now."""
        data = (await self._get(f"/api/v1/query?query={quote(promql)}"))["data"]
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    async def number(self, promql: str) -> float:
        """The one number of a query."""
        [sample] = await self.query(promql)
        assert math.isfinite(sample.value), promql
        return sample.value

    async def scrapes(self) -> int:
        """How many scrapes it has kept."""
        found = await self.query('count_over_time(up{job="octoroute"}[1h])')
        return int(found[0].value) if found else 0

    async def scraped(self, times: int) -> None:
        """Wait until it has scraped so many times more."""
        wanted = await self.scrapes() + times

        async def enough() -> bool:
            return await self.scrapes() >= wanted

        await until(enough, SCRAPED_S)


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.asynccontextmanager
async def prometheus(target_port: int, folder: Path) -> AsyncIterator[Prometheus]:
    """Run it; ended afterwards."""
    assert PROMETHEUS is not None
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s, scrape_timeout: 1s}\n"
        "scrape_configs:\n"
        f'  - {{job_name: octoroute, static_configs: [{{targets: ["127.0.0.1:{target_port}"]}}]}}\n',
        encoding="utf-8",
    )
    port = free_port()
    options = (f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}")
    with (folder / "prometheus.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            PROMETHEUS, *options, f"--web.listen-address=127.0.0.1:{port}", stdout=log, stderr=log
        )
    try:
        await _ready(port)
        yield Prometheus(port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def _ready(port: int) -> None:
    async def answers() -> bool:
        try:
            return (await ask(port, get("/-/ready"))).status == 200
        except OSError:
            return False

    await until(answers, READY_S)
