"""Active probes: every endpoint is asked now and then whether it is alive, and the loop that asks is kept alive.

An answer below 500 means alive, whatever it says, because many servers know no `/models`; 401 and 403 say that our
credential is refused. The HTTP call is injected (`GET {base_url}/models`), so this module knows no client.
"""

import asyncio
import enum
import random
from collections.abc import Awaitable, Callable

from octoroute_py.config.schema import HealthConfig
from octoroute_py.core.clock import Monotonic
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.table import TierTable
from octoroute_py.transport.base import NoSocket, NotPermitted, TransportError

MAX_CONCURRENT_PROBES = 16
FIRST_ROUND_WITHIN_S = 1.0
"""The first probes are spread over this time after the start."""
RESTART_AFTER_S = (1.0, 2.0, 4.0, 8.0)
"""Waits before the loop is started again after it broke; the last one repeats. A whole round starts them over."""

Probe = Callable[[Endpoint, float], Awaitable[int]]
"""Asks an endpoint, with a limit in seconds; the HTTP status, or raises TransportError."""


class LoopFailure(enum.StrEnum):
    """How the loop broke: label `failure_type` of `octoroute_background_health_task_failures_total`."""

    PANIC = "panic"
    UNEXPECTED_TERMINATION = "unexpected_termination"


class LostProbe(enum.StrEnum):
    """Why nobody could be asked: label `error_type` of `octoroute_health_tracking_failures_total`."""

    NO_CLIENT = "http_client_failed"
    NO_URL = "invalid_url"


class HealthProber:
    """The probe loop; `run` it in a task group of the lifespan and cancel it to stop.

    `table_getter` and `config_getter` are asked in every round, so a reload takes effect by itself. `on_failure` gets a
    LoopFailure value each time the loop broke, while the exception is being handled. `failures` counts those times,
    `rounds` the whole rounds.
    """

    def __init__(
        self,
        table_getter: Callable[[], TierTable],
        *,
        config_getter: Callable[[], HealthConfig],
        probe: Probe,
        clock: Monotonic,
        rng: random.Random,
        on_failure: Callable[[str], None],
        on_lost: Callable[[str, LostProbe], None] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.failures = 0
        self.rounds = 0
        self.running = False
        self._table = table_getter
        self._config = config_getter
        self._probe = probe
        self._clock = clock
        self._rng = rng
        self._on_failure = on_failure
        self._on_lost = on_lost
        self._sleep = sleep
        self._restarts = 0

    async def run(self) -> None:
        """Probe until cancelled; a loop that breaks is reported and started again."""
        while True:
            self.running = True
            try:
                await self._loop()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Nobody cancelled us: something we awaited was cancelled on its own.
                self._broke(LoopFailure.UNEXPECTED_TERMINATION)
            except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
                self._broke(LoopFailure.PANIC)
            finally:
                self.running = False
            await self._sleep(RESTART_AFTER_S[min(self._restarts, len(RESTART_AFTER_S)) - 1])

    def _broke(self, how: LoopFailure) -> None:
        self.failures += 1
        self._restarts += 1
        self._on_failure(how)

    async def _loop(self) -> None:
        spread_s = FIRST_ROUND_WITHIN_S
        while True:
            config = self._config()
            started_at = self._clock()
            pause_s = config.interval_seconds * self._rng.uniform(0.9, 1.1)
            if config.enabled:
                await self._round(config, spread_s=spread_s, next_at=started_at + pause_s)
                spread_s = 0.0
            self._restarts = 0
            await self._sleep(max(0.0, started_at + pause_s - self._clock()))

    async def _round(self, config: HealthConfig, *, spread_s: float, next_at: float) -> None:
        table = self._table()
        bound = asyncio.Semaphore(MAX_CONCURRENT_PROBES)
        async with asyncio.TaskGroup() as probes:
            for endpoint in table.endpoints:
                wait_s = self._rng.random() * spread_s
                probes.create_task(self._check(endpoint, config=config, bound=bound, wait_s=wait_s))
                endpoint.live.next_probe_at = next_at
        table.observe(self._clock())
        self.rounds += 1

    async def _check(
        self, endpoint: Endpoint, *, config: HealthConfig, bound: asyncio.Semaphore, wait_s: float
    ) -> None:
        if wait_s > 0:
            await self._sleep(wait_s)
        async with bound:
            try:
                async with asyncio.timeout(config.timeout_seconds):
                    status = await self._probe(endpoint, config.timeout_seconds)
            except (TransportError, TimeoutError) as error:
                if isinstance(error, NotPermitted):
                    self._lost(endpoint, LostProbe.NO_URL)
                elif isinstance(error, NoSocket):
                    self._lost(endpoint, LostProbe.NO_CLIENT)
                endpoint.probe_failed(self._clock(), threshold=config.failure_threshold)
                return
            except OSError:
                self._lost(endpoint, LostProbe.NO_CLIENT)
                return  # we are out of descriptors or memory ourselves: that says nothing of the endpoint
        now = self._clock()
        if status in {401, 403}:
            endpoint.probe_refused(now)
        elif status < 500:
            endpoint.probe_alive(now)
        else:
            endpoint.probe_failed(now, threshold=config.failure_threshold)

    def _lost(self, endpoint: Endpoint, why: LostProbe) -> None:
        if self._on_lost is not None:
            self._on_lost(endpoint.id, why)
