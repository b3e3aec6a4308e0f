"""Rules as operators make and change them: in one list with those of the configuration, which stay as they are."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import EndpointConfig, RuleConfig
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rules import RoutingRule
from octoroute_py.manage.documents import Desk, Documents, unknown
from octoroute_py.manage.references import doubts, named, refuse_strange, rule_as_meant
from octoroute_py.routing.rulebook import Source
from octoroute_py.storage.registry import Document

MOST_RULES: Final = 2_000
MOST_RULE_BYTES: Final = 4 * 1024 * 1024
"""Of all rules together, as JSON: more of them would hold requests up for seconds while they are made ready."""
_SMALL_BYTES: Final = MOST_RULE_BYTES // MOST_RULES // 2
"""A rule of this size is let in whatever there is: as many as there may be are half of what there may be."""
"""So many can be kept; each is a label of a metric."""
_READ_ONLY: Final = (Source.FILE, Source.BUILT_IN)

Problems = Callable[[RoutingRule], Sequence[tuple[str, str]]]
"""What is wrong with a rule of the right types: the field to blame, and why."""


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """A rule of the list; those of the API have their document."""

    id: str
    source: Source
    rule: RoutingRule | RuleConfig
    document: Document | None = None


class Rules:
    """The rules of a registry, beside those of the configuration.

    `written` gives the file's rules and `endpoints` the endpoints in force, `registry` what is registered; `built_in`
    is the table that is asked last. Everything raises Refused 503 when the database cannot be used.
    """

    def __init__(
        self,
        documents: Documents,
        *,
        written: Callable[[], Sequence[RuleConfig]],
        built_in: Sequence[RuleConfig],
        endpoints: Callable[[], Sequence[EndpointConfig]],
        registry: Callable[[], Registry],
        problems: Problems,
        most: int = MOST_RULES,
    ) -> None:
        self._documents = documents
        self._written = written
        self._built_in = built_in
        self._endpoints = endpoints
        self._registry = registry
        self._problems = problems
        self._most = most

    async def every(self, *, built_in: bool = False) -> list[Listed]:
        """The rules of operators in the order they are asked, or the built-in ones: disabled ones stand there too."""
        if built_in:
            return list(self._of(Source.BUILT_IN))
        api = [_listed(document) for document in await self._documents.every(Kind.RULE)]
        return sorted((*self._of(Source.FILE), *api), key=lambda each: -each.rule.priority)

    async def get(self, id_: str) -> Listed:
        """A rule, whatever its source. Raises NotFound."""
        return self._read_only(id_) or _listed(await self._documents.get(Kind.RULE, id_))

    async def create(self, rule: RoutingRule, *, by: Principal) -> Document:
        """Keep a new rule. Raises BadRequest: 400 for one that makes no sense, 409 for one too many or a taken id."""
        check_rule_id(rule.id)

        def work(desk: Desk) -> Document:
            if desk.count(Kind.RULE) >= self._most:
                raise BadRequest(
                    f"There are {self._most} rules already, and no more are kept.", status=409, code="limit_reached"
                )
            return desk.create(Kind.RULE, rule.id, self._sound(rule, desk), action="rule.create")

        return await self._documents.change(work, by=by)

    async def change(
        self, id_: str, rewrite: Callable[[Document], RoutingRule], *, expect: int | None, by: Principal
    ) -> Document:
        """Put what `rewrite` makes of the rule in its place, if it is at revision `expect` (None: whichever).

        Raises NotFound, BadRequest: 400 as `create`, 409 `read_only`, 412 for another revision.
        """
        self._refuse_read_only(id_)

        def work(desk: Desk) -> Document:
            rule = self._sound(rewrite(desk.expected(Kind.RULE, id_, expect)), desk)
            return desk.put(Kind.RULE, id_, rule, action="rule.change")

        return await self._documents.change(work, by=by)

    async def remove(self, id_: str, *, expect: int | None, by: Principal) -> None:
        """Forget a rule. Raises as `change`."""
        self._refuse_read_only(id_)
        await self._documents.change(
            lambda desk: desk.remove(Kind.RULE, id_, action="rule.delete", expect=expect), by=by
        )

    def warnings(self, rule: RoutingRule) -> list[str]:
        """What whoever wrote this rule may not expect of it, as things are now."""
        names = (target.model_id for target in rule.targets)
        return list(doubts(names, self._registry(), self._endpoints(), split=rule.traffic_split is not None))

    def _sound(self, rule: RoutingRule, desk: Desk) -> RoutingRule:
        """The rule as it is kept. Raises BadRequest with the field to blame."""
        rule = rule_as_meant(rule)
        for param, message in self._problems(rule):
            raise BadRequest(message, param=param)
        refuse_strange(named(rule), desk, self._endpoints())
        _refuse_too_much(rule, desk)
        return rule

    def _of(self, source: Source) -> Iterator[Listed]:
        rules = self._written() if source is Source.FILE else self._built_in
        return (Listed(id=f"{source}:{rule.name}", source=source, rule=rule) for rule in rules)

    def _read_only(self, id_: str) -> Listed | None:
        """The rule of this id that is not of the API. Raises NotFound for one that could be none else."""
        for source in _READ_ONLY:
            if id_.startswith(f"{source}:"):
                found = next((each for each in self._of(source) if each.id == id_), None)
                if found is None:
                    raise unknown(Kind.RULE)
                return found
        return None

    def _refuse_read_only(self, id_: str) -> None:
        found = self._read_only(id_)
        if found is not None:
            place = "is in the configuration file" if found.source is Source.FILE else "is built in"
            raise BadRequest(f"This rule {place}: it cannot be changed here.", status=409, code="read_only")


def _refuse_too_much(rule: RoutingRule, desk: Desk) -> None:
    """Raises BadRequest 409 for a large rule that there is no room for beside the others."""
    size = len(msgspec.json.encode(rule))
    if size > _SMALL_BYTES:
        others = sum(len(each.body) for each in desk.every(Kind.RULE) if each.id != rule.id)
        if others + size > MOST_RULE_BYTES // 2:
            told = f"With so large a rule all of them may not have more than {MOST_RULE_BYTES // 2} bytes."
            raise BadRequest(told, status=409, code="limit_reached")


def check_rule_id(id_: str) -> None:
    """Raises BadRequest for an id that can only be that of a rule which is not of the API."""
    if id_.startswith(tuple(f"{source}:" for source in _READ_ONLY)):
        raise BadRequest("An id that begins so belongs to what is not of the API.", param="id")


def _listed(document: Document) -> Listed:
    return Listed(id=document.id, source=Source.API, rule=document.read(RoutingRule), document=document)
