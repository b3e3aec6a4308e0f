"""A decision in words: what became of each rule, and sentence by sentence what led to where a request goes."""

from collections.abc import Iterator
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from octoroute_py.core.words import Reason, Tier
from octoroute_py.routing.explain import Decider, Explanation, RuleTrial
from octoroute_py.routing.rulebook import Source

_MOST_TOLD: Final = 20


class RuleConsidered(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A rule held against a request; `failed` is the first condition that did not hold, `wanted` what it asks for.

    `eligibleTargets` are those of its targets that can answer now, in the order they are tried; they are looked at when
    the rule matched.
    """

    id: str
    name: str
    source: Source
    priority: int
    matched: bool
    decided: bool
    failed: str | UnsetType = UNSET
    wanted: str | UnsetType = UNSET
    tier: Tier | UnsetType = UNSET
    rule_set: str | UnsetType = UNSET
    targets: tuple[str, ...]
    eligible_targets: tuple[str, ...]
    why: str


def considered(found: Explanation) -> list[RuleConsidered]:
    """Every rule, in the order they are asked."""
    return [
        RuleConsidered(
            id=trial.id,
            name=trial.name,
            source=trial.source,
            priority=trial.priority,
            matched=bool(trial.matched),
            decided=_decided(trial, found),
            failed=trial.failed or UNSET,
            wanted=trial.wanted or UNSET,
            tier=trial.tier or UNSET,
            rule_set=trial.rule_set or UNSET,
            targets=trial.targets,
            eligible_targets=trial.eligible or (),
            why=_why(trial, found),
        )
        for trial in found.rules
    ]


def reasoning(found: Explanation, *, model: str, agent_type: str | None) -> list[str]:
    """What led to the decision, in the order it was asked."""
    return [
        *_who_decided(found, model=model, agent_type=agent_type),
        *_what_came_between(found),
        _where(found),
    ]


def _decided(trial: RuleTrial, found: Explanation) -> bool:
    return bool(trial.matched) and trial.id == found.rule_id


def _why(trial: RuleTrial, found: Explanation) -> str:
    if trial.failed == "enabled":
        return "It is switched off."
    if not trial.matched:
        return f"Its {trial.failed} does not hold: it asks for {trial.wanted}."
    if _decided(trial, found):
        return "It matches, and decided."
    if trial.targets and not trial.eligible:
        return "It matches, and none of its targets can answer this request now."
    return "It matches; what comes before it decided."


def _who_decided(found: Explanation, *, model: str, agent_type: str | None) -> Iterator[str]:
    if found.decided_by is Decider.CLIENT:
        yield f"The request names '{model[:128]}' itself: rules and preferences are not asked."
        return
    if found.decided_by is Decider.EXPERIMENT:
        yield "An experiment sends it, before any rule is asked."
        return
    passed_over = [trial.name for trial in found.rules if trial.matched and trial.targets and not trial.eligible]
    for name in passed_over[:_MOST_TOLD]:
        yield f"The rule '{name}' matches, and none of its targets can answer now."
    if found.decided_by is Decider.RULE:
        yield f"The rule '{found.rule}' is the first that matches and has where to send it."
        return
    yield "No rule of an operator decides."
    if found.preferred is not None:
        can = ", ".join(found.preferred) or "none of them"
        yield f"Of what the agent type '{agent_type}' prefers, {can} can answer now."
    if found.decided_by is Decider.STRATEGY:
        yield _STRATEGY.get(found.reason, "The configured strategy decides.").format(found=found)
    if found.next_step is not None:
        yield "A judge would be asked next; if it fails, the request goes where is told here."


def _what_came_between(found: Explanation) -> Iterator[str]:
    if found.reason in _MOVED and found.decided_by is not Decider.PREFERENCES:
        yield _MOVED[found.reason]
    for arm in found.arms:
        name, _, part = arm.rpartition(":")
        yield f"'{name}' gives it the part '{part}'."


def _where(found: Explanation) -> str:
    if not found.first:
        return f"Nobody on its way, which begins in the tier '{found.tier}', can take it now."
    among = ", ".join(found.first)
    if len(found.first) > 1:
        return f"One of {among} is drawn when it is sent, in the tier '{found.tier}'."
    return f"{among} is tried first, in the tier '{found.tier}'."


_STRATEGY: Final = {
    Reason.RULE_MATCHED: "The built-in rule '{found.rule}' matches.",
    Reason.NEURAL_DECIDED: "The scorer decides.",
    Reason.LLM_JUDGED: "The judge decides.",
    Reason.JUDGE_FAILED: "The judge failed: the default tier takes it.",
    Reason.DEFAULT_TIER: "Nothing else has an opinion: the default tier takes it.",
}
_MOVED: Final = {
    Reason.POLICY: "What its workspace, key or agent type may use moves it to another tier.",
    Reason.LOCAL_ONLY: "Only local models may see it, which moves it to another tier.",
    Reason.CAPABILITY: "What it needs moves it to a tier that has it.",
    Reason.CONTEXT_OVERFLOW: "Its length moves it to a tier that has room for it.",
}
