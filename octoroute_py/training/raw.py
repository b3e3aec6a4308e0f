"""The raw numbers of many prompts at once, for calibration and reports."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.vector import Prompt, Vectoriser
from octoroute_py.neural.artifact import Artifact
from octoroute_py.neural.network import RAW, Network


def raw_scores(artifact: Artifact, prompts: Sequence[Prompt]) -> NDArray[np.float64]:
    """The raw numbers (N, 7) of the prompts, exactly as the scorer would see them."""
    vectoriser, network = Vectoriser(), Network(artifact)
    raw = np.empty((len(prompts), RAW))
    for place, prompt in enumerate(prompts):
        vector = vectoriser.read(prompt)
        raw[place] = network.raw(vector.tokens, vector.scalars, tag=prompt.tag)
    return raw
