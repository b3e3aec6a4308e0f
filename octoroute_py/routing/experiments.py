"""Which arm of which experiment a request belongs to: the same for the same caller, in every process."""

from collections.abc import Iterable

import msgspec

from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus
from octoroute_py.features.facts import Facts
from octoroute_py.routing.conditions import conditions_of_api
from octoroute_py.routing.rulebook import Rule, Rulebook, Source
from octoroute_py.routing.sticky import weighted


class Assignment(msgspec.Struct, frozen=True):
    """The arm a request got, one of `arms`."""

    experiment_id: str
    arm: Arm
    arms: tuple[Arm, ...]

    @property
    def label(self) -> str:
        """What the journal is to keep, if the arm did decide."""
        return f"{self.experiment_id}:{self.arm.name}"


class RunningExperiments:
    """The experiments of a registry that run, in the order they were made."""

    __slots__ = ("_book", "_running")

    def __init__(self, experiments: Iterable[Experiment]) -> None:
        self._running = {each.id: each for each in experiments if each.status is ExperimentStatus.RUNNING}
        self._book = Rulebook(
            Rule(
                id=each.id,
                name=each.name,
                source=Source.API,
                priority=0,
                conditions=conditions_of_api(each.conditions),
            )
            for each in self._running.values()
        )

    def __bool__(self) -> bool:
        """Whether any runs at all."""
        return bool(self._running)

    @property
    def reads_headers(self) -> bool:
        """Whether conditions look at the headers of a request."""
        return self._book.reads_headers

    @property
    def reads_metadata(self) -> bool:
        """Whether conditions look at the metadata of a request."""
        return self._book.reads_metadata

    def assign(self, facts: Facts, now: float, *, caller: str | None, request_id: str) -> Assignment | None:
        """The arm of the first experiment whose conditions hold at Unix time `now`; a request gets one at most.

        `caller` is the caller's stable id; without one each request is drawn by its own id.
        """
        for rule in self._book.matching(facts, now):
            experiment = self._running[rule.id]
            weights = [arm.weight for arm in experiment.arms]
            drawn = weighted(f"experiment:{rule.id}", request_id if caller is None else caller, weights)
            return Assignment(rule.id, experiment.arms[drawn], experiment.arms)
        return None


def arm_of(arms: str, experiment_id: str) -> str | None:
    """The arm that the journal's labels name for an experiment."""
    for label in arms.split(","):
        id_, _, name = label.rpartition(":")
        if id_ == experiment_id:
            return name
    return None
