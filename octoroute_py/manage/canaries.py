"""Canary deployments as operators make, steer and watch them."""

from collections.abc import Callable, Iterator
from typing import Final

from octoroute_py.admission.principal import Principal
from octoroute_py.core.errors import BadRequest, Refused
from octoroute_py.core.registry import Kind
from octoroute_py.core.rollout import CanaryBody, CanaryDeployment, RolloutStatus
from octoroute_py.manage import canary_moves
from octoroute_py.manage.canary_evidence import Measured
from octoroute_py.manage.canary_moves import Place, conflict
from octoroute_py.manage.canary_watch import Acted, CanaryWatch, Ending, wants_feedback
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.routing.rollout import Verdict
from octoroute_py.storage.registry import Document

MOST_DEPLOYMENTS: Final = 1_000
"""So many can be kept, ended ones included."""
_EDITED: Final = RolloutStatus.PREPARING
_ENOUGH: Final = 1e-6

Move = Callable[[Desk, str, Place], Document]


class Canaries:
    """The deployments of a registry. Everything raises Refused 503 when the database cannot be used."""

    def __init__(self, documents: Documents, watch: CanaryWatch) -> None:
        self._documents = documents
        self._watch = watch

    async def every(self, status: RolloutStatus | None = None) -> list[Document]:
        """The deployments in the order they were made, those of one status or all."""
        found = await self._documents.every(Kind.CANARY)
        return [each for each in found if status is None or each.read(CanaryDeployment).status is status]

    async def get(self, id_: str) -> Document:
        """A deployment. Raises NotFound."""
        return await self._documents.get(Kind.CANARY, id_)

    async def create(self, deployment: CanaryDeployment, *, by: Principal) -> Document:
        """Keep a new deployment, which starts nothing. Raises BadRequest: 400 with the field to blame, 409."""
        place = self._watch.place()

        def work(desk: Desk) -> Document:
            if desk.count(Kind.CANARY) >= MOST_DEPLOYMENTS:
                raise BadRequest(
                    f"There are {MOST_DEPLOYMENTS} deployments, and no more are kept.",
                    status=409,
                    code="limit_reached",
                )
            _check(deployment, desk, place)
            return desk.create(Kind.CANARY, deployment.id, deployment, action="canary.create")

        return await self._documents.change(work, by=by)

    async def change(
        self, id_: str, rewrite: Callable[[Document], CanaryDeployment], *, expect: int | None, by: Principal
    ) -> Document:
        """Put what `rewrite` makes of it in its place, while it is preparing.

        Raises NotFound, BadRequest: 400 as `create`, 409 for one that was started, 412.
        """
        place = self._watch.place()

        def work(desk: Desk) -> Document:
            document = desk.expected(Kind.CANARY, id_, expect)
            if document.read(CanaryDeployment).status is not _EDITED:
                raise conflict("Only a deployment that is preparing can be changed.")
            deployment = rewrite(document)
            _check(deployment, desk, place)
            return desk.put(Kind.CANARY, id_, deployment, action="canary.change")

        return await self._documents.change(work, by=by)

    async def remove(self, id_: str, *, expect: int | None, by: Principal) -> None:
        """Forget a deployment that does not run. Raises NotFound, BadRequest 409, 412."""

        def work(desk: Desk) -> None:
            if desk.expected(Kind.CANARY, id_, expect).read(CanaryDeployment).status.is_live:
                raise conflict("It runs: roll it back or complete it first.")
            desk.remove(Kind.CANARY, id_, action="canary.delete")

        await self._documents.change(work, by=by)

    async def start(self, id_: str, *, by: Principal) -> Document:
        """Give the canary its first share. Raises NotFound, BadRequest 409."""
        place = self._watch.place()
        return await self._documents.change(lambda desk: canary_moves.start(desk, id_, place), by=by)

    async def pause(self, id_: str, *, by: Principal) -> Document:
        """Leave the share as it is; a broken limit still ends it. Raises as `start`."""
        return await self._documents.change(lambda desk: canary_moves.pause(desk, id_), by=by)

    async def resume(self, id_: str, *, by: Principal) -> Document:
        """Go on. Raises as `start`."""
        return await self._documents.change(lambda desk: canary_moves.resume(desk, id_), by=by)

    async def complete(self, id_: str, *, by: Principal) -> tuple[Document, list[str]]:
        """Let the canary take over for good, whatever was measured; warnings in words. Raises as `start`."""
        place, reason = self._watch.place(), "Completed by an operator."
        return await self._documents.change(lambda desk: canary_moves.complete(desk, id_, place, reason=reason), by=by)

    async def roll_back(self, id_: str, *, reason: str, by: Principal) -> Document:
        """Back to production for everybody, from the next request on, also where that cannot be written down yet.

        Raises NotFound, BadRequest 409, Refused 503: then it is in force and written down later.
        """
        reason = reason or "Rolled back by an operator."
        if self._watch.measured(id_) is None:  # nothing here sends requests to it
            return await self._documents.change(lambda desk: canary_moves.roll_back(desk, id_, reason=reason), by=by)
        self._watch.cut(id_, Ending(RolloutStatus.ROLLED_BACK, reason, by))
        try:
            await self._watch.act(id_)
        except Refused as refused:
            raise Refused(
                "The canary gets no more requests. That could not be written down yet and is tried again.",
                code=refused.code,
                retry_after_s=refused.retry_after_s,
            ) from refused
        return await self.get(id_)

    async def decision(self, id_: str) -> tuple[Document, Verdict]:
        """What would be done now; nothing is. Raises NotFound, BadRequest 409 for one that does not run."""
        document = await self.get(id_)
        deployment = document.read(CanaryDeployment)
        self._refuse_unless_live(deployment)
        measured = self._watch.measured(id_)
        if measured is None:
            measured = await self._from_journal(document)
        elif wants_feedback(deployment):
            await self._watch.hear(measured)
        return document, self._watch.verdict(measured)

    async def execute(self, id_: str, *, by: Principal) -> tuple[Document, Acted]:
        """Do what the evidence says now, and no more than that. Raises NotFound, BadRequest 409."""
        acted = await self._watch.act(id_, by=by)
        document = await self.get(id_)
        if acted is None:
            self._refuse_unless_live(document.read(CanaryDeployment))
            raise conflict("It was started this very moment: try again.")
        return document, acted

    async def measured(self, id_: str) -> tuple[Document, Measured, Verdict]:
        """What was measured of a deployment and what it amounts to; of one that has ended, up to its end.

        Raises NotFound.
        """
        document = await self.get(id_)
        measured = self._watch.measured(id_)
        if measured is None:
            measured = await self._from_journal(document)
        else:
            await self._watch.hear(measured)
        return document, measured, self._watch.verdict(measured)

    async def _from_journal(self, document: Document) -> Measured:
        deployment = document.read(CanaryDeployment)
        measured = self._watch.fresh(deployment)
        if deployment.started_ms is not None:
            until_ms = None if deployment.status.is_live else document.updated_ms
            await self._watch.read(measured, until_ms=until_ms)
        return measured

    @staticmethod
    def _refuse_unless_live(deployment: CanaryDeployment) -> None:
        if not deployment.status.is_live:
            raise conflict(f"The deployment is {deployment.status.value}: it does not run.")


def problems_of(deployment: CanaryBody) -> Iterator[tuple[str, str]]:
    """What is wrong with a deployment by itself: the field to blame, and why."""
    split, highest = deployment.traffic_split, deployment.rollout_strategy.max_traffic_percentage
    if abs(split.production + split.canary - 100.0) > _ENOUGH:
        yield "trafficSplit", "The two parts of trafficSplit must sum to 100."
    if split.canary > highest:
        yield "trafficSplit.canary", "It is above rolloutStrategy.maxTrafficPercentage."
    if deployment.production_model_id == deployment.canary_model_id:
        yield "canaryModelId", "Production and canary are the same model."


def _check(deployment: CanaryBody, desk: Desk, place: Place) -> None:
    """Raises BadRequest with the field to blame."""
    for param, message in problems_of(deployment):
        raise BadRequest(message, param=param)
    canary_moves.check_models(deployment, desk.whole(), place)
