"""Everything that operators have set, as a whole: told, and brought in again, in one transaction or not at all."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config
from octoroute_py.core.catalog import ModelEndpoint
from octoroute_py.core.clock import Wall
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.experiment import Experiment
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rules import AgentPreferences, RoutingRule
from octoroute_py.manage.audit import actor_of
from octoroute_py.manage.references import experiment_as_meant, preferences_as_meant, rule_as_meant
from octoroute_py.manage.store import Store
from octoroute_py.manage.transfer_check import Check, Fault, World, faults
from octoroute_py.manage.transfer_plan import Mode, Plan, State, Wish, Wishes, plan
from octoroute_py.storage import audit, imports, registry, workspaces
from octoroute_py.storage.registry import Change
from octoroute_py.storage.transaction import Transaction

T = TypeVar("T")

ACTION: Final = "config.import"
MOST_FAULTS: Final = 100
"""So many are told at once."""
_AT_ONCE: Final = 16
_ALL: Final = 1_000_000_000

Admit = Callable[[ModelEndpoint, Principal, str], Awaitable[ModelEndpoint]]
"""An endpoint as it may be kept, for whoever brings it; the text says where it stands. Raises BadRequest, Denied."""


class Faulty(BadRequest):
    """An import that cannot be: nothing was changed; `faults` tells what is wrong, the first hundred at least."""

    def __init__(self, found: Sequence[Fault]) -> None:
        told = "one thing is" if len(found) == 1 else f"{len(found)} things are"
        super().__init__(
            f"The import was not carried out: {told} wrong.", code="import_refused", param=found[0].field or None
        )
        self.faults = tuple(found[:MOST_FAULTS])


class Transfer:
    """Export and import over a store.

    `file` is the configuration without what is registered. `admit` looks at every endpoint that is new or changed,
    `checks` at every other document. `changed` is awaited after an import, so that it is in force when it is answered.
    Everything raises Refused 503 when the database cannot be used.
    """

    def __init__(
        self,
        store: Store,
        *,
        file: Callable[[], Config],
        admit: Admit,
        checks: Mapping[Kind, Check],
        wall: Wall,
        changed: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._file = file
        self._admit = admit
        self._checks = checks
        self._wall = wall
        self._changed = changed

    async def whole(self) -> State:
        """Everything, all of one moment."""
        return await self._store.read(_state)

    async def bring_in(self, wishes: Wishes, *, mode: Mode, dry_run: bool, by: Principal) -> Plan:
        """Make what is wished for so; with `dry_run` only tell what that would come to.

        Raises Faulty with everything that is wrong; Denied 403 for what only an admin may bring in.
        """
        now_ms = int(self._wall() * 1000)
        wishes = await asyncio.to_thread(_as_meant, wishes)
        wishes, refused = await self._admitted(wishes, mode=mode, now_ms=now_ms, by=by)

        def think(connection: Transaction) -> Plan:
            return self._thought(connection, wishes, refused, mode=mode, now_ms=now_ms)

        if dry_run:
            return await self._store.read(think)
        change = Change(at_ms=now_ms, actor=actor_of(by), action=ACTION)

        def work(connection: Transaction) -> Plan:
            made = think(connection)
            _carry_out(connection, made, mode=mode, by=change)
            return made

        made = await self._store.write(work)
        await self._changed()
        return made

    async def _admitted(
        self, wishes: Wishes, *, mode: Mode, now_ms: int, by: Principal
    ) -> tuple[Wishes, Sequence[Fault]]:
        """The wishes with their endpoints as they may be kept, and what keeps some of them out.

        Endpoints that stay as they are pass: they were looked at when they were kept.
        """
        wished = wishes.documents.get(Kind.ENDPOINT, ())
        if not wished:
            return wishes, ()
        changes = await self._store.read(
            lambda connection: plan(_state(connection), wishes, mode=mode, now_ms=now_ms).changes
        )
        gate = asyncio.Semaphore(_AT_ONCE)

        async def look(wish: Wish) -> Wish | Fault:
            if (Kind.ENDPOINT.value, wish.id) not in changes or not isinstance(wish.value, ModelEndpoint):
                return wish
            async with gate:
                try:
                    value = await self._admit(wish.value, by, f"{wish.at}.")
                except BadRequest as error:
                    return Fault(field=error.param or wish.at, id=wish.id, message=error.client_message)
            return msgspec.structs.replace(wish, value=value)

        found = await asyncio.gather(*map(look, wished))
        passed = [each for each in found if isinstance(each, Wish)]
        refused = [each for each in found if isinstance(each, Fault)]
        documents = {**wishes.documents, Kind.ENDPOINT: wished if refused else passed}
        return msgspec.structs.replace(wishes, documents=documents), refused

    def _thought(
        self, connection: Transaction, wishes: Wishes, refused: Sequence[Fault], *, mode: Mode, now_ms: int
    ) -> Plan:
        state = _state(connection)
        made = plan(state, wishes, mode=mode, now_ms=now_ms)
        file = self._file()
        before = registry.read(connection)
        world = World(
            registry=_registry_after(before, wishes, made),
            policies=_policies_after(state, made),
            file=file,
            written=frozenset(word for each in file.endpoints for word in (each.name, each.id)),
            owners={each.id: each.model_id for group in before.endpoints.values() for each in group},
            changes=made.changes,
        )
        found = [*refused, *faults(made, wishes, world, checks=self._checks)]
        if found:
            raise Faulty(found)
        return made


def _state(connection: Transaction) -> State:
    rows, _ = workspaces.page(connection, among=None, limit=_ALL, offset=0)
    return State(documents={kind: registry.every(connection, kind) for kind in Kind}, workspaces=rows)


def _carry_out(connection: Transaction, made: Plan, *, mode: Mode, by: Change) -> None:
    imports.rewrite(connection, made.rewrites, by=by)
    for row in made.workspaces:
        workspaces.restore(connection, row, at_ms=by.at_ms, actor=by.actor)
    for id_ in made.forgotten:
        workspaces.remove(connection, id_, at_ms=by.at_ms, actor=by.actor)
    summary = {
        "mode": mode.value,
        "created": len(made.created),
        "updated": len(made.updated),
        "deleted": len(made.deleted),
        "unchanged": made.unchanged,
        "moved": made.moved,
    }
    audit.append(connection, at_ms=by.at_ms, actor=by.actor, action=by.action, subject="config", details=summary)


def _as_meant(wishes: Wishes) -> Wishes:
    """The wishes with tiers written as they are named."""
    documents = {
        kind: [msgspec.structs.replace(wish, value=_meant(wish.value)) for wish in wished]
        for kind, wished in wishes.documents.items()
    }
    return msgspec.structs.replace(wishes, documents=documents)


def _meant(value: msgspec.Struct) -> msgspec.Struct:
    if isinstance(value, RoutingRule):
        return rule_as_meant(value)
    if isinstance(value, AgentPreferences):
        return preferences_as_meant(value)
    return experiment_as_meant(value) if isinstance(value, Experiment) else value


def _registry_after(before: Registry, wishes: Wishes, made: Plan) -> Registry:
    """The registry with what is wished for, without what would be deleted; the order says nothing here."""
    endpoints = {each.id: each for group in before.endpoints.values() for each in group}
    of_kind = {Kind.ENDPOINT: endpoints, Kind.MODEL: before.models, Kind.RULE: before.rules}
    of_kind |= {Kind.PREFERENCES: before.preferences, Kind.CANARY: before.canaries}
    of_kind |= {Kind.EXPERIMENT: before.experiments}
    gone = frozenset(made.deleted)
    after: dict[Kind, dict[str, Any]] = {}
    for kind, values in of_kind.items():
        kept = {id_: value for id_, value in values.items() if (kind.value, id_) not in gone}
        after[kind] = kept | {wish.id: wish.value for wish in wishes.documents.get(kind, ())}
    by_model: dict[str, tuple[ModelEndpoint, ...]] = {}
    for endpoint in after[Kind.ENDPOINT].values():
        by_model[endpoint.model_id] = (*by_model.get(endpoint.model_id, ()), endpoint)
    return Registry(
        version=before.version,
        models=after[Kind.MODEL],
        endpoints=by_model,
        rules=after[Kind.RULE],
        preferences=after[Kind.PREFERENCES],
        canaries=after[Kind.CANARY],
        experiments=after[Kind.EXPERIMENT],
    )


def _policies_after(state: State, made: Plan) -> Mapping[str, Any]:
    kept = {row.id: row.policy for row in state.workspaces if row.id not in made.forgotten}
    return kept | {row.id: row.policy for row in made.workspaces}
