"""`/api/routing/rules`: the rules that say where requests go which leave the choice to the gateway."""

from typing import Final

import msgspec
from starlette.types import Receive, Scope

from octoroute_py.core.catalog import Id
from octoroute_py.core.rules import RoutingRule, RuleBody
from octoroute_py.core.words import Role
from octoroute_py.edge.api.answer import Ready, add_routes
from octoroute_py.edge.api.documents import NewId, expected, new_id, read_patch, tagged
from octoroute_py.edge.api.rule_patch import RulePatch
from octoroute_py.edge.api.rule_view import RuleList, RuleView, view
from octoroute_py.edge.api.wire import id_of, principal_of, query, read_json, word, yes_or_no
from octoroute_py.edge.asgi import Table
from octoroute_py.edge.operation import Operation, Parameter
from octoroute_py.manage.rules import Listed, Rules
from octoroute_py.routing.rulebook import Source
from octoroute_py.storage.registry import Document

PATH: Final = "/api/routing/rules"
ONE: Final = "/api/routing/rules/{id:path}"


class RuleOrder(RuleBody, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """A rule to be made; without an id it gets one."""

    id: Id | None = None


class RuleRemoved(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What was removed."""

    success: bool
    rule_id: str


class RuleRoutes:
    """The routes of rules. Rules belong to the whole gateway: keys that are bound to workspaces have no part in it."""

    def __init__(self, rules: Rules, *, new_id: NewId = new_id) -> None:
        self._rules = rules
        self._new_id = new_id

    def add_to(self, table: Table) -> None:
        """Add the routes."""
        add_routes(
            table,
            ("GET", PATH, self._list, Role.VIEWER, LIST),
            ("POST", PATH, self._post, Role.OPERATOR, CREATE),
            ("GET", ONE, self._get, Role.VIEWER, READ),
            ("PATCH", ONE, self._patch, Role.OPERATOR, CHANGE),
            ("DELETE", ONE, self._delete, Role.OPERATOR, DELETE),
        )

    async def _list(self, scope: Scope, receive: Receive) -> RuleList:
        asked = query(scope, "enabled", "source", "ruleSet")
        enabled, source = yes_or_no(asked, "enabled"), word(asked, "source", Source)
        found = [
            self._view(each)
            for each in await self._rules.every(built_in=source is Source.BUILT_IN)
            if source in (None, each.source) and enabled in (None, each.rule.enabled)
        ]
        if "ruleSet" in asked:
            found = [each for each in found if each.rule_set == asked["ruleSet"]]
        return RuleList(rules=found, count=len(found))

    async def _post(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        order = await read_json(scope, receive, RuleOrder)
        rule = RoutingRule(**{**msgspec.structs.asdict(order), "id": order.id or self._new_id()})
        return self._tagged(await self._rules.create(rule, by=principal_of(scope)))

    async def _get(self, scope: Scope, receive: Receive) -> object:
        query(scope)
        found = await self._rules.get(id_of(scope))
        return self._view(found) if found.document is None else self._tagged(found.document)

    async def _patch(self, scope: Scope, receive: Receive) -> Ready:
        query(scope)
        patched = await read_patch(scope, receive, RulePatch, RoutingRule)
        changed = await self._rules.change(
            id_of(scope),
            lambda document: patched(document.body),
            expect=expected(scope),
            by=principal_of(scope),
        )
        return self._tagged(changed)

    async def _delete(self, scope: Scope, receive: Receive) -> RuleRemoved:
        query(scope)
        id_ = id_of(scope)
        await self._rules.remove(id_, expect=expected(scope), by=principal_of(scope))
        return RuleRemoved(success=True, rule_id=id_)

    def _view(self, listed: Listed) -> RuleView:
        rule = listed.rule
        return view(listed, self._rules.warnings(rule) if isinstance(rule, RoutingRule) else None)

    def _tagged(self, document: Document) -> Ready:
        rule = document.read(RoutingRule)
        return tagged(self._view(Listed(id=document.id, source=Source.API, rule=rule, document=document)), document)


LIST: Final = Operation(
    summary="The rules of operators, in the order they are asked",
    answer=RuleList,
    query=(
        Parameter(name="enabled", description="Only those that are, or are not", shape=bool),
        Parameter(name="source", description="Only those of this source; without it api and config", shape=Source),
        Parameter(name="ruleSet", description="Only those of this rule set"),
    ),
)
CREATE: Final = Operation(summary="Make a rule", body=RuleOrder, answer=RuleView, status=201, errors=(409,), etag=True)
READ: Final = Operation(summary="A rule", answer=RuleView, etag=True)
CHANGE: Final = Operation(
    summary="Change a rule: a JSON merge patch, null removes",
    body=RulePatch,
    answer=RuleView,
    errors=(409, 412),
    etag=True,
)
DELETE: Final = Operation(summary="Forget a rule", answer=RuleRemoved, errors=(409, 412))
