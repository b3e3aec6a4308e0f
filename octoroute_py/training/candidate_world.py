"""A made-up world of requests and candidates, in which what the five signals are worth is known.

The Tiny Dancer router's shipped network learns here, because no deployment's outcomes come with the package. It says
how such evidence combines if the world is like this one, and nothing about any real model:

- A request has a difficulty d ~ N(0, 1). Each candidate has a skill, and a similarity c to the request.
- A candidate's past success rate is the mean of `count` trials at its skill then, on requests whose difficulty is the
  request's own as far as they are similar: d' = c d + sqrt(1 - c^2) noise. So the rates of similar candidates tell how
  hard the request is, and a rate of few trials tells little.
- Skill drifts: the older a candidate, the less its skill then says of its skill now.
- The light model does well with a candidate with the probability sigmoid(1 + 1.5 (skill now - d) + 3 (c - 0.5) + (m -
  0.5)), m being the share of metadata that agrees.
"""

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.neural.candidate_net import CONTEXT
from octoroute_py.neural.signals import frequency, recency

F64 = NDArray[np.float64]

BASE = 1.0
STEEPNESS = 1.5
BY_SIMILARITY = 3.0
BY_METADATA = 1.0
KEPT_SKILL = 0.6
"""What is left of the correlation between skill then and skill now when the candidate is old."""
OLDEST_S = 1e6
MOST_TRIALS = 10_000
METADATA_KEYS = 4
WITHOUT_METADATA = 0.3
LONGEST = CONTEXT


class CandidateSets(msgspec.Struct, frozen=True):
    """Labelled sets of candidates, each ordered by similarity, best first.

    `signals` (B, T, 5) unweighted, `labels` (B, T) 1.0 where the light model did well, `mask` (B, T) 1.0 where there is
    a candidate, `truth` (B, T) the probability that a label was drawn from (NaN where nobody knows it).
    """

    signals: F64
    labels: F64
    mask: F64
    truth: F64

    def alone(self) -> "CandidateSets":
        """The same candidates, each in a set of its own."""
        there = self.mask > 0
        return CandidateSets(
            self.signals[there][:, None],
            self.labels[there][:, None],
            self.mask[there][:, None],
            self.truth[there][:, None],
        )


def make_sets(rng: np.random.Generator, count: int, *, longest: int = LONGEST) -> CandidateSets:
    """`count` requests with 1 to `longest` candidates each, short sets as common as long ones on a log scale."""
    shape = count, longest
    lengths = np.floor(np.exp(rng.uniform(0.0, np.log(longest + 1), count))).astype(int)
    mask = (np.arange(longest) < lengths[:, None]).astype(np.float64)
    similarity = 1.0 - 1.2 * rng.beta(2.0, 2.0, shape)
    similarity = -np.sort(np.where(mask > 0, -similarity, np.inf), axis=1)
    similarity = np.where(mask > 0, similarity, 0.0)
    alike = np.clip(similarity, 0.0, 1.0)
    metadata = rng.binomial(METADATA_KEYS, 0.15 + 0.7 * alike) / METADATA_KEYS
    metadata *= rng.random((count, 1)) >= WITHOUT_METADATA
    recent = recency(np.exp(rng.uniform(0.0, np.log(OLDEST_S), shape)))
    trials = np.floor(np.exp(rng.uniform(0.0, np.log(MOST_TRIALS + 1), shape))) - 1
    difficulty = rng.standard_normal((count, 1))
    then = alike * difficulty + np.sqrt(1.0 - alike**2) * rng.standard_normal(shape)
    skill = rng.standard_normal(shape)
    kept = KEPT_SKILL + (1.0 - KEPT_SKILL) * recent
    skill_now = kept * skill + np.sqrt(1.0 - kept**2) * rng.standard_normal(shape)
    succeeded = rng.binomial(trials.astype(int), _sigmoid(BASE + STEEPNESS * (skill - then)))
    rate = succeeded / np.maximum(trials, 1.0)
    truth = _sigmoid(
        BASE
        + STEEPNESS * (skill_now - difficulty)
        + BY_SIMILARITY * (similarity - 0.5)
        + BY_METADATA * (metadata - 0.5)
    )
    labels = (rng.random(shape) < truth).astype(np.float64)
    signals = np.stack([similarity, recent, frequency(trials), rate, metadata], axis=-1) * mask[:, :, None]
    return CandidateSets(signals, labels * mask, mask, truth)


def _sigmoid(x: F64) -> F64:
    return 1.0 / (1.0 + np.exp(-x))
