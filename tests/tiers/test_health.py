import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from octoroute_py.config.schema import HealthConfig
from octoroute_py.core.words import Tier
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.health import MAX_CONCURRENT_PROBES, HealthProber, LostProbe, Probe
from octoroute_py.tiers.live import Unavailability
from octoroute_py.tiers.table import TierTable
from octoroute_py.transport.base import ConnectFailed, NoSocket, NotPermitted
from tests.fakes.endpoints import endpoint_config, table

Answer = Callable[[Endpoint], int]


class Stop(BaseException):
    """Ends a test's loop from inside `sleep`, as nothing else can."""


class Bench:
    """A prober whose time passes only in its own sleeps; it stops when `rounds` pauses have been slept."""

    def __init__(
        self, tiers: TierTable, answer: Answer, *, pauses: int = 1, config: HealthConfig | None = None
    ) -> None:
        self.now = 1000.0
        self.tiers = tiers
        self.config = config or HealthConfig()
        self.slept: list[float] = []
        self.probed: list[tuple[str, float]] = []
        self.broke: list[str] = []
        self.pauses = pauses
        self.answer = answer
        self.prober = self.make(self.probe, self.sleep)

    def make(
        self,
        probe: Probe,
        sleep: Callable[[float], Awaitable[None]],
        on_lost: Callable[[str, LostProbe], None] | None = None,
    ) -> HealthProber:
        return HealthProber(
            lambda: self.tiers,
            config_getter=lambda: self.config,
            probe=probe,
            clock=lambda: self.now,
            rng=random.Random(4),
            on_failure=self.broke.append,
            on_lost=on_lost,
            sleep=sleep,
        )

    async def probe(self, endpoint: Endpoint, timeout_s: float) -> int:
        self.probed.append((endpoint.id, self.now))
        assert timeout_s == self.config.timeout_seconds
        return self.answer(endpoint)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds > 1.0 or (self.broke and seconds == 1.0):
            self.now += seconds
            self.pauses -= 1
            if self.pauses == 0:
                raise Stop
        await asyncio.sleep(0)

    async def run(self) -> None:
        with pytest.raises(Stop):
            await self.prober.run()


def refuse(_: Endpoint) -> int:
    raise ConnectFailed("refused")


async def test_the_first_round_comes_within_the_first_second_spread_over_the_endpoints() -> None:
    bench = Bench(table(*[endpoint_config(f"fast/a#{at}") for at in range(5)]), lambda _: 200)
    await bench.run()
    waits = bench.slept[:5]
    assert len(set(waits)) == 5
    assert all(0 < wait < 1 for wait in waits)
    assert len(bench.probed) == 5
    assert bench.prober.rounds == 1


async def test_later_rounds_follow_after_the_interval_give_or_take_a_tenth() -> None:
    bench = Bench(table(endpoint_config()), lambda _: 200, pauses=30)
    await bench.run()
    pauses = [seconds for seconds in bench.slept if seconds > 1]
    assert all(27 <= seconds <= 33 for seconds in pauses)
    assert len({round(seconds, 3) for seconds in pauses}) > 20
    assert bench.prober.rounds == 30


@pytest.mark.parametrize("status", [200, 301, 404, 405, 429])
async def test_any_answer_below_500_means_alive(status: int) -> None:
    bench = Bench(table(endpoint_config()), lambda _: status, pauses=5)
    await bench.run()
    one = bench.tiers.endpoints[0]
    assert one.unavailable(bench.now) is None
    assert one.live.last_check is not None


@pytest.mark.parametrize("answer", [refuse, lambda _: 503], ids=["refused", "503"])
async def test_three_failures_in_a_row_take_it_out_and_one_success_brings_it_back(answer: Answer) -> None:
    bench = Bench(table(endpoint_config()), answer, pauses=2)
    one = bench.tiers.endpoints[0]
    await bench.run()
    assert one.unavailable(bench.now) is None
    assert one.live.probe_failures == 2
    bench.pauses = 1
    await bench.run()
    assert one.unavailable(bench.now) is Unavailability.PROBE
    assert bench.now - 33 < one.eligible_at(bench.now) <= bench.now + 33
    assert bench.tiers.tier_trips(Tier.FAST) == 1
    bench.answer, bench.pauses = (lambda _: 200), 1
    await bench.run()
    assert one.unavailable(bench.now) is None


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_credential_takes_it_out(status: int) -> None:
    bench = Bench(table(endpoint_config()), lambda _: status)
    await bench.run()
    assert bench.tiers.endpoints[0].unavailable(1001.0) is Unavailability.AUTH


async def test_a_probe_that_hangs_is_a_failure_at_its_limit() -> None:
    bench = Bench(table(endpoint_config()), lambda _: 200, config=HealthConfig(timeout_seconds=0.001))

    async def hang(endpoint: Endpoint, timeout_s: float) -> int:
        await asyncio.Event().wait()
        return 200

    bench.prober = bench.make(hang, bench.sleep)
    await bench.run()
    assert bench.tiers.endpoints[0].live.probe_failures == 1
    assert bench.broke == []


async def test_endpoints_are_probed_together_but_not_all_at_once() -> None:
    bench = Bench(table(*[endpoint_config(f"fast/a#{at}") for at in range(50)]), lambda _: 200)
    running, most = 0, 0

    async def slow(endpoint: Endpoint, timeout_s: float) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(5):
            await asyncio.sleep(0)
        running -= 1
        return 200

    bench.prober = bench.make(slow, bench.sleep)
    await bench.run()
    assert most == MAX_CONCURRENT_PROBES
    assert all(each.live.last_check is not None for each in bench.tiers.endpoints)


async def test_nobody_is_probed_while_health_checks_are_off() -> None:
    bench = Bench(table(endpoint_config()), lambda _: 200, pauses=3, config=HealthConfig(enabled=False))
    await bench.run()
    assert bench.probed == []
    bench.config, bench.pauses = HealthConfig(), 1
    await bench.run()
    assert len(bench.probed) == 1


async def test_a_loop_that_breaks_is_reported_and_restarted_after_1_2_4_8_s() -> None:
    def bug(_: Endpoint) -> int:
        raise ValueError("a bug")

    bench = Bench(table(endpoint_config()), bug, pauses=7)
    await bench.run()
    restarts = [seconds for seconds in bench.slept if seconds >= 1.0]
    assert restarts == [1.0, 2.0, 4.0, 8.0, 8.0, 8.0, 8.0]
    assert bench.broke == ["panic"] * 7
    assert bench.prober.failures == 7


async def test_a_whole_round_starts_the_restart_waits_over() -> None:
    verdicts = iter([ValueError, ValueError, None, ValueError])

    def sometimes(_: Endpoint) -> int:
        error = next(verdicts)
        if error is not None:
            raise error
        return 200

    bench = Bench(table(endpoint_config()), sometimes, pauses=4)
    await bench.run()
    waits = [seconds for seconds in bench.slept if seconds >= 1.0]
    assert waits[:2] == [1.0, 2.0]
    assert 27 <= waits[2] <= 33
    assert waits[3] == 1.0


def cancelled_once(bench: Bench) -> Callable[[float], Awaitable[None]]:
    left = [1]

    async def sleep(seconds: float) -> None:
        if seconds > 1.0 and left:
            left.pop()
            raise asyncio.CancelledError
        await bench.sleep(seconds)

    return sleep


async def test_a_cancellation_that_nobody_asked_for_does_not_end_the_probing() -> None:
    bench = Bench(table(endpoint_config()), lambda _: 200, pauses=2)
    bench.prober = bench.make(bench.probe, cancelled_once(bench))
    await bench.run()
    assert bench.broke == ["unexpected_termination"]
    assert len(bench.probed) == 2


async def test_cancelling_the_task_ends_it_quietly() -> None:
    bench = Bench(table(endpoint_config()), lambda _: 200, pauses=1000)
    started = asyncio.Event()

    def answer(_: Endpoint) -> int:
        started.set()
        return 200

    bench.answer = answer
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.prober.run())
        await started.wait()
        running = [bench.prober.running]
        task.cancel()
    assert task.cancelled()
    running.append(bench.prober.running)
    assert running == [True, False]
    assert bench.broke == []


async def test_a_reload_is_followed_in_the_next_round() -> None:
    bench = Bench(table(endpoint_config("fast/a#1")), lambda _: 200, pauses=1)
    await bench.run()
    bench.tiers, bench.pauses = table(endpoint_config("fast/b#1")), 1
    await bench.run()
    assert [name for name, _ in bench.probed] == ["fast/a#1", "fast/b#1"]


@pytest.mark.parametrize(
    ("error", "why", "counts_against_it"),
    [
        (OSError(24, "no descriptors"), LostProbe.NO_CLIENT, False),
        (NoSocket("no socket"), LostProbe.NO_CLIENT, True),
        (NotPermitted("leads elsewhere"), LostProbe.NO_URL, True),
        (ConnectFailed("refused"), None, True),
    ],
)
async def test_a_probe_that_could_not_be_made_is_told(
    error: Exception, why: LostProbe | None, counts_against_it: bool
) -> None:
    lost: list[tuple[str, LostProbe]] = []

    def answer(_: Endpoint) -> int:
        raise error

    bench = Bench(table(endpoint_config()), answer)
    bench.prober = bench.make(bench.probe, bench.sleep, on_lost=lambda id_, reason: lost.append((id_, reason)))
    await bench.run()
    one = bench.tiers.endpoints[0]
    assert lost == ([] if why is None else [(one.id, why)])
    assert one.live.probe_failures == int(counts_against_it)
