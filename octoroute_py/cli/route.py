"""`octoroute route`: where a prompt would go, and why."""

import asyncio
import os
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from octoroute_py.config.load import find_config, load_config, process_env
from octoroute_py.config.schema import Config
from octoroute_py.core.clock import wall
from octoroute_py.core.errors import NotFound
from octoroute_py.core.words import Importance, Surface, TaskType
from octoroute_py.features.facts import Facts, read_facts
from octoroute_py.routing.explain import Explanation, RuleTrial, explain


@click.command("route")
@click.argument("prompt")
@click.option("-c", "--config", "file", type=click.Path(path_type=Path), help="Config file.")
@click.option("--model", default="auto", show_default=True, help="The model the client would name.")
@click.option("--importance", type=click.Choice([each.value for each in Importance]), help="As the client's hint.")
@click.option("--task-type", type=click.Choice([each.value for each in TaskType]), help="As the client's hint.")
@click.option("--json", "as_json", is_flag=True, help="Print the decision as JSON.")
def command(
    prompt: str, file: Path | None, model: str, importance: str | None, task_type: str | None, as_json: bool
) -> None:
    """Decide where PROMPT would go, without calling any model."""
    env = process_env()
    config = load_config(find_config(file, env, Path(os.curdir).absolute()), env=env)
    facts = prompt_facts(
        prompt,
        model=model,
        importance=Importance(importance) if importance else config.routing.default_importance,
        task_type=TaskType(task_type) if task_type else None,
    )
    explanation = _explain(config, facts)
    if as_json:
        click.echo(as_data(explanation, facts))
    else:
        show(explanation, facts, console=Console(markup=False, highlight=False))


def prompt_facts(prompt: str, *, model: str, importance: Importance, task_type: TaskType | None) -> Facts:
    """The facts of a chat request with this one user message."""
    text = prompt.encode("utf-8", "replace").decode("utf-8")
    body = msgspec.json.encode({"model": model, "messages": [{"role": "user", "content": text}]})
    return read_facts(
        Surface.CHAT,
        msgspec.json.decode(body, type=dict[str, msgspec.Raw]),
        importance=importance,
        task_type=task_type,
        model=model,
        headers={},
        stream=False,
    )


def as_data(explanation: Explanation, facts: Facts) -> str:
    """The explanation and the facts it rests on as JSON; the prompt's text is not in it."""
    seen = {
        "tokens": facts.tokens,
        "importance": facts.importance,
        "task_type": facts.task_type,
        "model": facts.model,
        "has_code": facts.has_code,
    }
    data = {**msgspec.structs.asdict(explanation), "facts": seen}
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode()


def show(explanation: Explanation, facts: Facts, *, console: Console) -> None:
    """Prints the decision, the endpoints that could take it, and every rule with what kept it from matching."""
    decided = Table.grid(padding=(0, 2))
    decided.add_row("tier", explanation.tier.value)
    decided.add_row("strategy", explanation.strategy.value)
    rule = f" ({explanation.rule})" if explanation.rule else ""
    decided.add_row("reason", explanation.reason.value + rule)
    if explanation.confidence is not None:
        decided.add_row("confidence", f"{explanation.confidence:.2f}")
    decided.add_row("request", f"{facts.tokens} tokens, {facts.task_type}, importance {facts.importance}")
    decided.add_row("default tier", explanation.default_tier.value)
    decided.add_row("candidates", ", ".join(explanation.candidates) or "none")
    for endpoint, misfit in explanation.unfit.items():
        decided.add_row("not fit", f"{endpoint} ({misfit})")
    console.print(decided)
    if explanation.rules:
        console.print()
        console.print(_rules(explanation.rules))


def _rules(trials: tuple[RuleTrial, ...]) -> Table:
    table = Table("rule", "tier", "matched", "because", box=None, pad_edge=False)
    for trial in trials:
        why = "" if trial.matched else f"{trial.failed}: wants {trial.wanted}"
        table.add_row(trial.name, trial.tier.value, "yes" if trial.matched else "no", why)
    return table


def _explain(config: Config, facts: Facts) -> Explanation:
    try:
        return asyncio.run(explain(config, facts, wall=wall))
    except NotFound as error:
        raise click.BadParameter(error.client_message, param_hint="--model") from None
