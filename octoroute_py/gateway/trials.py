"""The running experiments of a snapshot, ready to be asked."""

from collections.abc import Iterable, Mapping

from octoroute_py.core.experiment import Arm, ArmStrategy, Experiment, ExperimentStatus
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.experiments import RunningExperiments


class Trials:
    """The running experiments of a snapshot; `cascades` are the strategies that can be used."""

    __slots__ = ("between_routers", "cascades", "reads_words", "rule_sets", "running")

    def __init__(self, experiments: Iterable[Experiment], cascades: Mapping[ArmStrategy, Cascade]) -> None:
        running = [each for each in experiments if each.status is ExperimentStatus.RUNNING]
        strategies = {arm.strategy for each in running for arm in each.arms if arm.strategy is not None}
        self.running = RunningExperiments(running)
        self.between_routers = frozenset(each.id for each in running if all(map(_leaves_it_to_a_router, each.arms)))
        """The ids of those whose arms differ in who decides, and in nothing else."""
        self.cascades = cascades
        self.rule_sets = frozenset(arm.rule_set for each in running for arm in each.arms if arm.rule_set is not None)
        """The rule sets that requests may be given."""
        self.reads_words = any(cascades[each].reads_words for each in strategies if each in cascades)
        """Whether a strategy of an arm looks at the words of a request."""


def _leaves_it_to_a_router(arm: Arm) -> bool:
    return arm.tier is None and arm.model_id is None and arm.rule_set is None
