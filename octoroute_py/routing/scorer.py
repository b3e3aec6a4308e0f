"""The scorer that serves: a prompt in, a calibrated `Score` out, in microseconds and without I/O.

scorer = Scorer(load(path))
scorer.warm()                                   # before the gateway is ready; seconds when nothing is cached yet
scorer.score(Prompt("Why is the sky blue?"))
"""

from octoroute_py.core.clock import monotonic
from octoroute_py.core.score import Score
from octoroute_py.core.trace import Trail
from octoroute_py.features.vector import Prompt, Vectoriser
from octoroute_py.neural.artifact import Artifact, ArtifactError
from octoroute_py.neural.calibration import Calibration
from octoroute_py.neural.network import Network
from octoroute_py.telemetry.semconv import FEATURES_SPAN, INFERENCE_SPAN


class Scorer:
    """Scores prompts by one artifact, which must be calibrated; one thread at a time, as its buffers are reused."""

    __slots__ = ("_ended_s", "_network", "_vectoriser", "artifact", "calibration", "feature_s", "inference_s")

    def __init__(self, artifact: Artifact) -> None:
        if artifact.calibration is None:
            raise ArtifactError("the artifact is not calibrated: run `octoroute calibrate` on it first")
        self.artifact = artifact
        self.calibration: Calibration = artifact.calibration
        self._vectoriser = Vectoriser()
        self._network = Network(artifact)
        self.feature_s = self.inference_s = self._ended_s = 0.0
        """How long reading the last prompt took, and the network over it."""

    def warm(self) -> None:
        """Compile what scoring needs, or load it from the cache, and score once; not for the event loop."""
        self._vectoriser.warm()
        self._network.warm()
        self.score(Prompt("warm"))

    def score(self, prompt: Prompt, trail: Trail | None = None) -> Score:
        """What the artifact believes about this prompt; how long that took is noted in `trail`."""
        raw = self.raw(prompt)
        if trail is not None:
            ended_s = self._ended_s
            read_s = ended_s - self.inference_s
            trail.step(FEATURES_SPAN, read_s - self.feature_s, read_s)
            trail.step(INFERENCE_SPAN, read_s, ended_s)
        return self.calibration.score(raw)

    def raw(self, prompt: Prompt) -> list[float]:
        """The network's own seven numbers, uncalibrated (see `neural.calibration.Raw`)."""
        began = monotonic()
        vector = self._vectoriser.read(prompt)
        read = monotonic()
        raw = self._network.raw(vector.tokens, vector.scalars, tag=prompt.tag)
        self._ended_s = monotonic()
        self.feature_s, self.inference_s = read - began, self._ended_s - read
        return raw
