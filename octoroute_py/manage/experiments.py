"""A/B experiments as operators make, run and read them."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest, Refused
from octoroute_py.core.experiment import ArmStrategy, Experiment, ExperimentStatus, Metric
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rules import RoutingRule, RuleTarget
from octoroute_py.manage.anytime import BLOCK
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.experiment_results import Results, results_of
from octoroute_py.manage.references import doubts, experiment_as_meant, named, refuse_strange
from octoroute_py.manage.store import Store
from octoroute_py.storage import exposures
from octoroute_py.storage.errors import TooLong
from octoroute_py.storage.registry import Document
from octoroute_py.storage.transaction import Transaction

MOST_EXPERIMENTS: Final = 1_000
_LOOKS_AT_ONCE: Final = 1
_OWN_FIELDS: Final = ("name", "conditions")
_ANY_TARGET: Final = (RuleTarget(model_id="fast"),)

Problems = Callable[[RoutingRule], Sequence[tuple[str, str]]]
"""What is wrong with a rule of the right types: the field to blame, and why."""
Unusable = Callable[[ArmStrategy], str | None]
"""Why a strategy cannot decide about requests here and now, as a sentence; None when it can."""


class Move(msgspec.Struct, frozen=True):
    """A step in the life of an experiment: from which states, and into which."""

    word: str
    before: tuple[ExperimentStatus, ...]
    after: ExperimentStatus


START: Final = Move("start", (ExperimentStatus.DRAFT,), ExperimentStatus.RUNNING)
PAUSE: Final = Move("pause", (ExperimentStatus.RUNNING,), ExperimentStatus.PAUSED)
RESUME: Final = Move("resume", (ExperimentStatus.PAUSED,), ExperimentStatus.RUNNING)
STOP: Final = Move("stop", (ExperimentStatus.RUNNING, ExperimentStatus.PAUSED), ExperimentStatus.STOPPED)


class Experiments:
    """The experiments of a registry; what has come of them is read from the journal beside it.

    `endpoints` gives those of the configuration in force, `registry` what is registered. `problems` checks rules, whose
    names and conditions experiments have too. Everything raises Refused 503 when the database cannot be used.
    """

    def __init__(
        self,
        documents: Documents,
        store: Store,
        *,
        wall: Wall,
        endpoints: Callable[[], Sequence[EndpointConfig]],
        registry: Callable[[], Registry],
        problems: Problems,
        unusable: Unusable,
        most: int = MOST_EXPERIMENTS,
    ) -> None:
        self._documents = documents
        self._store = store
        self._wall = wall
        self._endpoints = endpoints
        self._registry = registry
        self._problems = problems
        self._unusable = unusable
        self._most = most
        self._turns = asyncio.Semaphore(_LOOKS_AT_ONCE)

    async def every(self) -> list[Document]:
        """All experiments, in the order they were made."""
        return await self._documents.every(Kind.EXPERIMENT)

    async def get(self, id_: str) -> Document:
        """An experiment. Raises NotFound."""
        return await self._documents.get(Kind.EXPERIMENT, id_)

    async def create(self, experiment: Experiment, *, by: Principal) -> Document:
        """Keep a new experiment, which does not run yet.

        Raises BadRequest: 400 for one that makes no sense, 409 for one too many, a taken id, or a strategy that cannot
        be used here.
        """

        def work(desk: Desk) -> Document:
            if desk.count(Kind.EXPERIMENT) >= self._most:
                raise BadRequest(
                    f"There are {self._most} experiments already, and no more are kept.",
                    status=409,
                    code="limit_reached",
                )
            return desk.create(
                Kind.EXPERIMENT, experiment.id, self._sound(experiment, desk), action="experiment.create"
            )

        return await self._documents.change(work, by=by)

    async def change(
        self, id_: str, rewrite: Callable[[Document], Experiment], *, expect: int | None, by: Principal
    ) -> Document:
        """Put what `rewrite` makes of a draft in its place, if it is at revision `expect` (None: whichever).

        Raises NotFound, BadRequest: as `create`, 409 `conflict` for what is no draft any more, 412.
        """

        def work(desk: Desk) -> Document:
            document = desk.expected(Kind.EXPERIMENT, id_, expect)
            if document.read(Experiment).status is not ExperimentStatus.DRAFT:
                raise _conflict("Only a draft can be changed: what has begun would not say what it compares.")
            return desk.put(Kind.EXPERIMENT, id_, self._sound(rewrite(document), desk), action="experiment.change")

        return await self._documents.change(work, by=by)

    async def remove(self, id_: str, *, expect: int | None, by: Principal) -> None:
        """Forget an experiment that does not run. Raises NotFound, BadRequest 409 `conflict`, 412."""

        def work(desk: Desk) -> None:
            document = desk.expected(Kind.EXPERIMENT, id_, expect)
            if document.read(Experiment).status is ExperimentStatus.RUNNING:
                raise _conflict("It is running: stop it first.")
            desk.remove(Kind.EXPERIMENT, id_, action="experiment.delete")

        await self._documents.change(work, by=by)

    async def move(self, id_: str, move: Move, *, expect: int | None, by: Principal) -> Document:
        """Start, pause, resume or stop an experiment; the very next request goes by it.

        Raises NotFound, BadRequest: 409 `conflict` from a wrong state, or when it could not decide about requests as
        things are now; 412 for another revision.
        """
        now_ms = int(self._wall() * 1000)

        def work(desk: Desk) -> Document:
            document = desk.expected(Kind.EXPERIMENT, id_, expect)
            experiment = document.read(Experiment)
            if experiment.status not in move.before:
                states = " or ".join(move.before)
                raise _conflict(f"It is {experiment.status}; to {move.word} it, it must be {states}.")
            if move.after is ExperimentStatus.RUNNING:
                self._refuse_idle(experiment, desk)
            moved = msgspec.structs.replace(
                experiment,
                status=move.after,
                started_ms=now_ms if move is START else experiment.started_ms,
                stopped_ms=now_ms if move is STOP else experiment.stopped_ms,
            )
            return desk.put(Kind.EXPERIMENT, id_, moved, action=f"experiment.{move.word}")

        return await self._documents.change(work, by=by)

    async def results(self, id_: str) -> Results:
        """What the experiment has shown so far. Raises NotFound, Refused 503 when the look takes too long."""
        experiment = (await self.get(id_)).read(Experiment)
        since_ms = experiment.started_ms
        if since_ms is None:
            return results_of(experiment, ())

        def look(connection: Transaction) -> Results:
            try:
                found = exposures.tallies(connection, experiment.id, since_ms, experiment.metric)
                of_success = experiment.metric is Metric.SUCCESS
                cells = exposures.cells(connection, experiment.id, since_ms, block=BLOCK) if of_success else []
            except TooLong:
                raise Refused(
                    "Too many requests have taken part to be added up in time.", code="too_much", final=True
                ) from None
            return results_of(experiment, found, cells)

        async with self._turns:
            return await self._store.read(look)

    def warnings(self, experiment: Experiment) -> list[str]:
        """What whoever runs this experiment may not expect of it, as things are now."""
        return list(self._doubts(experiment))

    def _doubts(self, experiment: Experiment) -> Iterator[str]:
        registry = self._registry()
        names = (arm.model_id for arm in experiment.arms if arm.model_id is not None)
        yield from doubts(names, registry, self._endpoints(), experiment=True)
        sets = {rule.rule_set for rule in registry.rules.values() if rule.enabled}
        for arm in experiment.arms:
            if arm.rule_set is not None and arm.rule_set not in sets:
                yield f"No rule is of the set '{arm.rule_set}': arm '{arm.name}' differs in nothing."
            if arm.strategy is not None and (why := self._unusable(arm.strategy)) is not None:
                yield f"Arm '{arm.name}' cannot be served: {why}"

    def _sound(self, experiment: Experiment, desk: Desk) -> Experiment:
        """The experiment as it is kept. Raises BadRequest with the field to blame."""
        for param, message in problems_of(experiment, self._problems):
            raise BadRequest(message, param=param)
        experiment = experiment_as_meant(experiment)
        self._refuse_unserved(experiment, desk)
        return experiment

    def _refuse_unserved(self, experiment: Experiment, desk: Desk) -> None:
        """Raises BadRequest: 400 for an arm whose model there is not, 409 for a strategy that cannot be used."""
        refuse_strange(named(experiment), desk, self._endpoints())
        for at, arm in enumerate(experiment.arms):
            why = None if arm.strategy is None else self._unusable(arm.strategy)
            if why is not None:
                raise BadRequest(why, param=f"arms[{at}].strategy", status=409, code="conflict")

    def _refuse_idle(self, experiment: Experiment, desk: Desk) -> None:
        """Raises BadRequest 409 when an arm could decide nothing as things are now."""
        try:
            self._refuse_unserved(experiment, desk)
        except BadRequest as error:
            raise _conflict(error.client_message) from None
        sets = {rule.rule_set for rule in desk.whole().rules.values() if rule.enabled}
        for arm in experiment.arms:
            if arm.rule_set is not None and arm.rule_set not in sets:
                raise _conflict(f"No enabled rule is of the set '{arm.rule_set}' of arm '{arm.name}'.")


def problems_of(experiment: Experiment, of_rule: Problems) -> Iterator[tuple[str, str]]:
    """What is wrong with an experiment by itself: the field to blame, and why.

    `of_rule` looks at its name and its conditions, which are like those of a rule.
    """
    rule = RoutingRule(id=experiment.id, name=experiment.name, conditions=experiment.conditions, targets=_ANY_TARGET)
    yield from ((param, message) for param, message in of_rule(rule) if param.partition(".")[0] in _OWN_FIELDS)
    names: set[str] = set()
    for at, arm in enumerate(experiment.arms):
        if arm.name in names:
            yield f"arms[{at}].name", f"Two arms are called '{arm.name}'."
        names.add(arm.name)
        if sum(way is not None for way in (arm.tier, arm.model_id, arm.strategy, arm.rule_set)) > 1:
            yield f"arms[{at}]", "An arm is one of tier, modelId, strategy and ruleSet, or none of them."


def _conflict(message: str) -> BadRequest:
    return BadRequest(message, status=409, code="conflict")
