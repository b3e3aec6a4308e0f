"""Which arm of which experiment a request belongs to: the same for the same caller, in every process."""

from collections.abc import Callable, Iterable

import msgspec

from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus
from octoroute_py.core.rules import Conditions
from octoroute_py.features.facts import Facts
from octoroute_py.routing.sticky import weighted

Holds = Callable[[Facts, float], bool]
"""Whether conditions hold for a request at a wall-clock time (seconds)."""
PER_REQUEST = "~"
"""Ends the label of a request that no caller was known of; no arm's name has it."""


class Assignment(msgspec.Struct, frozen=True):
    """The arm a request got; `per_request` when no caller was known, so that the next one may get another."""

    experiment_id: str
    arm: Arm
    per_request: bool = False

    @property
    def label(self) -> str:
        """What the journal is to keep, if the arm did decide."""
        return f"{self.experiment_id}:{self.arm.name}{PER_REQUEST if self.per_request else ''}"


class _Running(msgspec.Struct, frozen=True):
    id: str
    salt: str
    arms: tuple[Arm, ...]
    weights: tuple[float, ...]
    holds: Holds | None


class RunningExperiments:
    """The experiments of a registry that run, in the order they were made.

    `compiled` makes conditions ready to be asked; it is not called for those that hold for all.
    """

    __slots__ = ("_running",)

    def __init__(self, experiments: Iterable[Experiment], *, compiled: Callable[[Conditions], Holds]) -> None:
        self._running = tuple(
            _Running(
                each.id,
                f"experiment:{each.id}",
                each.arms,
                tuple(arm.weight for arm in each.arms),
                None if each.conditions == Conditions() else compiled(each.conditions),
            )
            for each in experiments
            if each.status is ExperimentStatus.RUNNING
        )

    def __bool__(self) -> bool:
        """Whether any runs at all: if not, no facts have to be read for them."""
        return bool(self._running)

    def assign(self, facts: Facts, now: float, *, caller: str | None, request_id: str) -> Assignment | None:
        """The arm of the first experiment whose conditions hold; a request takes part in one at most.

        `caller` is the caller's stable id; without one each request is drawn by its own id.
        """
        for each in self._running:
            if each.holds is None or each.holds(facts, now):
                unit = request_id if caller is None else caller
                return Assignment(
                    each.id, each.arms[weighted(each.salt, unit, each.weights)], per_request=caller is None
                )
        return None


def arm_of(arms: str, experiment_id: str) -> tuple[str, bool] | None:
    """The arm that the journal's labels name for an experiment, and whether the request itself was drawn."""
    for label in arms.split(","):
        id_, _, name = label.rpartition(":")
        if id_ == experiment_id:
            return name.removesuffix(PER_REQUEST), name.endswith(PER_REQUEST)
    return None
