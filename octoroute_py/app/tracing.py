"""Tracing as one part of the application; where it is off, nothing is made and nothing is told."""

from collections.abc import Callable
from typing import Final

from octoroute_py.config.schema import TracingConfig
from octoroute_py.core.errors import ConfigError
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.ledger.spans import SpanTeller
from octoroute_py.telemetry.trace_context import Sampler
from octoroute_py.telemetry.trace_counts import TraceCounts
from octoroute_py.telemetry.tracing import Tracing

FLUSH_WITHIN_S: Final = 2.0
"""How long the end waits for spans that were not sent yet."""

Told = Callable[[Outcome], None]


class Traces:
    """What opens traces (`sampler`) and who hears of outcomes (`told`); None and nobody where tracing is off."""

    def __init__(self, config: TracingConfig, counts: TraceCounts) -> None:
        on = config.otlp_endpoint is not None
        self._tracing = Tracing(config, counts) if on else None
        self.sampler = Sampler(config.sample_ratio) if on else None
        self.told: tuple[Told, ...] = () if self._tracing is None else (SpanTeller(self._tracing),)

    def start(self) -> None:
        """Begin to send. Raises ConfigError where OpenTelemetry is not installed."""
        if self._tracing is not None:
            try:
                self._tracing.start()
            except ImportError as error:
                raise ConfigError(f"tracing: OpenTelemetry is not installed ({error.name})") from None

    def beside(self, report: Told) -> Told:
        """`report`, and the spans of what it is told of."""
        told = self.told
        if not told:
            return report

        def tell(outcome: Outcome) -> None:
            report(outcome)
            for each in told:
                each(outcome)

        return tell

    async def close(self) -> None:
        """Send what waits, and end."""
        if self._tracing is not None:
            await self._tracing.close(within_s=FLUSH_WITHIN_S)
