"""The breaker against a model that is a plain dict, under any order of attempts, verdicts, cancels and waits."""

import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from octoroute_py.config.schema import BreakerConfig
from octoroute_py.core.words import BreakerState
from octoroute_py.tiers.breaker import Breaker

POLICY = BreakerConfig(failure_threshold=3, min_requests=6, window_seconds=20, open_seconds=4, max_open_seconds=40)


class BreakerMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.breaker = Breaker(POLICY, rng=random.Random(3))
        self.model: dict[str, float] = {"row": 0, "until": 0.0, "is_open": 0, "good_trials": 0, "trips": 0, "born": 0}
        self.verdicts: list[tuple[float, bool]] = []
        # Attempts under way: (trial, epoch of the breaker, generation of the model).
        self.attempts: list[tuple[bool, int, float]] = []

    # What happens

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 2.0, 5.0, 20.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.breaker.admits(self.now))
    @rule()
    def begin(self) -> None:
        epoch = self.breaker.epoch
        half_open = bool(self.model["is_open"])
        trial = self.breaker.begin(self.now)
        assert trial == half_open
        self.attempts.append((trial, epoch, self.model["born"]))

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        trial, epoch, born = self._take(data)
        self.breaker.success(self.now, trial=trial, epoch=epoch)
        model = self.model
        if born != model["born"]:
            return
        model["row"] = 0
        if not model["is_open"]:
            self.verdicts.append((self.now, False))
            return
        model["good_trials"] += 1
        if model["good_trials"] == POLICY.half_open_successes:
            model.update(is_open=0, row=0)
            self.verdicts.clear()

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        _, epoch, born = self._take(data)
        self.breaker.failure(self.now, epoch=epoch)
        model = self.model
        if born != model["born"]:
            return
        model["row"] += 1
        if model["is_open"]:
            self._model_opens()
            return
        self.verdicts.append((self.now, True))
        recent = [bad for at, bad in self.verdicts if int(at / 2.0) > int(self.now / 2.0) - 10]
        if model["row"] >= 3 or (len(recent) >= 6 and sum(recent) >= 0.5 * len(recent)):
            self._model_opens()

    @precondition(lambda self: self.attempts)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        trial, epoch, _ = self._take(data)
        before = self.breaker.state(self.now)
        self.breaker.abandon(trial=trial, epoch=epoch)
        assert self.breaker.state(self.now) is before

    @rule()
    def reset(self) -> None:
        self.breaker.reset()
        self.model.update(row=0, is_open=0, born=self.model["born"] + 1)
        self.verdicts.clear()

    def _take(self, data: st.DataObject) -> tuple[bool, int, float]:
        return self.attempts.pop(data.draw(st.integers(0, len(self.attempts) - 1)))

    def _model_opens(self) -> None:
        model = self.model
        until = self.breaker.retry_at(self.now)
        assert self.now + 2 <= until <= self.now + 40
        model.update(is_open=1, until=until, good_trials=0, trips=model["trips"] + 1, born=model["born"] + 1)

    # What holds at any time

    @invariant()
    def it_is_in_the_state_of_the_model(self) -> None:
        if not self.model["is_open"]:
            expected = BreakerState.CLOSED
        else:
            expected = BreakerState.OPEN if self.now < self.model["until"] else BreakerState.HALF_OPEN
        assert self.breaker.state(self.now) is expected
        assert self.breaker.trips == self.model["trips"]

    @invariant()
    def at_most_one_trial_is_under_way(self) -> None:
        trials = [born for trial, _, born in self.attempts if trial and born == self.model["born"]]
        assert len(trials) <= 1
        if self.breaker.state(self.now) is BreakerState.HALF_OPEN:
            assert self.breaker.admits(self.now) == (not trials)

    @invariant()
    def asking_changes_nothing(self) -> None:
        def answers() -> list[object]:
            times = (self.now, self.now + 3, self.now + 1000)
            ask = self.breaker
            return [(ask.state(at), ask.admits(at), ask.retry_at(at), ask.recovered_at, ask.trips) for at in times]

        assert answers() == answers()

    def teardown(self) -> None:
        """Never stuck: whatever happened, cancelling what runs, time and successes lead to closed."""
        for trial, epoch, _ in self.attempts:
            self.breaker.abandon(trial=trial, epoch=epoch)
        self.now += POLICY.max_open_seconds
        for _ in range(POLICY.half_open_successes):
            assert self.breaker.admits(self.now)
            epoch, trial = self.breaker.epoch, self.breaker.begin(self.now)
            self.breaker.success(self.now, trial=trial, epoch=epoch)
        assert self.breaker.state(self.now) is BreakerState.CLOSED


TestBreakerMachine = BreakerMachine.TestCase
TestBreakerMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
