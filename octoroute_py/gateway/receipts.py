"""The last decisions, kept as references and told when somebody asks (`trace` says what of).

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
from octoroute_py.gateway.plan import narrowed
from octoroute_py.gateway.receipt import KeyView, Receipt, attempt_view, receipt_of_row
from octoroute_py.gateway.trace import Trace
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
    """A request that was decided about; `trace` is gone when its configuration was replaced too often."""

    outcome: Outcome
    trace: Trace | None
    generation: int


class Receipts:
    """The last decisions of this process. For the event loop's thread."""

    __slots__ = ("_kept", "_newest")

    def __init__(self, *, most: int = MOST) -> None:
        self._kept: deque[Kept] = deque(maxlen=most)
        self._newest = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, outcome: Outcome, trace: Trace) -> None:
        """Keep a decision whose request has ended; the oldest makes room for it."""
        generation = trace.snapshot.generation
        if generation > self._newest:
            self._newest = generation
            self._forget_before(generation - MOST_GENERATIONS + 1)
        self._kept.append(Kept(outcome, trace, generation))

    def of(self, request_id: str) -> Iterator[Kept]:
        """Those of a request id, newest first."""
        return (each for each in reversed(self._kept) if each.outcome.request_id == request_id)

    def _forget_before(self, generation: int) -> None:
        for place, kept in enumerate(self._kept):
            if kept.generation < generation and kept.trace is not None:
                self._kept[place] = Kept(kept.outcome, None, kept.generation)


def tell(kept: Kept, *, shows_key: bool) -> Receipt:
    """The receipt of a kept decision; `shows_key` tells whose it was, too."""
    outcome, trace = kept.outcome, kept.trace
    key = KeyView(id=outcome.key_id, name=outcome.principal) if shows_key else None
    told = receipt_of_row(entry_of(outcome), key=key, generation=kept.generation)
    attempts = tuple(attempt_view(attempt_row(each, outcome.started_s)) for each in outcome.attempts)
    told = msgspec.structs.replace(told, attempts=attempts, rule_id=outcome.rule_id)
    return told if trace is None else _explained(told, outcome, trace)


def _explained(told: Receipt, outcome: Outcome, trace: Trace) -> Receipt:
    way, decision = trace.way, trace.plan.decision
    carried_out = narrowed(trace.plan, trace.needs)
    misfits = {endpoint.id: trace.needs.misfit(endpoint.config) for endpoint in trace.plan.pools[0].endpoints}
    decider = Decider.CLIENT if way is None else decider_of(trace.governed, way)
    rules = _rules(trace, decider)
    scorer = _scorer(trace)
    preferred = _preferred(trace, decider, outcome.agent_type)
    choice, first = chosen_endpoint(trace.plan, trace.needs, outcome.attempts, trace.snapshot.config.routing.balancer)
    router = trace.snapshot.router if way is None else way.router
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
        judge=_judge(trace),
        candidates=tuple(each for each, found in misfits.items() if found is None),
        unfit={each: found for each, found in misfits.items() if found is not None},
        facts=None if trace.facts is None else seen(trace.facts, has_code=trace.has_code),
        models=tuple(dict.fromkeys(endpoint.name for endpoint in carried_out.endpoints())),
        arms=tuple(exposure.label for exposure in trace.plan.exposures),
        decided_by=decider,
        preferred=preferred,
        first=first,
        why_endpoint=choice,
        complete=True,
        unknown=tuple(_unknown(trace, rules, preferred=preferred, agent_type=outcome.agent_type)),
    )


def _rules(trace: Trace, decider: Decider) -> tuple[RuleTrial, ...]:
    way = trace.way
    if way is None or trace.facts is None:
        return ()
    decided = trace.governed.decision.rule_id if decider is Decider.RULE and trace.governed is not None else None
    trials = recall_rules(
        way.book,
        trace.facts,
        now=trace.wall_s,
        then=None if way.router.rules is None else way.router.rules.book,
        decided=decided,
        asked=way.plan is None,
    )
    return tuple(_with_eligible(trace, trials, decided=decided, asked=way.plan is None))


def _with_eligible(
    trace: Trace, trials: tuple[RuleTrial, ...], *, decided: str | None, asked: bool
) -> Iterator[RuleTrial]:
    """The trials, and which targets of a rule could answer then: of the one that decided, and of those before it."""
    for trial in trials:
        if trial.id == decided:
            asked = False
            names = _names(trace, trial.targets)
            yield msgspec.structs.replace(trial, eligible=names) if trial.targets else trial
        elif asked and trial.matched and trial.targets:
            yield msgspec.structs.replace(trial, eligible=())
        else:
            yield trial


def _names(trace: Trace, named: Iterable[str]) -> tuple[str, ...]:
    """By which of these names the pools of the operators' plan were meant, in the order of the plan."""
    left: dict[Pool, list[str]] = {}
    for name in dict.fromkeys(named):
        pool = trace.snapshot.targets.pool(name, also=tuple(ModelStatus))
        if pool is not None:
            left.setdefault(pool, []).append(name)
    plan = trace.governed
    return () if plan is None else tuple(left[pool].pop(0) for pool in plan.pools if left.get(pool))


def _preferred(trace: Trace, decider: Decider, agent_type: str) -> tuple[str, ...] | None:
    """The preferred models that could answer then: known where the preferences were asked."""
    preferences = trace.snapshot.registry.preferences.get(agent_type)
    if preferences is None or decider not in (Decider.PREFERENCES, Decider.STRATEGY):
        return None
    return _names(trace, (*preferences.preferred_models, *preferences.fallback_models))


def _scorer(trace: Trace) -> ScorerView | None:
    neural = None if trace.way is None else trace.way.router.neural
    if neural is None or trace.notes is None or trace.notes.weighed is None:
        return None
    return scorer_view(neural, trace.notes.weighed)


def _judge(trace: Trace) -> JudgeView | None:
    judge = None if trace.way is None else trace.way.router.judge
    if judge is None:
        return None
    state, decision = JudgeState.NOT_NEEDED, trace.decision
    if decision is not None and decision.reason is Reason.JUDGE_FAILED:
        state = JudgeState.FAILED
    elif decision is not None and decision.reason is Reason.LLM_JUDGED:
        remembered = trace.notes is not None and trace.notes.remembered
        state = JudgeState.REMEMBERED if remembered else JudgeState.ANSWERED
    return JudgeView(tier=trace.snapshot.config.routing.router_tier, strategy=judge.strategy, state=state)


def _unknown(
    trace: Trace, rules: tuple[RuleTrial, ...], *, preferred: tuple[str, ...] | None, agent_type: str
) -> Iterator[str]:
    """What an explanation would have told, and nobody asked when it was decided."""
    if trace.facts is None:
        yield "facts"
    elif trace.has_code is None:
        yield "facts.has_code"
    way = trace.way
    if way is None:
        return
    if any(trial.matched is None for trial in rules):
        yield "rules.matched"
    if any(trial.matched and trial.targets and trial.eligible is None for trial in rules):
        yield "rules.eligible"
    if preferred is None and agent_type in trace.snapshot.registry.preferences:
        yield "preferred"
    if way.router.neural is not None and (trace.notes is None or trace.notes.weighed is None):
        yield "scorer"
