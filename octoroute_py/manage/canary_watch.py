"""Watches the canary deployments that run: counts what their requests came to, and acts on it.

What it finds is acted on in two steps. In memory, at once: a broken limit cuts the canary's share for the very next
request. In the registry, from `run`: the next step, the end, and every cut until it is written down.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from itertools import chain
from typing import Final

import msgspec
import structlog

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import GatewayError, Refused
from octoroute_py.core.registry import Registry
from octoroute_py.core.rollout import CanaryDeployment, RolloutStatus, Side, arm_of
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.manage import canary_moves
from octoroute_py.manage.canary_evidence import MOST_SAMPLES, Measured, samples_of, samples_of_row, sides_of
from octoroute_py.manage.canary_moves import Place, conflict
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.store import Store
from octoroute_py.routing.rollout import Call, Verdict, judge
from octoroute_py.routing.shares import Shares
from octoroute_py.storage.rollouts import Opinion, Served, opinions, served
from octoroute_py.storage.transaction import Transaction

EVERY_S: Final = 5.0
"""How often it looks where no outcome calls for it."""
GATEWAY: Final = "canary"
"""Who the audit says it was."""

_log = structlog.stdlib.get_logger("octoroute.manage")


class Ending(msgspec.Struct, frozen=True):
    """An end that is in force and not written down yet."""

    status: RolloutStatus
    reason: str
    by: Principal | str = GATEWAY


class Acted(msgspec.Struct, frozen=True):
    """What was done about a deployment."""

    verdict: Verdict
    warnings: Sequence[str] = ()


class CanaryWatch:
    """For the event loop's thread. `follow` before the first request, `load` once, then `run` beside the requests.

    `wall` is the clock of the journal's rows.
    """

    def __init__(self, store: Store, documents: Documents, *, shares: Shares, wall: Wall) -> None:
        self._store = store
        self._documents = documents
        self._shares = shares
        self._wall = wall
        self._live: dict[str, Measured] = {}
        self._by_arm: dict[str, str] = {}
        self._endings: dict[str, Ending] = {}
        self._endpoints: Sequence[EndpointConfig] = ()
        self._due = asyncio.Event()
        self._acting = asyncio.Lock()
        self._not_before_s = 0.0

    def follow(self, registry: Registry, endpoints: Sequence[EndpointConfig]) -> None:
        """The registry, or the configuration, has changed: these are the deployments and endpoints in force."""
        self._endpoints = endpoints
        live = {each.id: each for each in registry.canaries.values() if each.status.is_live}
        for ended in self._live.keys() - live.keys():
            del self._live[ended]
            self._endings.pop(ended, None)
        for id_, deployment in live.items():
            sides = sides_of(deployment, endpoints)
            known = self._live.get(id_)
            if known is not None and known.goes_on_as(deployment):
                known.follow(deployment, sides)
            else:
                self._live[id_] = Measured(deployment, sides)
            self._shares.put(id_, deployment.traffic_split.canary)
        self._shares.keep_only(live)
        self._by_arm = {arm_of(id_, side): id_ for id_ in live for side in Side}

    async def load(self) -> None:
        """Learn from the journal what was measured before this process: call it before the first request."""
        for measured in list(self._live.values()):
            try:
                await self.read(measured)
            except Refused:
                _log.error("what a canary did before the start is not known", deployment=measured.deployment.id)
            else:
                self._consider(measured.deployment.id, measured)

    async def read(self, measured: Measured, *, until_ms: int | None = None) -> None:
        """Fill in what the journal has of a deployment. Raises Refused 503."""
        deployment = measured.deployment
        since_ms = deployment.started_ms or 0
        most = max(MOST_SAMPLES, deployment.success_criteria.min_requests)
        arms = [arm_of(deployment.id, side) for side in Side]

        def look(connection: Transaction) -> list[Served]:
            found = (served(connection, arm, since_ms=since_ms, until_ms=until_ms, most=most) for arm in arms)
            return list(chain.from_iterable(found))

        for row in await self._store.read(look):
            measured.take(samples_of_row(row))
        await self.hear(measured, until_ms=until_ms)

    async def hear(self, measured: Measured, *, until_ms: int | None = None) -> None:
        """Read what feedback says since the deployment was started. Raises Refused 503."""
        deployment = measured.deployment
        since_ms = deployment.started_ms or 0

        def look(connection: Transaction) -> dict[Side, list[Opinion]]:
            return {
                side: opinions(connection, arm_of(deployment.id, side), since_ms=since_ms, until_ms=until_ms)
                for side in Side
            }

        measured.hear(await self._store.read(look))

    def saw(self, outcome: Outcome) -> None:
        """A request has ended. Cheap where no deployment decided about it."""
        arms = outcome.arms
        if arms is None or not self._live:
            return
        for arm in arms.split(","):
            id_ = self._by_arm.get(arm)
            if id_ is not None and self._live[id_].take(samples_of(outcome)):
                self._consider(id_, self._live[id_])

    def measured(self, id_: str) -> Measured | None:
        """What is known of a deployment that runs."""
        return self._live.get(id_)

    def fresh(self, deployment: CanaryDeployment) -> Measured:
        """A deployment without any evidence yet, for `read`."""
        return Measured(deployment, sides_of(deployment, self._endpoints))

    def verdict(self, measured: Measured) -> Verdict:
        """What its evidence says now."""
        now_s = self._wall()
        return judge(measured.deployment, measured.evidence(now_s), now_s=now_s)

    def place(self) -> Place:
        """Where and when a move would take place now."""
        return Place(int(self._wall() * 1000.0), self._endpoints)

    def cut(self, id_: str, ending: Ending) -> None:
        """End a deployment that runs: for the very next request, and in the registry as soon as that can be."""
        self._shares.cut(id_)
        self._endings.setdefault(id_, ending)
        self._due.set()

    async def run(self) -> None:
        """Look and act until cancelled."""
        broken = False
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), EVERY_S)
            self._due.clear()
            try:
                await self.look()
                broken = False
            except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
                if not broken:
                    _log.error("watching canaries broke and goes on", exc_info=True)
                broken = True

    async def look(self) -> None:
        """Act on what is known now, and write down what is not written yet; what breaks is raised at the end."""
        broken: Exception | None = None
        for id_ in list(self._live):
            try:
                await self.act(id_)
            except Refused:  # the store has told the log
                self._not_before_s = self._wall() + EVERY_S
            except GatewayError as error:  # somebody else was quicker: the registry tells how it stands
                _log.info("a canary deployment was changed meanwhile", deployment=id_, because=error.client_message)
            except Exception as error:  # noqa: BLE001 - the others have their turn, then `run` reports it
                broken = error
        if broken is not None:
            raise broken

    async def act(self, id_: str, *, by: Principal | str = GATEWAY) -> Acted | None:
        """Do what the evidence says now of a deployment that runs; None for one that does not.

        Raises Refused 503 when it cannot be written down, NotFound and BadRequest 409 where somebody was quicker.
        """
        async with self._acting:
            measured = self._live.get(id_)
            if measured is None:
                return None
            if id_ not in self._endings and Side.CANARY not in measured.sides.values():
                self.cut(id_, Ending(RolloutStatus.FAILED, "The canary's model, or its last endpoint, is gone.", by))
            if id_ not in self._endings and wants_feedback(measured.deployment):
                await self.hear(measured)
            verdict = self.verdict(measured)
            if id_ not in self._endings and verdict.call is Call.ROLLBACK:
                self.cut(id_, Ending(RolloutStatus.ROLLED_BACK, " ".join(verdict.reasons), by))
            if id_ in self._endings:
                ending = self._endings[id_]
                await self._write_ending(id_, ending)
                return Acted(msgspec.structs.replace(verdict, call=Call.ROLLBACK, reasons=(ending.reason,), share=0.0))
            return Acted(verdict, await self._carry_out(measured.deployment, verdict, by=by))

    async def _carry_out(self, deployment: CanaryDeployment, verdict: Verdict, *, by: Principal | str) -> list[str]:
        """Write the next step, or the completion, down; warnings in words."""
        if verdict.call is Call.HOLD:
            return []
        place, reason = self.place(), " ".join(verdict.reasons)

        def work(desk: Desk) -> list[str]:
            if canary_moves.found(desk, deployment.id).step != deployment.step:
                raise conflict("The deployment has gone on meanwhile.")
            if verdict.call is Call.PROCEED:
                canary_moves.widen(desk, deployment.id, verdict.share, place, reason=reason)
                return []
            return canary_moves.complete(desk, deployment.id, place, reason=reason)[1]

        warnings = await self._documents.change(work, by=by)
        _log.info("canary deployment moved", deployment=deployment.id, call=verdict.call.value, share=verdict.share)
        return warnings

    async def _write_ending(self, id_: str, ending: Ending) -> None:
        await self._documents.change(
            lambda desk: canary_moves.roll_back(desk, id_, reason=ending.reason, status=ending.status), by=ending.by
        )
        _log.warning("canary deployment ended", deployment=id_, status=ending.status.value, because=ending.reason)

    def _consider(self, id_: str, measured: Measured) -> None:
        """A canary request has ended: cut at once what is broken, and have the rest done soon."""
        if id_ in self._endings:
            return
        verdict = self.verdict(measured)
        if verdict.call is Call.ROLLBACK:
            self.cut(id_, Ending(RolloutStatus.ROLLED_BACK, " ".join(verdict.reasons)))
        elif verdict.call is not Call.HOLD and self._wall() >= self._not_before_s:
            self._due.set()


def wants_feedback(deployment: CanaryDeployment) -> bool:
    """Whether a criterion needs what people thought."""
    criteria = (deployment.success_criteria, deployment.rollback_criteria)
    return any(each.min_quality_score is not None for each in criteria)
