"""Log lines of the gateway and of the libraries under it: one pipeline, one sink, no secrets and no content.

An exception is logged as its type and the places it passed, never with its message or its locals: those may hold what
a client sent. Only our own loggers and asyncio's follow the configured level; other libraries are heard from `warning`
on, since their debug lines show URLs and headers, and what uvicorn says of its start is said by us.
"""

import enum
import logging
import sys
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from types import TracebackType
from typing import NoReturn

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from octoroute_py.config.schema import LogFormat, LogLevel
from octoroute_py.core.clock import Wall
from octoroute_py.telemetry.lines import Stamp, escaped
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink

Plain = str | int | float | bool | list["Plain"] | dict[str, "Plain"] | None
"""What a log field may be."""

_LEVELS = {
    LogLevel.DEBUG: logging.DEBUG,
    LogLevel.INFO: logging.INFO,
    LogLevel.WARNING: logging.WARNING,
    LogLevel.ERROR: logging.ERROR,
}
_METHODS = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40}
_FOLLOWING = ("octoroute_py", "asyncio")
_FROM_WARNING = ("uvicorn", "uvicorn.error")
_MAX_TEXT_CHARS = 4096
_MAX_FRAMES = 16
_MAX_CAUSES = 4
_MAX_DEPTH = 4
_MAX_ITEMS = 64
_MAX_INT = 2**63 - 1


RoomLevels = Iterable[tuple[str, LogLevel]]
"""Levels of single rooms, by the name of their logger."""


def configure_logs(
    *, sink: Sink, level: LogLevel, fmt: LogFormat, scrubber: Scrubber, now: Wall, levels: RoomLevels = ()
) -> None:
    """Send what structlog and the standard library log to this sink. Called once, by the composition root."""
    pipeline = _Pipeline(sink, fmt=fmt, scrubber=scrubber, now=now)
    structlog.configure(
        processors=[
            _ByRoom(level, levels),
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            pipeline,
        ],
        logger_factory=lambda *name: name[0] if name else "octoroute",
        cache_logger_on_first_use=False,
    )
    set_levels(level, levels)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(pipeline))
    ours, theirs = _LEVELS[level], max(logging.WARNING, _LEVELS[level])
    root.setLevel(theirs)
    for name, least in (*((each, ours) for each in _FOLLOWING), *((each, theirs) for each in _FROM_WARNING)):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(least)
    # The gateway writes its own line for every request.
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False


def set_levels(level: LogLevel, levels: RoomLevels) -> None:
    """Let rooms log from these levels on, and all others from `level`; nothing where logs were not configured by us."""
    by_room = _ByRoom(level, levels)
    processors = structlog.get_config()["processors"]
    if any(isinstance(each, _ByRoom) for each in processors):
        structlog.configure(
            processors=[by_room if isinstance(each, _ByRoom) else each for each in processors],
            wrapper_class=structlog.make_filtering_bound_logger(by_room.least),
        )


class _ByRoom:
    """Drops what is below the level of its logger; the first processor of every logger."""

    def __init__(self, level: LogLevel, levels: RoomLevels) -> None:
        self._others = _LEVELS[level]
        self._rooms = {name: _LEVELS[each] for name, each in levels}
        self.least = min((self._others, *self._rooms.values()))

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        if _METHODS.get(name, logging.CRITICAL) < self._rooms.get(logger, self._others):
            raise structlog.DropEvent
        return event


class _Pipeline:
    """Makes a line of an event and hands it to the sink; the last processor of every logger."""

    def __init__(self, sink: Sink, *, fmt: LogFormat, scrubber: Scrubber, now: Wall) -> None:
        self._sink = sink
        self._text = fmt is LogFormat.TEXT
        self._scrubber = scrubber
        self._now = now

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> NoReturn:
        self.emit(event)
        raise structlog.DropEvent

    def emit(self, event: EventDict) -> None:
        """Write an event with its `level`, `event` and further fields."""
        error = _exception_of(event.pop("exc_info", None))
        fields: dict[str, Plain] = {
            "time": Stamp().at(self._now()),
            "level": str(event.pop("level", "info")),
            "event": self._plain(event.pop("event", ""), _MAX_DEPTH),
        }
        for key, value in event.items():
            fields.setdefault(self._clean(key), self._plain(value, _MAX_DEPTH))
        if error is not None:
            fields.update(describe_exception(error))
        line = as_text(fields) if self._text else msgspec.json.encode(fields).decode("utf-8")
        self._sink.write(escaped(line).encode("utf-8") + b"\n")

    def _plain(self, value: object, depth: int) -> Plain:
        """The value if it is made of plain data; of anything else only its type, since a repr may hold anything."""
        match value:
            case enum.Enum():
                return self._plain(value.value, depth)
            case int() if abs(value) > _MAX_INT:
                return f"<{value.bit_length()} bits>"
            case None | bool() | int() | float():
                return value
            case str() | PurePath():
                return self._clean(str(value))
            case BaseException():
                return _type_name(value)
            case Mapping() if depth > 0:
                return {
                    self._clean(str(key)): self._plain(item, depth - 1)
                    for key, item in list(value.items())[:_MAX_ITEMS]
                }
            case bytes() | bytearray() | memoryview():
                return f"<{len(value)} bytes>"
            case Sequence() | frozenset() | set() if depth > 0:
                return [self._plain(item, depth - 1) for item in list(value)[:_MAX_ITEMS]]
        return f"<{type(value).__name__}>"

    def _clean(self, text: str) -> str:
        # Scrubbed before it is cut, or half a key might stay behind.
        text = self._scrubber.clean(text)
        if len(text) > _MAX_TEXT_CHARS:
            text = text[:_MAX_TEXT_CHARS] + "..."
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


class _Bridge(logging.Handler):
    """Carries what the standard library's loggers say into the pipeline."""

    def __init__(self, pipeline: _Pipeline) -> None:
        super().__init__()
        self._pipeline = pipeline

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        if record.exc_info or record.name == "asyncio":
            # asyncio describes the failed task in further lines, with the message of its exception.
            message = message.partition("\n")[0]
        event: EventDict = {
            **structlog.contextvars.get_contextvars(),
            "level": record.levelname.lower(),
            "event": message,
            "logger": record.name,
        }
        if record.exc_info:
            event["exc_info"] = record.exc_info
        self._pipeline.emit(event)


def describe_exception(error: BaseException) -> dict[str, Plain]:
    """Type, places and causes of an exception, without any message: `error`, `frames` (innermost last), `causes`."""
    described: dict[str, Plain] = {"error": _type_name(error), "frames": _frames(error.__traceback__)}
    causes: list[Plain] = []
    for cause in _causes(error):
        frames = _frames(cause.__traceback__)
        causes.append(f"{_type_name(cause)} at {frames[-1]}" if frames else _type_name(cause))
    if causes:
        described["causes"] = causes
    return described


def _causes(error: BaseException) -> list[BaseException]:
    """What led to the exception, nearest first, and the members of a group."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting and len(found) < _MAX_CAUSES:
        current = waiting.pop(0)
        if isinstance(current, BaseExceptionGroup):
            waiting.extend(current.exceptions)
        cause = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
        if cause is not None:
            waiting.append(cause)
        if current is not error:
            found.append(current)
    return found


def _frames(trace: TracebackType | None) -> list[Plain]:
    frames = [(frame.f_code, line) for frame, line in traceback.walk_tb(trace)][-_MAX_FRAMES:]
    return [f"{_short_path(code.co_filename)}:{line} {code.co_name}" for code, line in frames]


def _short_path(path: str) -> str:
    """The path below our package or below the installed packages: where a project lies is nobody's business."""
    parts = PurePath(path).parts
    for root, keep in (("site-packages", 1), ("octoroute_py", 0)):
        if root in parts:
            return "/".join(parts[parts.index(root) + keep :])
    return parts[-1] if parts else path


def _type_name(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _exception_of(exc_info: object) -> BaseException | None:
    match exc_info:
        case BaseException():
            return exc_info
        case (_, BaseException() as error, _):
            return error
        case True:
            return sys.exc_info()[1]
    return None


def as_text(fields: dict[str, Plain]) -> str:
    """`time level event name=value ...`; values with spaces or quotes are spelled as JSON."""
    parts = [f"{fields['time']} {fields['level']:<7} {fields['event']}"]
    for name, value in fields.items():
        if name in ("time", "level", "event"):
            continue
        bare = isinstance(value, str) and value != "" and not any(sign in value for sign in ' "=\\')
        parts.append(f"{name}={value if bare else msgspec.json.encode(value).decode('utf-8')}")
    return " ".join(parts)
