"""Why a request goes where it goes: every rule that was considered, what the scorer believes, what the judge said.

The steps are those of the router in force, asked in its order: what is explained is what would happen.
"""

import enum
from typing import TYPE_CHECKING

import msgspec

from octoroute_py.core.decision import Decision
from octoroute_py.core.score import Score
from octoroute_py.core.words import Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.facts import Facts
from octoroute_py.neural.decide import Choice, Limits, Prices
from octoroute_py.neural.flips import Flip
from octoroute_py.routing.conditions import Condition
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.llm import JudgeRouter
from octoroute_py.routing.router import Inquiry
from octoroute_py.routing.rulebook import Rule, Rulebook, Source
from octoroute_py.routing.shapes import Search
from octoroute_py.tiers.eligibility import Misfit

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter, Weighed


class RuleTrial(msgspec.Struct, frozen=True, kw_only=True):
    """One rule held against the facts; `failed` is the first condition that did not hold, `wanted` what it asks for.

    `matched` is None for a rule of a past request that nobody asked then, and whose pattern nobody can ask now.

    Several rules may match; the first of them that names something which can answer decided. `own` tells the rules of
    operators from the built-in ones. A rule has a tier, or else targets: models by the names it gives them, and,
    where it matched, those of them that can answer now, in the order they are tried.
    """

    name: str
    tier: Tier | None
    own: bool
    matched: bool | None
    failed: str | None = None
    wanted: str | None = None
    id: str
    source: Source
    priority: int
    targets: tuple[str, ...] = ()
    eligible: tuple[str, ...] | None = None
    rule_set: str | None = None


class ScorerView(msgspec.Struct, frozen=True, kw_only=True):
    """What the scorer believes of the request, what the policy made of it, and what would have led to another tier."""

    score: Score
    choice: Choice
    flips: tuple[Flip, ...]
    prices: Prices
    limits: Limits


class JudgeState(enum.StrEnum):
    """What the judge has to do with the decision."""

    NOT_NEEDED = "not_needed"
    """A step before it decided."""
    NOT_ASKED = "not_asked"
    """It would be asked next."""
    REMEMBERED = "remembered"
    """It was asked for equal words lately."""
    ANSWERED = "answered"
    FAILED = "failed"


class JudgeView(msgspec.Struct, frozen=True, kw_only=True):
    """The judge's part: on which tier it is asked, by which strategy, and how far that went."""

    tier: Tier
    strategy: Strategy
    state: JudgeState


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The facts a decision rests on; no text of the request is among them. `has_code` None: nobody looked."""

    tokens: int
    importance: Importance
    task_type: TaskType
    model: str
    turns: int
    has_tools: bool
    has_images: bool
    has_code: bool | None


class Walk(msgspec.Struct, frozen=True, kw_only=True):
    """What each step of a router said; `decision` is None when the next step, the judge, was not to be asked."""

    decision: Decision | None = None
    rules: tuple[RuleTrial, ...] = ()
    scorer: ScorerView | None = None
    judge: JudgeView | None = None


class Decider(enum.StrEnum):
    """What said where a request goes; a canary may then take its production model's place."""

    CLIENT = "client"
    """It named a tier or a model."""
    EXPERIMENT = "experiment"
    RULE = "rule"
    """One of the operators'."""
    PREFERENCES = "preferences"
    STRATEGY = "strategy"
    """The built-in rules, the scorer, the judge, or none of them: then the default tier."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and what led to it. `candidates` and `unfit` are endpoint ids; health is not looked at.

    `next_step` is `judge` when the decision is still the judge's: then `tier` is where the request goes if the judge
    fails. `rules`, `scorer` and `judge` are empty when the client named a tier or an endpoint: then nobody is asked.
    `models` are the names that may answer, in the order they are tried, `first` those among whom the first attempt is
    drawn now, `arms` what experiments and canary deployments give the request. `preferred` are the models that its
    agent type prefers and that can answer now, in order; None for one without preferences.
    """

    tier: Tier
    strategy: Strategy
    reason: Reason
    rule: str | None
    confidence: float | None
    next_step: str | None
    default_tier: Tier
    rules: tuple[RuleTrial, ...]
    scorer: ScorerView | None
    judge: JudgeView | None
    candidates: tuple[str, ...]
    unfit: dict[str, Misfit]
    facts: Seen
    models: tuple[str, ...] = ()
    rule_id: str | None = None
    arms: tuple[str, ...] = ()
    decided_by: Decider = Decider.STRATEGY
    preferred: tuple[str, ...] | None = None
    first: tuple[str, ...] = ()


async def walk(
    router: Cascade,
    inquiry: Inquiry,
    *,
    book: Rulebook,
    decided: Decision | None,
    judge_tier: Tier,
    now: float,
    ask_judge: bool,
) -> Walk:
    """Asks each step of the router and keeps what it said, after the rules of operators in `book` at Unix time `now`.

    `decided` is the decision that came before the router, if there is one. The scorer tells its beliefs also where a
    rule decided. The judge is asked only with `ask_judge`.
    """
    built_in = router.rules.book if router.rules is not None else None
    rules = try_rules(book, inquiry.facts, now=now, then=built_in)
    decision = decided
    if decision is None and router.rules is not None:
        decision = await router.rules.route(inquiry)
    scorer = None if router.neural is None else _believes(router.neural, inquiry)
    if decision is None and router.neural is not None:
        decision = await router.neural.route(inquiry)
    if router.judge is None:
        return Walk(decision=decision or router.otherwise, rules=rules, scorer=scorer)
    state = JudgeState.NOT_NEEDED
    if decision is None:
        decision, state = await _judged(router.judge, inquiry, ask_judge=ask_judge)
    view = JudgeView(tier=judge_tier, strategy=router.judge.strategy, state=state)
    return Walk(decision=decision, rules=rules, scorer=scorer, judge=view)


def try_rules(book: Rulebook, facts: Facts, *, now: float, then: Rulebook | None = None) -> tuple[RuleTrial, ...]:
    """Every rule of the book held against the facts at Unix time `now`, in the order they are asked.

    Those of the book `then` come after them, and last the disabled ones.
    """
    asked = (*book.rules, *(then.rules if then is not None else ()))
    tried = []
    for rule in asked:
        failed = rule.fails(facts, now)
        tried.append(_trial(rule, None if failed is None else (failed.key, failed.wants)))
    return (*tried, *(_trial(rule, ("enabled", "being enabled")) for rule in book.disabled))


def recall_rules(
    book: Rulebook, facts: Facts, *, now: float, then: Rulebook | None, decided: str | None, asked: bool
) -> tuple[RuleTrial, ...]:
    """As `try_rules`, of a past request whose words are gone: `facts` are without them.

    What a pattern said follows from what came of it: `decided` is the id of the rule of the book that decided, and
    before it, or everywhere if none did, no pattern was found. Where the rules were not `asked`, and behind the one
    that decided, nobody knows: those rules tell None.
    """
    told, open_ = [], asked
    for rule in book.rules:
        pattern = _pattern_of(rule)
        others = (each for each in rule.conditions if each is not pattern)
        failed = next((each for each in others if not each.shape.holds(facts, now)), None)
        if rule.id == decided:
            failed, open_ = None, False
        elif failed is None and pattern is not None:
            if not open_:
                told.append(msgspec.structs.replace(_trial(rule, None), matched=None))
                continue
            failed = pattern
        told.append(_trial(rule, None if failed is None else (failed.key, failed.wants)))
    return (*told, *try_rules(Rulebook(() if then is None else then.rules, book.disabled), facts, now=now))


def seen(facts: Facts, *, has_code: bool | None) -> Seen:
    """The facts as they may be shown."""
    return Seen(
        tokens=facts.tokens,
        importance=facts.importance,
        task_type=facts.task_type,
        model=facts.model,
        turns=facts.turns,
        has_tools=facts.has_tools,
        has_images=facts.has_images,
        has_code=has_code,
    )


def _pattern_of(rule: Rule) -> Condition | None:
    """The condition of a rule that reads words, the last of its conditions; None for one without."""
    return next((each for each in rule.conditions if isinstance(each.shape, Search)), None)


def _trial(rule: Rule, failed: tuple[str, str] | None) -> RuleTrial:
    return RuleTrial(
        name=rule.name,
        tier=rule.tier,
        own=rule.source is not Source.BUILT_IN,
        matched=failed is None,
        failed=failed[0] if failed is not None else None,
        wanted=failed[1] if failed is not None else None,
        id=rule.id,
        source=rule.source,
        priority=rule.priority,
        targets=tuple(target.model_id for target in rule.targets),
        rule_set=rule.rule_set,
    )


def _believes(neural: "NeuralRouter", inquiry: Inquiry) -> ScorerView | None:
    if not neural.ready:
        return None
    return scorer_view(neural, neural.weigh(inquiry))


def scorer_view(neural: "NeuralRouter", weighed: "Weighed") -> ScorerView:
    """What the scorer believed, and what would have led it elsewhere."""
    return ScorerView(
        score=weighed.asked.score,
        choice=weighed.choice,
        flips=neural.flips(weighed),
        prices=weighed.asked.prices,
        limits=weighed.asked.limits,
    )


async def _judged(judge: JudgeRouter, inquiry: Inquiry, *, ask_judge: bool) -> tuple[Decision | None, JudgeState]:
    known = judge.known(inquiry)
    if known is not None:
        return known, JudgeState.REMEMBERED
    if not ask_judge:
        return None, JudgeState.NOT_ASKED
    decision = await judge.route(inquiry)
    failed = decision.reason is Reason.JUDGE_FAILED
    return decision, JudgeState.FAILED if failed else JudgeState.ANSWERED
