"""Finds the rules a request may match without looking at each of them.

A bitmap index, as packet filters use it (Lakshman and Stiliadis, SIGCOMM 1998): for every fact a table says which rules
it suits, as the bits of an integer, and what all tables agree on is left. What no table knows (an expression, a fifth
header) is asked of the rules that are left.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from octoroute_py.features.facts import Facts
from octoroute_py.routing.conditions import Condition
from octoroute_py.routing.daytime import MINUTE_S
from octoroute_py.routing.rule_tables import MOST_CUTS, MemberTable, SizeTable, TimeTable, WordTable, union
from octoroute_py.routing.shapes import MEMBERS, SIZE, WORD, During, Has, Lacks, Place, Said, Size, Values, Within, Word

MOST_SLOTS: Final = 4
"""So many headers and members that a rule wants are looked up, the rarest of them."""
_NEVER: Final = -1


class RuleIndex:
    """The tables of a list of rules, of which only the conditions matter.

    `rest` are, for each rule, the conditions that still have to be asked when it may match.
    """

    __slots__ = ("_all", "_members", "_minute", "_sizes", "_slots", "_times", "_untimed", "_words", "rest")

    def __init__(self, rules: Sequence[tuple[Condition, ...]], *, most_cuts: int = MOST_CUTS) -> None:
        read = _Sorted(rules)
        self._all = (1 << len(rules)) - 1
        self._words = tuple((WORD[word], self._but(wanted), WordTable(wanted)) for word, wanted in read.words.items())
        sizes = {size: SizeTable(wanted, most_cuts=most_cuts) for size, wanted in read.sizes.items()}
        self._sizes = tuple((SIZE[size], self._but(read.sizes[size]), table) for size, table in sizes.items())
        by_slot = [[each for each in read.slotted if each[1] == slot] for slot in range(MOST_SLOTS)]
        self._slots = tuple(self._but(each) for each in by_slot if each)
        self._members = tuple(
            (MEMBERS[place], table) for place in Place if (table := MemberTable(place, read.slotted, read.lacks))
        )
        self._times = TimeTable(read.times)
        self._untimed = self._but(read.times)
        self._minute = (_NEVER, 0)
        self.rest = read.rest(coarse={size for size, table in sizes.items() if table.coarse})

    def may_match(self, facts: Facts, now: float) -> int:
        """The rules that match at Unix time `now` if their `rest` holds; bit `i` is the rule at place `i`."""
        found = self._all
        for word, others, words in self._words:
            found &= others | words.of(word(facts))
        for size, others, sizes in self._sizes:
            found &= others | sizes.of(size(facts))
        if self._untimed != self._all:
            found &= self._timely(now)
        return self._with_members(facts, found) if found and self._members else found

    def _with_members(self, facts: Facts, found: int) -> int:
        """Those of the rules that find their headers and members."""
        slots = list(self._slots)
        for members, table in self._members:
            found &= ~table.look(members(facts), slots)
        for slot in slots:
            found &= slot
        return found

    def _timely(self, now: float) -> int:
        """The rules that hold in this minute, looked up once a minute."""
        minute = int(now // MINUTE_S)
        known, mask = self._minute
        if known != minute:
            mask = self._untimed | self._times.of(now)
            self._minute = (minute, mask)
        return mask

    def _but(self, wanting: Iterable[tuple[int, *tuple[object, ...]]]) -> int:
        """All rules but those that want something: theirs are the bits."""
        return self._all & ~union(bit for bit, *_ in wanting)


class _Rule:
    """What is being gathered of one rule."""

    def __init__(self, bit: int) -> None:
        self.bit = bit
        self.words: set[Word] = set()
        self.bounds: dict[Size, Within] = {}
        self.within: list[tuple[Size, Condition]] = []
        self.timed = False
        self.has: list[tuple[Has, Condition]] = []
        self.rest: list[Condition] = []


class _Sorted:
    """The conditions of rules by what they look at; the rules are told by their bits."""

    def __init__(self, rules: Sequence[tuple[Condition, ...]]) -> None:
        self.words: dict[Word, list[tuple[int, Values]]] = defaultdict(list)
        self.sizes: dict[Size, list[tuple[int, Within]]] = defaultdict(list)
        self.times: list[tuple[int, During]] = []
        self.lacks: list[tuple[int, Lacks]] = []
        self.slotted: list[tuple[int, int, Has]] = []
        self._rules = [_Rule(1 << place) for place in range(len(rules))]
        for rule, conditions in zip(self._rules, rules, strict=True):
            for condition in conditions:
                self._sort(rule, condition)
            for size, bounds in rule.bounds.items():
                self.sizes[size].append((rule.bit, bounds))
        self._fill_slots()

    def rest(self, *, coarse: Collection[Size]) -> tuple[tuple[Condition, ...], ...]:
        """For each rule, the conditions that no table answers for good."""
        return tuple(
            (*(condition for size, condition in rule.within if size in coarse), *rule.rest) for rule in self._rules
        )

    def _sort(self, rule: _Rule, condition: Condition) -> None:
        shape = condition.shape
        if isinstance(shape, Said) and shape.word not in rule.words:
            rule.words.add(shape.word)
            self.words[shape.word].append((rule.bit, shape.values))
        elif isinstance(shape, Within):
            rule.bounds[shape.size] = shape.narrowed(rule.bounds.get(shape.size))
            rule.within.append((shape.size, condition))
        elif isinstance(shape, During) and not rule.timed:
            rule.timed = True
            self.times.append((rule.bit, shape))
        elif isinstance(shape, Lacks):
            self.lacks.append((rule.bit, shape))
        elif isinstance(shape, Has):
            rule.has.append((shape, condition))
        else:
            rule.rest.append(condition)

    def _fill_slots(self) -> None:
        """Each rule's members into slots, those first that few other rules want too: they leave the fewest rules."""
        wanted = Counter(key for rule in self._rules for has, _ in rule.has for key in _keys(has))
        for rule in self._rules:
            rule.has.sort(key=lambda each: max(wanted[key] for key in _keys(each[0])))
            for slot, (has, _) in enumerate(rule.has[:MOST_SLOTS]):
                self.slotted.append((rule.bit, slot, has))
            rule.rest += (condition for _, condition in rule.has[MOST_SLOTS:])


def _keys(has: Has) -> Iterable[tuple[Place, str, str | bool]]:
    for value in (*has.values.any_of, *has.values.prefixes):
        yield has.place, has.name, value
