"""Rules of a past request, told without its words: what patterns said follows from who decided."""

import random

import pytest

from octoroute_py.config.schema import RuleConfig, RuleWhen
from octoroute_py.core.words import Importance, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.gateway.grounds import kept_facts, without_words
from octoroute_py.routing.explain import recall_rules, try_rules
from octoroute_py.routing.rulebook import Rulebook, compile_rulebook, compile_table
from octoroute_py.routing.rules import BUILT_IN

WORDS = ("ant", "bee", "cat", "dog")
VALUES = ("", "a", "aa", "aaa", "b", "ab")


def drawn_rule(rng: random.Random, name: str) -> RuleConfig:
    when = RuleWhen(
        pattern=rng.choice((None, None, *WORDS, ".*", "^$")),
        min_tokens=rng.choice((None, 3)),
        header=rng.choice(((), (("x-a", rng.choice(VALUES)),), (("x-a", "aa"), ("x-b", "b")))),
    )
    return RuleConfig(name=name, tier=rng.choice(list(Tier)), when=when, enabled=rng.random() < 0.9)


def drawn_facts(rng: random.Random) -> Facts:
    return Facts(
        tokens=rng.randrange(6),
        importance=Importance.NORMAL,
        task_type=rng.choice(list(TaskType)),
        last_user_text=" ".join(rng.choices(WORDS, k=rng.randrange(3))),
        headers={name: rng.choice(VALUES) * rng.choice((1, 9)) for name in ("x-a", "x-b", "x-c") if rng.random() < 0.7},
    )


@pytest.mark.parametrize("seed", range(300))
def test_what_is_recalled_is_what_was_so_or_is_said_to_be_unknown(seed: int) -> None:
    rng = random.Random(seed)
    book = compile_rulebook(tuple(drawn_rule(rng, f"r{n}") for n in range(rng.randrange(8))), (), file_rules=True)
    facts, then = drawn_facts(rng), compile_table(BUILT_IN)
    decided = next((rule.id for rule in book.matching(facts, 0.0)), None)
    kept = kept_facts(without_words(facts), facts, book)
    assert kept.last_user_text == ""
    assert set(kept.headers) <= {"x-a", "x-b"}
    told = recall_rules(book, kept, now=0.0, then=then, decided=decided, asked=True)
    truth = try_rules(book, facts, now=0.0, then=then)
    assert len(told) == len(truth)
    place = len(truth) if decided is None else [rule.id for rule in truth].index(decided)
    for number, (ours, theirs) in enumerate(zip(told, truth, strict=True)):
        if ours.matched is None:
            assert number > place
        else:
            assert ours == theirs


def test_where_no_rule_was_asked_nothing_is_said_of_patterns() -> None:
    book = compile_rulebook((RuleConfig(name="p", tier=Tier.DEEP, when=RuleWhen(pattern="x")),), (), file_rules=True)
    facts = Facts(tokens=1, importance=Importance.NORMAL, task_type=TaskType.CODE)
    (told,) = recall_rules(book, facts, now=0.0, then=None, decided=None, asked=False)
    assert (told.matched, told.failed) == (None, None)
    (told,) = recall_rules(book, facts, now=0.0, then=Rulebook(()), decided=None, asked=True)
    assert (told.matched, told.failed) == (False, "pattern")
