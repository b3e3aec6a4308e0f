import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from octoroute_py.config.schema import LogFormat, LogLevel, Secret
from octoroute_py.config.sections import LOGGING_ROOMS
from octoroute_py.core.words import Tier
from octoroute_py.telemetry.logs import configure_logs, describe_exception, set_levels
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink
from tests.fakes.repository import ROOT, product_modules

PROMPT = "my deepest secret question"


class Log:
    """A configured log and what it wrote."""

    def __init__(self, level: LogLevel = LogLevel.INFO, fmt: LogFormat = LogFormat.JSON) -> None:
        self.stream = io.BytesIO()
        self.sink = Sink(self.stream)
        configure_logs(
            sink=self.sink,
            level=level,
            fmt=fmt,
            scrubber=Scrubber(["upstream-key-123456"]),
            now=lambda: 1_769_847_300.25,
        )

    def text(self) -> str:
        self.sink.close()
        return self.stream.getvalue().decode()

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    names = ("octoroute_py", "uvicorn", "uvicorn.error", "uvicorn.access", "asyncio", "httpx")
    loggers = [logging.getLogger(), *(logging.getLogger(name) for name in names)]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    yield
    for logger, level, handlers, propagate in before:
        logger.level, logger.handlers[:], logger.propagate = level, handlers, propagate
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def fail() -> None:
    raise ValueError(PROMPT)


def test_a_json_line_has_time_level_event_and_the_fields_given() -> None:
    log = Log()
    structlog.get_logger().info("endpoint_down", endpoint="fast/a", tier=Tier.FAST, failures=3, since_s=1.5)
    assert log.events() == [
        {
            "time": "2026-01-31T08:15:00.250Z",
            "level": "info",
            "event": "endpoint_down",
            "endpoint": "fast/a",
            "tier": "fast",
            "failures": 3,
            "since_s": 1.5,
        }
    ]


def test_a_text_line_is_for_people() -> None:
    log = Log(fmt=LogFormat.TEXT)
    structlog.get_logger().warning("config reloaded", generation=2, file="my config.toml", tiers=["fast"])
    assert log.text() == (
        '2026-01-31T08:15:00.250Z warning config reloaded generation=2 file="my config.toml" tiers=["fast"]\n'
    )


@pytest.mark.parametrize(("level", "count"), [(LogLevel.DEBUG, 4), (LogLevel.INFO, 3), (LogLevel.ERROR, 1)])
def test_the_level_is_kept_by_our_own_and_by_standard_loggers(level: LogLevel, count: int) -> None:
    log = Log(level)
    for logger in (structlog.get_logger(), logging.getLogger("asyncio")):
        for method in ("debug", "info", "warning", "error"):
            getattr(logger, method)("x")
    assert len(log.events()) == 2 * count


@pytest.mark.parametrize(
    ("level", "heard"),
    [(LogLevel.DEBUG, ["warning", "error"]), (LogLevel.INFO, ["warning", "error"]), (LogLevel.ERROR, ["error"])],
)
def test_what_the_server_says_of_its_start_is_not_in_the_log_and_its_troubles_are(
    level: LogLevel, heard: list[str]
) -> None:
    log = Log(level)
    for name in ("uvicorn", "uvicorn.error"):
        for method in ("debug", "info", "warning", "error"):
            getattr(logging.getLogger(name), method)("Started server process [%d]", 1)
    assert [event["level"] for event in log.events()] == heard * 2


def test_the_request_id_is_on_every_line_of_the_request() -> None:
    log = Log()
    with structlog.contextvars.bound_contextvars(request_id="r1"):
        structlog.get_logger().info("ours")
        logging.getLogger("asyncio").warning("theirs")
    structlog.get_logger().info("after")
    assert [event.get("request_id") for event in log.events()] == ["r1", "r1", None]


def test_libraries_that_show_urls_and_headers_are_heard_from_warning_on() -> None:
    log = Log(LogLevel.DEBUG)
    for name in ("httpx", "httpcore.http11", "anything.else"):
        logging.getLogger(name).info("HTTP Request: POST http://10.0.0.7/v1")
        logging.getLogger(name).warning("heard")
    logging.getLogger("uvicorn.access").warning("GET /?q=secret")
    assert [event["event"] for event in log.events()] == ["heard"] * 3


@pytest.mark.parametrize("fmt", list(LogFormat))
def test_secrets_are_masked_in_every_field_and_nesting(fmt: LogFormat) -> None:
    log = Log(fmt=fmt)
    structlog.get_logger().info(
        "saw upstream-key-123456",
        header={"authorization": "Bearer abcdefgh", "upstream-key-123456": ["okr-abcdefgh2345"]},
        secret=Secret("not-even-known-1"),
        raw=b"upstream-key-123456",
        path=Path("/tmp/upstream-key-123456"),
    )
    logging.getLogger("uvicorn.error").error("key %s", "sk-abcdefghijkl")
    text = log.text()
    for secret in ("upstream-key-123456", "abcdefgh", "okr-", "sk-", "not-even"):
        assert secret not in text
    assert text.count("\n") == 2


@pytest.mark.parametrize("fmt", list(LogFormat))
def test_no_value_can_forge_a_line_or_reach_the_terminal(fmt: LogFormat) -> None:
    log = Log(fmt=fmt)
    structlog.get_logger().info('a\nb\x1b[2J"', **{"k\n\x9b": 'v\r\u2028\x7f\\"', "half": "\ud800"})
    text = log.text()
    assert text.count("\n") == 1
    assert text.rstrip("\n").isprintable()
    if fmt is LogFormat.JSON:
        event = json.loads(text)
        assert (event["event"], event["k\n\x9b"]) == ('a\nb\x1b[2J"', 'v\r\u2028\x7f\\"')


def test_odd_values_are_shown_by_type_and_size_and_long_ones_are_cut() -> None:
    log = Log()
    structlog.get_logger().info(
        "odd",
        thing=object(),
        raw=b"abc",
        huge=2**70,
        nan=float("nan"),
        long="x" * 100_000,
        many=list(range(1000)),
        deep=[[[[[["bottom"]]]]]],
    )
    (event,) = log.events()
    assert (event["thing"], event["raw"], event["huge"], event["nan"]) == ("<object>", "<3 bytes>", "<71 bits>", None)
    assert len(str(event["long"])) < 5000
    assert event["many"] == list(range(64))
    assert "bottom" not in str(event["deep"])


@pytest.mark.parametrize("level", [LogLevel.DEBUG, LogLevel.INFO])
def test_an_exception_shows_its_type_and_places_and_never_its_message(level: LogLevel) -> None:
    log = Log(level)
    try:
        try:
            fail()
        except ValueError as error:
            raise RuntimeError(PROMPT) from error
    except RuntimeError as error:
        structlog.get_logger().exception("broke")
        structlog.get_logger().error("broke", exc_info=error)
        logging.getLogger("uvicorn.error").exception("Exception in ASGI application\n%s", error)
    text = log.text()
    assert PROMPT not in text
    for line in text.splitlines():
        event = json.loads(line)
        assert event["error"] == "RuntimeError"
        assert event["frames"][-1].startswith("test_logs.py:")
        assert event["causes"][0].startswith("ValueError at test_logs.py:")
        assert event["causes"][0].endswith(" fail")


def test_members_of_a_group_are_named_and_their_number_is_bounded() -> None:
    described = describe_exception(ExceptionGroup("many", [KeyError(PROMPT) for _ in range(50)]))
    assert described["error"] == "ExceptionGroup"
    assert described["causes"] == ["KeyError"] * 4


async def test_a_task_that_failed_unseen_is_logged_without_its_message() -> None:
    log = Log()

    async def work() -> None:
        fail()

    task = asyncio.create_task(work())
    await asyncio.wait([task])
    loop = asyncio.get_running_loop()
    loop.call_exception_handler(
        {"message": "Task exception was never retrieved", "future": task, "exception": task.exception()}
    )
    (event,) = log.events()
    assert (event["event"], event["error"]) == ("Task exception was never retrieved", "ValueError")
    assert PROMPT not in log.text()


def test_a_library_that_formats_wrongly_does_not_break_the_log() -> None:
    log = Log()
    logging.getLogger("uvicorn.error").warning("%d items", "many")
    assert log.events()[0]["event"] == "%d items"


def test_a_room_has_its_own_level_and_the_others_the_general_one() -> None:
    stream = io.BytesIO()
    sink = Sink(stream)
    configure_logs(
        sink=sink,
        level=LogLevel.WARNING,
        fmt=LogFormat.JSON,
        scrubber=Scrubber(),
        now=lambda: 1.0,
        levels=[("octoroute.ledger", LogLevel.DEBUG), ("octoroute.edge", LogLevel.ERROR)],
    )

    def say(when: str) -> None:
        for room in ("ledger", "edge", "manage"):
            logger = structlog.stdlib.get_logger(f"octoroute.{room}")
            for level in ("debug", "info", "warning", "error"):
                getattr(logger, level)(f"{when} {room} {level}")

    say("first")
    structlog.get_logger().info("nobody's info")
    structlog.get_logger().warning("nobody's warning")
    set_levels(LogLevel.WARNING, [("octoroute.manage", LogLevel.INFO)])
    say("then")
    sink.close()
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        *(f"first ledger {level}" for level in ("debug", "info", "warning", "error")),
        "first edge error",
        "first manage warning",
        "first manage error",
        "nobody's warning",
        "then ledger warning",
        "then ledger error",
        "then edge warning",
        "then edge error",
        *(f"then manage {level}" for level in ("info", "warning", "error")),
    ]


def test_every_logger_is_named_after_its_room_and_may_have_a_level() -> None:
    named = {
        (path.parts[1], name)
        for path in product_modules()
        for name in re.findall(r'get_logger\("(octoroute[\w.]*)"\)', (ROOT / path).read_text())
    }
    assert len(named) > 5
    assert {name for _, name in named} == {f"octoroute.{room}" for room, _ in named}
    assert {room for room, _ in named} == set(LOGGING_ROOMS)
