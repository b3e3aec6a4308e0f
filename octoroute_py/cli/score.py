"""`octoroute score`: what an artifact says of prompts in a file, without network."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from octoroute_py.cli.labelled import read_artifact
from octoroute_py.cli.options import Share
from octoroute_py.storage.files import write_whole

if TYPE_CHECKING:
    from octoroute_py.core.score import Score
    from octoroute_py.features.vector import Prompt
    from octoroute_py.routing.scorer import Scorer

_ALPHA = 0.05


@click.command("score")
@click.option(
    "-i",
    "--input",
    "source",
    type=click.Path(path_type=Path),
    required=True,
    metavar="IN",
    help="Rows {id, prompt} or {id, messages}, JSONL, may be gzipped.",
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, metavar="OUT", help="JSONL; - is stdout."
)
@click.option("--artifact", type=click.Path(path_type=Path), metavar="F", help="[default: the one that is shipped]")
@click.option(
    "--alpha",
    type=Share(0.0, 1.0, min_open=True, max_open=True),
    default=_ALPHA,
    show_default=True,
    help="The tolerated loss that `tier` is chosen for.",
)
@click.option("--batch", is_flag=True, help="Read every row first, and write the output whole or not at all.")
def command(source: Path, output: Path, artifact: Path | None, alpha: float, batch: bool) -> None:
    """Score prompts: how likely each tier answers rightly, what deep would add, and the tier that the dial allows."""
    if not batch and output.is_file() and source.exists() and output.samefile(source):
        raise click.UsageError("the input would be overwritten before it is read: use --batch, or another file")
    scorer = _scorer(artifact)
    lines = _scored(_prompts(source), scorer, alpha=alpha)
    if str(output) == "-":
        for line in list(lines) if batch else lines:
            click.echo(line, nl=False)
        return
    try:
        if batch:
            write_whole(output, b"".join(lines))
        else:
            with output.open("wb") as file:
                file.writelines(lines)
    except OSError as error:
        raise click.ClickException(f"{output}: cannot be written ({error.strerror or 'error'})") from None


def scored(identity: str | int, score: "Score", *, tier: str | None, confidence: float) -> dict[str, Any]:
    """One output row; `tier` is null where the scorer abstains, as for a prompt unlike what it learned from."""
    return {
        "id": identity,
        "p": {"fast": score.p_fast, "balanced": score.p_balanced, "deep": score.p_deep},
        "gain": {"fast": score.gain_fast, "balanced": score.gain_balanced},
        "tier": tier,
        "confidence": confidence,
        "uncertainty": score.uncertainty,
        "set": [each.value for each in score.labels],
        "in_distribution": score.in_distribution,
    }


def _scored(prompts: "Iterable[tuple[str | int, Prompt]]", scorer: "Scorer", *, alpha: float) -> Iterator[bytes]:
    from octoroute_py.neural.decide import choose

    encoder = msgspec.json.Encoder()
    dials: dict[str | None, Any] = {}
    for identity, prompt in prompts:
        score = scorer.score(prompt)
        if prompt.tag not in dials:
            dials[prompt.tag] = scorer.calibration.dial(alpha, prompt.tag)
        choice = choose(score, dial=dials[prompt.tag])
        tier = choice.tier.value if choice.tier is not None else None
        yield encoder.encode(scored(identity, score, tier=tier, confidence=choice.confidence)) + b"\n"


def _prompts(source: Path) -> "Iterator[tuple[str | int, Prompt]]":
    from octoroute_py.training.dataset import DatasetError, read_prompts

    try:
        yield from read_prompts(source)
    except DatasetError as error:
        raise click.ClickException(str(error)) from None


def _scorer(artifact: Path | None) -> "Scorer":
    from octoroute_py.neural.artifact import ArtifactError
    from octoroute_py.neural.shipped import shipped_path
    from octoroute_py.routing.scorer import Scorer

    path = artifact if artifact is not None else shipped_path("default")
    try:
        scorer = Scorer(read_artifact(path))
    except ArtifactError as error:
        raise click.ClickException(f"{path}: {error}") from None
    scorer.warm()
    return scorer
