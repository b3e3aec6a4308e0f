"""The last decisions, kept as references and told when somebody asks (`grounds` says which).

What was worked out then and what nobody asked then are kept apart: a receipt never asks anything again that depends on
the moment or on words, and says of each such thing that it is not known.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.words import Reason
from octoroute_py.gateway.endpoint_choice import chosen_endpoint
from octoroute_py.gateway.explaining import decider_of
from octoroute_py.gateway.grounds import Grounds
from octoroute_py.gateway.plan import narrowed
from octoroute_py.gateway.receipt import Receipt, ReceiptKey, attempt_view, receipt_of_row
from octoroute_py.ledger.entry import attempt_row, entry_of
from octoroute_py.ledger.outcome import Outcome
from octoroute_py.routing.explain import (
    Decider,
    JudgeState,
    JudgeView,
    RuleTrial,
    ScorerView,
    recall_rules,
    scorer_view,
    seen,
)
from octoroute_py.tiers.pool import Pool

MOST: Final = 2_000
"""How many decisions are kept."""
MOST_GENERATIONS: Final = 8
"""How many configurations the kept decisions hold in memory; of older decisions only what came of them is left."""


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A request that was decided about; `grounds` are gone when its configuration was replaced too often."""

    outcome: Outcome
    grounds: Grounds | None
    generation: int


class Receipts:
    """The last decisions of this process. For the event loop's thread."""

    __slots__ = ("_kept", "_newest")

    def __init__(self, *, most: int = MOST) -> None:
        self._kept: deque[Kept] = deque(maxlen=most)
        self._newest = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, outcome: Outcome, grounds: Grounds) -> None:
        """Keep a decision whose request has ended; the oldest makes room for it."""
        generation = grounds.snapshot.generation
        if generation > self._newest:
            self._newest = generation
            self._forget_before(generation - MOST_GENERATIONS + 1)
        self._kept.append(Kept(outcome, grounds, generation))

    def of(self, request_id: str) -> Iterator[Kept]:
        """Those of a request id, newest first."""
        return (each for each in reversed(self._kept) if each.outcome.request_id == request_id)

    def _forget_before(self, generation: int) -> None:
        for place, kept in enumerate(self._kept):
            if kept.generation < generation and kept.grounds is not None:
                self._kept[place] = Kept(kept.outcome, None, kept.generation)


def tell(kept: Kept, *, shows_key: bool) -> Receipt:
    """The receipt of a kept decision; `shows_key` tells whose it was, too."""
    outcome, grounds = kept.outcome, kept.grounds
    key = ReceiptKey(id=outcome.key_id, name=outcome.principal) if shows_key else None
    told = receipt_of_row(entry_of(outcome), key=key, generation=kept.generation)
    attempts = tuple(attempt_view(attempt_row(each, outcome.started_s)) for each in outcome.attempts)
    told = msgspec.structs.replace(told, attempts=attempts, rule_id=outcome.rule_id)
    return told if grounds is None else _explained(told, outcome, grounds)


def _explained(told: Receipt, outcome: Outcome, grounds: Grounds) -> Receipt:
    way, decision = grounds.way, grounds.plan.decision
    carried_out = narrowed(grounds.plan, grounds.needs)
    misfits = {endpoint.id: grounds.needs.misfit(endpoint.config) for endpoint in grounds.plan.pools[0].endpoints}
    decider = Decider.CLIENT if way is None else decider_of(grounds.governed, way)
    rules = _rules(grounds, decider)
    scorer = _scorer(grounds)
    preferred = _preferred(grounds, decider, outcome.agent_type)
    choice, first = chosen_endpoint(
        grounds.plan, grounds.needs, outcome.attempts, grounds.snapshot.config.routing.balancer
    )
    router = grounds.snapshot.router if way is None else way.router
    return msgspec.structs.replace(
        told,
        tier=decision.tier,
        strategy=decision.strategy,
        reason=decision.reason,
        rule=decision.rule,
        rule_id=decision.rule_id,
        confidence=decision.confidence,
        default_tier=router.otherwise.tier,
        rules=rules,
        scorer=scorer,
        judge=_judge(grounds),
        candidates=tuple(each for each, found in misfits.items() if found is None),
        unfit={each: found for each, found in misfits.items() if found is not None},
        facts=None if grounds.facts is None else seen(grounds.facts, has_code=grounds.has_code),
        models=tuple(dict.fromkeys(endpoint.name for endpoint in carried_out.endpoints())),
        arms=tuple(exposure.label for exposure in grounds.plan.exposures),
        decided_by=decider,
        preferred=preferred,
        first=first,
        why_endpoint=choice,
        complete=True,
        unknown=tuple(_unknown(grounds, rules, preferred=preferred, agent_type=outcome.agent_type)),
    )


def _rules(grounds: Grounds, decider: Decider) -> tuple[RuleTrial, ...]:
    way = grounds.way
    if way is None or grounds.facts is None:
        return ()
    decided = grounds.governed.decision.rule_id if decider is Decider.RULE and grounds.governed is not None else None
    trials = recall_rules(
        way.book,
        grounds.facts,
        now=grounds.wall_s,
        then=None if way.router.rules is None else way.router.rules.book,
        decided=decided,
        asked=way.plan is None,
    )
    return tuple(_with_eligible(grounds, trials, decided=decided, asked=way.plan is None))


def _with_eligible(
    grounds: Grounds, trials: tuple[RuleTrial, ...], *, decided: str | None, asked: bool
) -> Iterator[RuleTrial]:
    """The trials, and which targets of a rule could answer then: of the one that decided, and of those before it."""
    for trial in trials:
        if trial.id == decided:
            asked = False
            names = _names(grounds, trial.targets)
            yield msgspec.structs.replace(trial, eligible=names) if trial.targets else trial
        elif asked and trial.matched and trial.targets:
            yield msgspec.structs.replace(trial, eligible=())
        else:
            yield trial


def _names(grounds: Grounds, named: Iterable[str]) -> tuple[str, ...]:
    """By which of these names the pools of the operators' plan were meant, in the order of the plan."""
    left: dict[Pool, list[str]] = {}
    for name in dict.fromkeys(named):
        pool = grounds.snapshot.targets.pool(name, also=tuple(ModelStatus))
        if pool is not None:
            left.setdefault(pool, []).append(name)
    plan = grounds.governed
    return () if plan is None else tuple(left[pool].pop(0) for pool in plan.pools if left.get(pool))


def _preferred(grounds: Grounds, decider: Decider, agent_type: str) -> tuple[str, ...] | None:
    """The preferred models that could answer then: known where the preferences were asked."""
    preferences = grounds.snapshot.registry.preferences.get(agent_type)
    if preferences is None or decider not in (Decider.PREFERENCES, Decider.STRATEGY):
        return None
    return _names(grounds, (*preferences.preferred_models, *preferences.fallback_models))


def _scorer(grounds: Grounds) -> ScorerView | None:
    neural = None if grounds.way is None else grounds.way.router.neural
    if neural is None or grounds.notes is None or grounds.notes.weighed is None:
        return None
    return scorer_view(neural, grounds.notes.weighed)


def _judge(grounds: Grounds) -> JudgeView | None:
    judge = None if grounds.way is None else grounds.way.router.judge
    if judge is None:
        return None
    state, decision = JudgeState.NOT_NEEDED, grounds.decision
    if decision is not None and decision.reason is Reason.JUDGE_FAILED:
        state = JudgeState.FAILED
    elif decision is not None and decision.reason is Reason.LLM_JUDGED:
        remembered = grounds.notes is not None and grounds.notes.remembered
        state = JudgeState.REMEMBERED if remembered else JudgeState.ANSWERED
    return JudgeView(tier=grounds.snapshot.config.routing.router_tier, strategy=judge.strategy, state=state)


def _unknown(
    grounds: Grounds, rules: tuple[RuleTrial, ...], *, preferred: tuple[str, ...] | None, agent_type: str
) -> Iterator[str]:
    """What an explanation would have told, and nobody asked when it was decided."""
    if grounds.facts is None:
        yield "facts"
    elif grounds.has_code is None:
        yield "facts.has_code"
    way = grounds.way
    if way is None:
        return
    if any(trial.matched is None for trial in rules):
        yield "rules.matched"
    if any(trial.matched and trial.targets and trial.eligible is None for trial in rules):
        yield "rules.eligible"
    if preferred is None and agent_type in grounds.snapshot.registry.preferences:
        yield "preferred"
    if way.router.neural is not None and (grounds.notes is None or grounds.notes.weighed is None):
        yield "scorer"
