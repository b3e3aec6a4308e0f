"""From `[routing.neural]` to the scorer's router, for the strategies that need one; the others load nothing."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from octoroute_py.config.schema import Config, ShippedArtifact
from octoroute_py.core.errors import ConfigError
from octoroute_py.routing.strategies import SCORED

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter


def load_neural(config: Config) -> "NeuralRouter | None":
    """The scorer's router with its artifact read and checked, None where the strategy has no use for it.

    It still has to be prepared. Raises ConfigError for an artifact that is missing, broken or not calibrated.
    """
    if config.routing.strategy not in SCORED:
        return None
    from octoroute_py.neural.artifact import ArtifactError
    from octoroute_py.neural.compact import Plain
    from octoroute_py.neural.weights import from_bytes, read_file
    from octoroute_py.routing.neural import ArtifactFacts, NeuralRouter, tier_prices
    from octoroute_py.routing.scorer import Scorer

    named = config.routing.neural.artifact
    path = artifact_path(named)
    try:
        data = read_file(path)
        scorer = Scorer(from_bytes(data, of=path))
    except ArtifactError as error:
        raise ConfigError(f"routing.neural.artifact: {error}") from None
    return NeuralRouter(
        scorer,
        scorer.calibration,
        config=config.routing.neural,
        prices=tier_prices(config.endpoints),
        warm=scorer.warm,
        spent=lambda: (scorer.feature_s, scorer.inference_s),
        artifact=ArtifactFacts(
            name=str(named),
            sha256=hashlib.sha256(data).hexdigest(),
            kind=scorer.artifact.card.kind.value,
            quantized=not isinstance(scorer.artifact.table, Plain),
        ),
    )


def load_prepared(config: Config) -> "NeuralRouter | None":
    """The same, ready to decide; takes a second where numba was not needed before. For a thread, not the event loop."""
    neural = load_neural(config)
    if neural is not None:
        neural.prepare()
    return neural


def artifact_path(artifact: Path | ShippedArtifact) -> Path:
    """Where an artifact lies."""
    if isinstance(artifact, ShippedArtifact):
        from octoroute_py.neural.shipped import shipped_path

        return shipped_path(artifact.value)
    return artifact
