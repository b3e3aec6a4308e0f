"""What this gateway measured of the two models of a canary deployment: one sample for each attempt.

An attempt is good when its answer was, an error when the endpoint failed it, and no sample when it says nothing of the
endpoint: the client left or would not wait any longer, the upstream found the request itself wrong, or our own sockets
had run out.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.ending import CLIENT_GONE, GIVEN_UP
from octoroute_py.core.money import usd
from octoroute_py.core.rollout import CanaryDeployment, Side
from octoroute_py.ledger.entry import AttemptRow
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.routing.rollout import Evidence, Figures
from octoroute_py.storage.rollouts import Opinion, Served
from octoroute_py.telemetry.samples import nearest_rank
from octoroute_py.transport.faults import FaultKind

MOST_SAMPLES: Final = 10_000
"""Of each side, as long as no more are needed for `minRequests`."""
FEWEST_OPINIONS: Final = 10
"""With less feedback, and less than `minRequests`, nothing is said of quality."""
_NO_SAMPLE: Final = frozenset(
    (GIVEN_UP, *(kind.value for kind in (FaultKind.REJECTED, FaultKind.CONTEXT_LENGTH, FaultKind.EXHAUSTED)))
)
_OK: Final = 200


class Sample(msgspec.Struct, frozen=True, gc=False):
    """One attempt: when it ended (Unix s), its latency in ms if it was good, and what it cost."""

    endpoint: str
    at_s: float
    ok: bool
    latency_ms: float | None
    cost_uusd: int


def samples_of(outcome: Outcome) -> Iterator[Sample]:
    """The attempts of a request that ended."""
    began_s = outcome.started_ms / 1000.0
    whole = outcome.error_code is None and outcome.status != CLIENT_GONE
    for attempt in outcome.attempts:
        ok = _verdict(attempt.fault, attempt.status, whole=whole)
        if ok is None:
            continue
        took_s = attempt.ended_s - attempt.started_s
        if outcome.stream and outcome.first_event_s is not None:
            took_s = outcome.started_s + outcome.first_event_s - attempt.started_s
        ended_s = began_s + attempt.ended_s - outcome.started_s
        yield Sample(attempt.endpoint_id, ended_s, ok, took_s * 1e3 if ok else None, attempt.cost_uusd)


def samples_of_row(row: Served) -> Iterator[Sample]:
    """The attempts of a request as its journal row tells them."""
    began_s = row.started_ms / 1000.0
    whole = row.error_code is None and row.status != CLIENT_GONE
    for attempt in _attempts(row):
        ok = _verdict(attempt.fault, attempt.status, whole=whole)
        if ok is None:
            continue
        took_ms = attempt.duration_ms
        if row.stream and row.first_event_us is not None:
            took_ms = row.first_event_us / 1e3 - attempt.started_ms
        ended_s = began_s + (attempt.started_ms + attempt.duration_ms) / 1e3
        yield Sample(attempt.endpoint, ended_s, ok, took_ms if ok else None, attempt.cost_uusd)


def _verdict(fault: str | None, status: int | None, *, whole: bool) -> bool | None:
    """Whether an attempt was good; None where it says nothing of its endpoint."""
    if fault is None:
        return True if whole and status == _OK else None
    return None if fault in _NO_SAMPLE else False


def _attempts(row: Served) -> Sequence[AttemptRow]:
    if row.attempts is not None:
        return msgspec.json.decode(row.attempts, type=list[AttemptRow])
    if row.sends == 0:
        return ()
    # a single good one: it began when the choice was made
    began_ms = (row.routing_us or 0) / 1e3
    return (
        AttemptRow(
            endpoint=row.endpoint,
            tier="",
            status=_OK,
            fault=None,
            started_ms=began_ms,
            duration_ms=row.duration_us / 1e3 - began_ms,
            tokens=0,
            cost_uusd=row.cost_uusd,
        ),
    )


class Tally:
    """The newest samples, at most `most`; those older than `window_s` are forgotten unless they are the last `fewest`.

    Latencies are kept in order, so that a quantile is looked up and not worked out.
    """

    __slots__ = ("_cost_uusd", "_fewest", "_latencies", "_most", "_samples", "_window_s", "errors")

    def __init__(self, *, most: int, fewest: int = 0, window_s: float | None = None) -> None:
        self._most = most
        self._fewest = fewest
        self._window_s = window_s
        self._samples: deque[Sample] = deque()
        self._latencies: list[float] = []
        self._cost_uusd = 0
        self.errors = 0

    @property
    def requests(self) -> int:
        """How many samples there are."""
        return len(self._samples)

    @property
    def average_cost(self) -> float | None:
        """What an attempt cost on average, in USD; None without any."""
        return usd(self._cost_uusd) / len(self._samples) if self._samples else None

    @property
    def since_s(self) -> float | None:
        """When the oldest of them ended (Unix s)."""
        return self._samples[0].at_s if self._samples else None

    def add(self, sample: Sample) -> None:
        """One more; the oldest goes where there are too many."""
        self._samples.append(sample)
        self._cost_uusd += sample.cost_uusd
        self.errors += not sample.ok
        if sample.latency_ms is not None:
            insort(self._latencies, sample.latency_ms)
        if len(self._samples) > self._most:
            self._drop()

    def expire(self, now_s: float) -> None:
        """Forget what is too old."""
        if self._window_s is None:
            return
        while len(self._samples) > self._fewest and self._samples[0].at_s < now_s - self._window_s:
            self._drop()

    def quantile(self, part: float) -> float | None:
        """The latency that this part of the good answers did not exceed, in ms; None when there was none."""
        return nearest_rank(self._latencies, part) if self._latencies else None

    def figures(self) -> Figures:
        """What a verdict is made of."""
        return Figures(len(self._samples), self.errors, self.quantile(0.95))

    def _drop(self) -> None:
        gone = self._samples.popleft()
        self._cost_uusd -= gone.cost_uusd
        self.errors -= not gone.ok
        if gone.latency_ms is not None:
            del self._latencies[bisect_left(self._latencies, gone.latency_ms)]


class LastFew:
    """Whether each of the last attempts was good, at most `most` of them."""

    __slots__ = ("_ok", "errors")

    def __init__(self, *, most: int) -> None:
        self._ok: deque[bool] = deque(maxlen=most)
        self.errors = 0

    def add(self, ok: bool) -> None:
        """One more; the oldest goes where there are too many."""
        if len(self._ok) == self._ok.maxlen:
            self.errors -= not self._ok[0]
        self._ok.append(ok)
        self.errors += not ok

    def figures(self) -> Figures:
        """What a verdict is made of; latencies are not kept."""
        return Figures(len(self._ok), self.errors)


class Measured:
    """Everything measured of one deployment since it was started.

    `deployment` is what the registry says of it now; `sides` tells whose each endpoint is. `quality` is the mean of
    feedback by side, where there is enough of it.
    """

    __slots__ = ("_recent", "_step", "deployment", "quality", "sides", "windows")

    def __init__(self, deployment: CanaryDeployment, sides: Mapping[str, Side]) -> None:
        self.deployment = deployment
        self.sides = sides
        self.quality: Mapping[Side, float] = {}
        least = deployment.success_criteria.min_requests
        window_s = deployment.success_criteria.evaluation_window * 60.0
        self.windows = {side: Tally(most=max(MOST_SAMPLES, least), fewest=least, window_s=window_s) for side in Side}
        self._recent = LastFew(most=least)
        self._step = self._fresh_step()

    @property
    def step_requests(self) -> int:
        """How many canary requests are measured since the step began."""
        return self._step.requests

    def _fresh_step(self) -> Tally:
        return Tally(most=max(MOST_SAMPLES, self.deployment.success_criteria.min_requests))

    def follow(self, deployment: CanaryDeployment, sides: Mapping[str, Side]) -> None:
        """The registry has changed: with a new step its evidence begins anew."""
        before, self.deployment, self.sides = self.deployment, deployment, sides
        if (before.step, before.step_since_ms) != (deployment.step, deployment.step_since_ms):
            self._step = self._fresh_step()

    def goes_on_as(self, deployment: CanaryDeployment) -> bool:
        """Whether what was measured counts for this state of the registry: it is the same run, judged the same way."""
        ours = self.deployment
        return (
            ours.started_ms == deployment.started_ms
            and ours.success_criteria == deployment.success_criteria
            and ours.production_model_id == deployment.production_model_id
            and ours.canary_model_id == deployment.canary_model_id
        )

    def take(self, samples: Iterable[Sample]) -> bool:
        """Count samples; whether any was the canary's."""
        any_canary = False
        for sample in samples:
            side = self.sides.get(sample.endpoint)
            if side is None:
                continue
            self.windows[side].add(sample)
            if side is Side.CANARY:
                any_canary = True
                self._recent.add(sample.ok)
                if sample.at_s * 1000.0 >= (self.deployment.step_since_ms or 0):
                    self._step.add(sample)
        return any_canary

    def evidence(self, now_s: float) -> Evidence:
        """What is known at Unix time `now_s`."""
        for window in self.windows.values():
            window.expire(now_s)
        return Evidence(
            window=self.windows[Side.CANARY].figures(),
            step=self._step.figures(),
            recent=self._recent.figures(),
            quality=self.quality.get(Side.CANARY),
        )

    def hear(self, opinions: Mapping[Side, Sequence[Opinion]]) -> None:
        """What feedback says, of each arm's requests; only answers of the arm's own model count."""
        enough = min(FEWEST_OPINIONS, self.deployment.success_criteria.min_requests)
        found = {}
        for side, said in opinions.items():
            own = [one for one in said if self.sides.get(one.endpoint) is side]
            count = sum(one.count for one in own)
            if count >= enough:
                found[side] = sum(one.total for one in own) / count
        self.quality = found


def sides_of(deployment: CanaryDeployment, endpoints: Sequence[EndpointConfig]) -> Mapping[str, Side]:
    """Whose endpoints are whose, by their ids; a model's endpoints have its id or its name as theirs."""
    named = {deployment.production_model_id: Side.PRODUCTION, deployment.canary_model_id: Side.CANARY}
    return {each.id: named[each.name] for each in endpoints if each.name in named}
