"""A decision on paper: as a few tables for people, or as JSON."""

import msgspec
from rich.console import Console
from rich.table import Table

from octoroute_py.core.words import TIERS
from octoroute_py.neural.flips import Change, Flip
from octoroute_py.routing.explain import Explanation, JudgeState, JudgeView, RuleTrial, ScorerView

_JUDGE = {
    JudgeState.NOT_NEEDED: "not needed",
    JudgeState.NOT_ASKED: "would be asked next; if it fails, the request goes to the tier above",
    JudgeState.REMEMBERED: "was asked for the same words lately",
    JudgeState.ANSWERED: "was asked",
    JudgeState.FAILED: "was asked and failed",
}


def as_data(explanation: Explanation) -> str:
    """The explanation as JSON; the prompt's text is not in it."""
    return msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode()


def show(explanation: Explanation, *, console: Console) -> None:
    """Prints the decision, the endpoints that could take it, and what every step of the way said."""
    facts = explanation.facts
    decided = Table.grid(padding=(0, 2))
    decided.add_row("tier", explanation.tier.value)
    decided.add_row("strategy", explanation.strategy.value)
    rule = f" ({explanation.rule})" if explanation.rule else ""
    decided.add_row("reason", explanation.reason.value + rule)
    if explanation.next_step is not None:
        decided.add_row("next step", explanation.next_step)
    if explanation.confidence is not None:
        decided.add_row("confidence", f"{explanation.confidence:.2f}")
    decided.add_row("request", f"{facts.tokens} tokens, {facts.task_type}, importance {facts.importance}")
    decided.add_row("default tier", explanation.default_tier.value)
    decided.add_row("candidates", ", ".join(explanation.candidates) or "none")
    for endpoint, misfit in explanation.unfit.items():
        decided.add_row("not fit", f"{endpoint} ({misfit})")
    console.print(decided)
    for part in (_rules(explanation.rules), _scorer(explanation.scorer), _judge(explanation.judge)):
        if part is not None:
            console.print()
            console.print(part)


def _rules(trials: tuple[RuleTrial, ...]) -> Table | None:
    if not trials:
        return None
    table = Table("rule", "tier", "matched", "because", box=None, pad_edge=False)
    for trial in trials:
        why = "" if trial.matched else f"{trial.failed}: wants {trial.wanted}"
        goes_to = trial.tier.value if trial.tier is not None else ", ".join(trial.targets)
        table.add_row(trial.name, goes_to, "yes" if trial.matched else "no", why)
    return table


def _scorer(view: ScorerView | None) -> Table | None:
    if view is None:
        return None
    score, choice, dial = view.score, view.choice, view.choice.dial
    succeeds = (score.p_fast, score.p_balanced, score.p_deep)
    table = Table.grid(padding=(0, 2))
    table.add_row("scorer", f"chooses {choice.tier}" if choice.tier else f"abstains ({choice.doubt})")
    table.add_row("succeeds", ", ".join(f"{tier} {p:.3f}" for tier, p in zip(TIERS, succeeds, strict=True)))
    table.add_row("risk", ", ".join(f"{tier} {risk:.3f}" for tier, risk in zip(TIERS, choice.risks, strict=True)))
    kind = f", of the tag {dial.tag} alone" if dial.tag is not None else ""
    table.add_row(
        "threshold",
        f"{dial.threshold:.3f} by {dial.basis} for a loss of {dial.alpha:g}, from {dial.rows} outcomes{kind}",
    )
    table.add_row("may suffice", ", ".join(score.labels) or "no tier")
    table.add_row("uncertainty", f"{score.uncertainty:.3f}")
    table.add_row("kind of prompt", "known" if score.in_distribution else "unlike what was learned")
    for flip in view.flips:
        table.add_row("would be", f"{flip.tier} with {flip.change} {_value(flip)}")
    return table


def _value(flip: Flip) -> str:
    if isinstance(flip.value, tuple):
        return ", ".join(flip.value)
    return str(flip.value).lower() if flip.change is Change.IN_DISTRIBUTION else f"{flip.value:g}"


def _judge(view: JudgeView | None) -> Table | None:
    if view is None:
        return None
    table = Table.grid(padding=(0, 2))
    table.add_row("judge", f"on {view.tier}: {_JUDGE[view.state]}")
    return table
