"""The running experiments of a snapshot, ready to be asked."""

from collections.abc import Iterable, Mapping

from octoroute_py.core.experiment import Arm, ArmStrategy, Experiment, ExperimentStatus
from octoroute_py.core.rules import Conditions
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.experiments import Holds, RunningExperiments
from octoroute_py.routing.rulebook import compiled_conditions


class Trials:
    """The running experiments of a snapshot; `cascades` are the strategies that can be used."""

    __slots__ = ("between_routers", "cascades", "reads_headers", "reads_metadata", "reads_words", "running")

    def __init__(self, experiments: Iterable[Experiment], cascades: Mapping[ArmStrategy, Cascade]) -> None:
        running = [each for each in experiments if each.status is ExperimentStatus.RUNNING]
        books = [compiled_conditions(each.conditions) for each in running]
        strategies = {arm.strategy for each in running for arm in each.arms if arm.strategy is not None}
        self.running = RunningExperiments(running, compiled=_holds)
        self.between_routers = frozenset(each.id for each in running if all(map(_leaves_it_to_a_router, each.arms)))
        """The ids of those whose arms differ in who decides, and in nothing else."""
        self.cascades = cascades
        self.reads_headers = any(book.reads_headers for book in books)
        """Whether conditions look at the headers of a request."""
        self.reads_metadata = any(book.reads_metadata for book in books)
        """Whether conditions look at its metadata."""
        self.reads_words = any(cascades[each].reads_words for each in strategies if each in cascades)
        """Whether a strategy of an arm looks at its words."""


def _leaves_it_to_a_router(arm: Arm) -> bool:
    return arm.tier is None and arm.model_id is None and arm.rule_set is None


def _holds(conditions: Conditions) -> Holds:
    rule = compiled_conditions(conditions).rules[0]
    return lambda facts, now: rule.fails(facts, now) is None
