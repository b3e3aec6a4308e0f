import io
import json

import pytest

from octoroute_py.config.schema import LogFormat, LogLevel
from octoroute_py.core.words import Reason, Strategy, Surface, Tier
from octoroute_py.telemetry.access import AccessLog
from octoroute_py.telemetry.sink import Sink


def full(
    log: AccessLog,
    *,
    status: int = 200,
    endpoint_id: str = "fast/qwen#1",
    request_id: str = "abc123",
    failed: str | None = None,
    error_code: str | None = None,
) -> None:
    log.write(
        request_id=request_id,
        surface=Surface.CHAT,
        status=status,
        duration_s=0.5124,
        tier=Tier.FAST,
        strategy=Strategy.RULE,
        reason=Reason.RULE_MATCHED,
        endpoint_id=endpoint_id,
        attempts=2,
        stream=True,
        first_event_s=0.02,
        prompt_tokens=10,
        completion_tokens=20,
        principal="laptop",
        failed=failed,
        error_code=error_code,
    )


class Written:
    """An access log and what it wrote."""

    def __init__(self, fmt: LogFormat, level: LogLevel = LogLevel.INFO) -> None:
        self.stream = io.BytesIO()
        self.sink = Sink(self.stream)
        self.log = AccessLog(self.sink, fmt=fmt, level=level, now=lambda: 1_769_847_300.25)

    def lines(self) -> list[str]:
        self.sink.close()
        return self.stream.getvalue().decode().splitlines()


def test_a_json_line_has_all_fields() -> None:
    written = Written(LogFormat.JSON)
    full(written.log)
    assert [json.loads(line) for line in written.lines()] == [
        {
            "time": "2026-01-31T08:15:00.250Z",
            "level": "info",
            "event": "request",
            "status": 200,
            "surface": "chat",
            "tier": "fast",
            "strategy": "rule",
            "reason": "rule_matched",
            "endpoint": "fast/qwen#1",
            "attempts": 2,
            "stream": True,
            "key": "laptop",
            "request_id": "abc123",
            "duration_ms": 512.4,
            "first_event_ms": 20.0,
            "prompt_tokens": 10,
            "completion_tokens": 20,
        }
    ]


def test_a_text_line_reads_from_left_to_right() -> None:
    written = Written(LogFormat.TEXT)
    full(written.log)
    assert written.lines() == [
        "2026-01-31T08:15:00.250Z info    request status=200 surface=chat tier=fast strategy=rule reason=rule_matched "
        "endpoint=fast/qwen#1 attempts=2 stream=True key=laptop request_id=abc123 duration_ms=512.400 "
        "first_event_ms=20.000 prompt_tokens=10 completion_tokens=20"
    ]


def test_what_a_request_does_not_have_is_left_out() -> None:
    written = Written(LogFormat.JSON)
    written.log.write(request_id="r-1", surface=None, status=401, duration_s=0.0001, error_code="invalid_api_key")
    (line,) = written.lines()
    assert json.loads(line) == {
        "time": "2026-01-31T08:15:00.250Z",
        "level": "info",
        "event": "request",
        "status": 401,
        "attempts": 0,
        "stream": False,
        "error": "invalid_api_key",
        "request_id": "r-1",
        "duration_ms": 0.1,
    }


@pytest.mark.parametrize("fmt", list(LogFormat))
def test_no_name_can_forge_a_line(fmt: LogFormat) -> None:
    written = Written(fmt)
    full(written.log, endpoint_id='a"b\\\n\x1b[0m\u2028', request_id='x"\n{"level":"error"}')
    (line,) = written.lines()
    assert line.isprintable()
    if fmt is LogFormat.JSON:
        parsed = json.loads(line)
        assert (parsed["endpoint"], parsed["level"]) == ('a"b\\\n\x1b[0m\u2028', "info")


@pytest.mark.parametrize(
    ("level", "statuses"),
    [
        (LogLevel.DEBUG, ["200", "404", "502"]),
        (LogLevel.INFO, ["200", "404", "502"]),
        (LogLevel.WARNING, ["502"]),
        (LogLevel.ERROR, []),
    ],
)
def test_failures_are_warnings_and_the_level_is_kept(level: LogLevel, statuses: list[str]) -> None:
    written = Written(LogFormat.TEXT, level)
    for status in (200, 404, 502):
        full(written.log, status=status)
    lines = written.lines()
    assert [line.split("status=")[1][:3] for line in lines] == statuses
    assert all(("warning" in line) == ("status=502" in line) for line in lines)


@pytest.mark.parametrize("level", [LogLevel.INFO, LogLevel.WARNING])
def test_a_stream_that_broke_after_its_commit_is_a_warning_and_a_client_that_left_is_not(level: LogLevel) -> None:
    written = Written(LogFormat.JSON, level)
    full(written.log)
    full(written.log, error_code="upstream_truncated")
    full(written.log, status=499)
    full(written.log, status=401, error_code="invalid_api_key")
    lines = [json.loads(line) for line in written.lines()]
    warnings = [line["error"] for line in lines if line["level"] == "warning"]
    assert warnings == ["upstream_truncated"]
    assert len(lines) == (4 if level is LogLevel.INFO else 1)


@pytest.mark.parametrize("fmt", list(LogFormat))
def test_what_failed_on_the_way_is_told_of_that_request_alone(fmt: LogFormat) -> None:
    written = Written(fmt)
    for failed in (None, "connect,timeout", None, "connect"):
        full(written.log, failed=failed)
    lines = written.lines()
    if fmt is LogFormat.JSON:
        assert [json.loads(line).get("failed") for line in lines] == [None, "connect,timeout", None, "connect"]
    else:
        assert [" failed=" in line for line in lines] == [False, True, False, True]
        assert " attempts=2 failed=connect,timeout stream=True " in lines[1]


def test_many_different_requests_do_not_grow_the_memory_of_the_log() -> None:
    written = Written(LogFormat.JSON)
    for number in range(5000):
        full(written.log, endpoint_id=f"fast/{number}")
    endpoints = [json.loads(line)["endpoint"] for line in written.lines()]
    assert endpoints == [f"fast/{number}" for number in range(5000)]
