"""What finding the rule of a request costs with 4 and with 1,000 rules: python scripts/bench/rules.py [--rules 1000]

Times the first rule that a request matches, as it is asked on the way to an answer, for lists of rules of several
kinds; half of the requests match one. Both lists are timed in turn, round by round; told are the mean of each round's
requests, median (lowest to highest) over the rounds, in microseconds of processor time. Compiling is the list made
ready, in milliseconds. Patterns must be searched one by one, so that they are no part of the mixture.
"""

import argparse
import gc
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from octoroute_py.config.schema import RuleConfig, RuleWhen
from octoroute_py.core.rules import (
    Conditions,
    ContentLength,
    CustomConditions,
    Matcher,
    RequestType,
    RoutingRule,
    RuleTarget,
    TimeOfDay,
)
from octoroute_py.core.words import Importance, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.routing.rulebook import Rulebook, compile_rulebook
from scripts.recorded import machine, spread

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney")
NOW = 1_790_000_000.0
FEW, ROUNDS, REQUESTS = 4, 9, 2_000
KINDS_OF_REQUESTS = tuple(RequestType)

Make = Callable[[int], Conditions]


def by_agent(place: int) -> Conditions:
    """An agent type of its own."""
    return Conditions(agent_type=(f"agent-{place}",))


def by_workspace(place: int) -> Conditions:
    """A workspace and a kind of request."""
    kind = KINDS_OF_REQUESTS[place % len(KINDS_OF_REQUESTS)]
    return Conditions(workspace_id=(f"workspace-{place // len(KINDS_OF_REQUESTS)}",), request_type=(kind,))


def by_length(place: int) -> Conditions:
    """A stretch of lengths."""
    return Conditions(content_length=ContentLength(min=place * 40, max=place * 40 + 39))


def by_header(place: int) -> Conditions:
    """Two headers, of which one is the same in ten rules."""
    return Conditions(
        custom_conditions=CustomConditions(headers={"X-Team": f"team-{place // 10}", "X-App": (f"app-{place}", "any")})
    )


def by_metadata(place: int) -> Conditions:
    """A member that must be so, and one that must not."""
    return Conditions(
        custom_conditions=CustomConditions(metadata={"customer": place, "plan": Matcher(none_of=("free", "trial"))})
    )


def by_time(place: int) -> Conditions:
    """An agent type, at some time of day somewhere."""
    start, zone = f"{place % 24:02}:{place % 60:02}", ZONES[place % len(ZONES)]
    return Conditions(
        agent_type=(f"agent-{place}", f"agent-{place + 1}"),
        time_of_day=TimeOfDay(start=start, end="23:30", timezone=zone),
    )


MAKES: dict[str, Make] = {
    "agent type": by_agent,
    "workspace and request type": by_workspace,
    "length": by_length,
    "headers": by_header,
    "metadata": by_metadata,
    "agent type and time of day": by_time,
}
MIXTURE, PATTERNS = "all of them mixed", "patterns"


class Figures(NamedTuple):
    """Microseconds of each round with few and with many rules, and milliseconds to compile the many."""

    few: list[float]
    many: list[float]
    compiling_ms: float

    @property
    def more(self) -> float:
        """What the many cost beyond the few."""
        return statistics.median(self.many) - statistics.median(self.few)


def book_of(kind: str, count: int) -> Rulebook:
    """So many rules of a kind."""
    if kind == PATTERNS:
        patterns = (RuleWhen(pattern=f"invoice {place}\\b") for place in range(count))
        file = tuple(RuleConfig(name=f"r{at}", tier=Tier.FAST, when=when) for at, when in enumerate(patterns))
        return compile_rulebook(file, (), file_rules=True)
    makes = list(MAKES.values()) if kind == MIXTURE else [MAKES[kind]]
    api = [
        RoutingRule(
            id=f"rule-{place}",
            name=f"rule {place}",
            priority=place % 7,
            conditions=makes[place % len(makes)](place),
            targets=(RuleTarget(model_id="model"),),
        )
        for place in range(count)
    ]
    return compile_rulebook((), api, file_rules=True)


def requests_for(rng: random.Random, *, rules: int, count: int) -> list[Facts]:
    """Requests, half of which match some rule of a list of so many."""
    return [_request(rng, rng.randrange(2 * rules)) for _ in range(count)]


def _request(rng: random.Random, place: int) -> Facts:
    headers = {f"x-other-{n}": "value" for n in range(15)} | {"x-team": f"team-{place // 10}", "x-app": f"app-{place}"}
    return Facts(
        tokens=place * 10,
        characters=place * 40 + rng.randrange(40),
        importance=Importance.NORMAL,
        task_type=TaskType.CODE,
        headers=headers,
        metadata={"customer": str(place), "plan": "paid", "trace": "abc"},
        last_user_text=f"please pay invoice {place} " + "and tell me when that is done " * 10,
        agent_type=f"agent-{place}",
        workspace=f"workspace-{place // len(KINDS_OF_REQUESTS)}",
        request_type=KINDS_OF_REQUESTS[place % len(KINDS_OF_REQUESTS)],
    )


def mean_us(book: Rulebook, requests: Sequence[Facts]) -> float:
    """The mean time to the first rule that a request matches."""
    started = time.thread_time_ns()
    for at, facts in enumerate(requests):
        next(book.matching(facts, NOW + at), None)
    return (time.thread_time_ns() - started) / len(requests) / 1e3


def measure(kind: str, *, rules: int, rng: random.Random) -> Figures:
    """Both lists of a kind, in turn."""
    started = time.thread_time()
    many = book_of(kind, rules)
    compiling_ms = (time.thread_time() - started) * 1e3
    few = book_of(kind, FEW)
    for_few, for_many = (requests_for(rng, rules=each, count=REQUESTS) for each in (FEW, rules))
    if kind == PATTERNS:
        for_few, for_many = for_few[:100], for_many[:100]
    gc.collect()
    gc.freeze()
    rounds = [(mean_us(few, for_few), mean_us(many, for_many)) for _ in range(ROUNDS)]
    return Figures([each for each, _ in rounds], [each for _, each in rounds], compiling_ms)


def table(found: Iterable[tuple[str, Figures]], *, rules: int) -> str:
    """The figures as Markdown."""
    rows = [f"| rules by | {FEW} rules | {rules:,} rules | more | compiling |", "|---|---|---|---|---|"]
    rows += (
        f"| {kind} | {spread(each.few)} µs | {spread(each.many)} µs | {each.more:.1f} µs | {each.compiling_ms:.0f} ms |"
        for kind, each in found
    )
    return "\n".join(rows)


def main() -> None:
    """Measures and prints: a table, and a line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rules", type=int, default=1_000)
    options = parser.parse_args()
    rng = random.Random(0)
    found = {kind: measure(kind, rules=options.rules, rng=rng) for kind in (*MAKES, MIXTURE, PATTERNS)}
    print(f"{machine()}, Python {sys.version.split()[0]}\n")
    print(table(found.items(), rules=options.rules))
    print(msgspec.json.encode({kind: each._asdict() for kind, each in found.items()}).decode())


if __name__ == "__main__":
    main()
