import io
import json
from collections.abc import Iterator

import pytest

from octoroute_py.config.schema import LogFormat, LogLevel
from octoroute_py.gateway.judge_log import QUIET_S, JudgeLog
from octoroute_py.routing.verdict import JudgeFailure
from octoroute_py.telemetry.logs import configure_logs
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink
from tests.fakes.scripted_transport import Clock


class Lines:
    def __init__(self) -> None:
        self._stream = io.BytesIO()
        self._sink = Sink(self._stream)
        configure_logs(
            sink=self._sink, level=LogLevel.INFO, fmt=LogFormat.JSON, scrubber=Scrubber(), now=lambda: 1_700_000_000.0
        )

    def read(self) -> list[dict[str, object]]:
        self._sink.close()
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    one = Lines()
    yield one
    one.read()


def test_a_failure_that_goes_on_is_said_once_in_a_while_with_its_number(lines: Lines) -> None:
    clock = Clock()
    log = JudgeLog(clock)
    for _ in range(5):
        log(JudgeFailure.TIMEOUT, None)
    log(JudgeFailure.EMPTY, None)
    clock.now += QUIET_S
    log(JudgeFailure.TIMEOUT, None)
    said = [(line["event"], line["because"], line.get("not_logged")) for line in lines.read()]
    assert said == [("judge failed", "timeout", None), ("judge failed", "empty", None), ("judge failed", "timeout", 4)]


def test_a_defect_of_ours_is_always_said_with_its_traceback(lines: Lines) -> None:
    log = JudgeLog(Clock())
    for _ in range(2):
        log(JudgeFailure.UPSTREAM, ValueError("a bug"))
    said = lines.read()
    assert [line["because"] for line in said] == ["upstream", "upstream"]
    assert all("ValueError" in json.dumps(line) for line in said)
