"""Whether the log gets what is asked and answered."""

from octoroute_py.config.schema import LogLevel, ObservabilityConfig
from octoroute_py.core import clock
from octoroute_py.telemetry.content import ContentLog
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink


def content_log(config: ObservabilityConfig, sink: Sink, scrubber: Scrubber) -> ContentLog | None:
    """The log of content, None where none is wanted or lines of level info are not written."""
    if not config.capture_content or config.log_level not in (LogLevel.DEBUG, LogLevel.INFO):
        return None
    return ContentLog(sink, fmt=config.log_format, scrubber=scrubber, now=clock.wall)
