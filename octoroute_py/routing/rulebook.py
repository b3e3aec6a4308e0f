"""The rules as one list: those of the configuration and of the API by priority, and the built-in table in its own book.

What comes first decides; rules of the API name models, which only whoever knows the endpoints can choose from.
"""

import enum
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from octoroute_py.config.schema import RuleConfig
from octoroute_py.core.decision import Decision
from octoroute_py.core.rules import RoutingRule, RuleTarget, TrafficSplit
from octoroute_py.core.words import Reason, Strategy, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.conditions import Condition, conditions_of_api, conditions_of_file
from octoroute_py.routing.rule_index import RuleIndex
from octoroute_py.routing.shapes import Has, Lacks, Place, Said, Shape, Word


class Source(enum.StrEnum):
    """Who made a rule."""

    FILE = "config"
    API = "api"
    BUILT_IN = "built_in"


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """A rule ready to be asked; every condition must hold.

    A rule of the configuration or of the built-in table has a `tier` and the `decision` for it; its id is its name
    behind its source, as in `config:night`. One of the API has `targets` and maybe a `split`, and belongs to a
    `rule_set` or to all requests.
    """

    id: str
    name: str
    source: Source
    priority: int
    tier: Tier | None = None
    targets: tuple[RuleTarget, ...] = ()
    split: TrafficSplit | None = None
    rule_set: str | None = None
    conditions: tuple[Condition, ...]
    decision: Decision | None = None

    def fails(self, facts: Facts, now: float) -> Condition | None:
        """The first condition that does not hold at Unix time `now`, None when the rule matches."""
        for condition in self.conditions:
            if not condition.shape.holds(facts, now):
                return condition
        return None


class Rulebook:
    """Rules in the order they are asked, and those that are switched off."""

    __slots__ = ("_index", "asks", "disabled", "longest_user_tier", "reads_headers", "reads_metadata", "rules")

    def __init__(self, rules: Iterable[Rule], disabled: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self.disabled = tuple(disabled)
        self._index = RuleIndex([rule.conditions for rule in self.rules])
        shapes = [condition.shape for rule in self.rules for condition in rule.conditions]
        self.asks: Mapping[Place, Mapping[str, int]] = {place: _members(shapes, place) for place in Place}
        """The headers and metadata that rules ask for by name, each with the length of the longest value wanted."""
        self.longest_user_tier = max((each.values.longest for each in _user_tiers(shapes)), default=0)
        self.reads_headers = bool(self.asks[Place.HEADERS])
        """Whether a rule looks at the headers of a request."""
        self.reads_metadata = bool(self.asks[Place.METADATA]) or any(True for _ in _user_tiers(shapes))
        """Whether a rule looks at the metadata of a request, where the user's tier may stand too."""

    def matching(self, facts: Facts, now: float) -> Iterator[Rule]:
        """The rules that match at Unix time `now`, in their order; a rule is looked at when it is asked for."""
        return self._matching(facts, now) if self.rules else iter(())

    def _matching(self, facts: Facts, now: float) -> Iterator[Rule]:
        left = self._index.may_match(facts, now)
        while left:
            first = left & -left
            left ^= first
            place = first.bit_length() - 1
            if all(condition.shape.holds(facts, now) for condition in self._index.rest[place]):
                yield self.rules[place]


def compile_rulebook(
    file: tuple[RuleConfig, ...], api: Iterable[RoutingRule], *, file_rules: bool, rule_set: str | None = None
) -> Rulebook:
    """The rules of operators, highest priority first; among equals the file's in its order, then the API's in theirs.

    Of the API's rules those without a rule set are in it, and those of `rule_set`. `file_rules` False leaves out the
    file's: the strategy does not look at them. Raises ConfigError for a file's pattern or time zone that cannot be
    used.
    """
    of_file = [(rule.enabled, _of_file(rule)) for rule in file] if file_rules else []
    of_api = [(rule.enabled, _of_api(rule)) for rule in api if rule.rule_set is None or rule.rule_set == rule_set]
    ordered = sorted((*of_file, *of_api), key=lambda each: -each[1].priority)
    return Rulebook((rule for enabled, rule in ordered if enabled), (rule for enabled, rule in ordered if not enabled))


def compile_table(table: tuple[RuleConfig, ...]) -> Rulebook:
    """The built-in table as a book of its own."""
    return Rulebook(_of_file(rule, source=Source.BUILT_IN) for rule in table)


def _of_file(rule: RuleConfig, *, source: Source = Source.FILE) -> Rule:
    return Rule(
        id=f"{source}:{rule.name}",
        name=rule.name,
        source=source,
        priority=rule.priority,
        tier=rule.tier,
        conditions=conditions_of_file(rule.name, rule.when),
        decision=Decision(
            rule.tier, Strategy.RULE, Reason.RULE_MATCHED, rule=rule.name, rule_id=f"{source}:{rule.name}"
        ),
    )


def _of_api(rule: RoutingRule) -> Rule:
    return Rule(
        id=rule.id,
        name=rule.name,
        source=Source.API,
        priority=rule.priority,
        targets=rule.targets,
        split=rule.traffic_split,
        rule_set=rule.rule_set,
        conditions=conditions_of_api(rule.conditions),
    )


def _members(shapes: Sequence[Shape], place: Place) -> dict[str, int]:
    found: dict[str, int] = {}
    for shape in shapes:
        if isinstance(shape, Has | Lacks) and shape.place is place:
            found[shape.name] = max(found.get(shape.name, 0), shape.values.longest)
    return found


def _user_tiers(shapes: Sequence[Shape]) -> Iterator[Said]:
    return (shape for shape in shapes if isinstance(shape, Said) and shape.word is Word.USER_TIER)
