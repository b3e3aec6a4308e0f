"""Strategy `neural`: the scorer's calibrated beliefs against the dial; it abstains from what it cannot know.

This module brings numpy and numba: it is imported for the strategies that need it only.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final, Protocol

import msgspec

from octoroute_py.config.schema import EndpointConfig, NeuralConfig
from octoroute_py.core.clock import monotonic
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.score import Score
from octoroute_py.core.trace import Trail
from octoroute_py.core.words import TIERS, Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.conversation import Conversation
from octoroute_py.features.facts import Facts
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.decide import DEFAULT_PRICES, Choice, Limits, Prices
from octoroute_py.neural.flips import Asked, Flip, Thresholds, decide, flips
from octoroute_py.routing.router import Inquiry
from octoroute_py.telemetry.dancer_counts import Scored
from octoroute_py.telemetry.semconv import UNCERTAINTY_SPAN

_TRIALS: Final = (
    "",
    "Hi",
    "What is the capital of France?",
    "Translate 'good morning' into Japanese, Arabic and Finnish.",
    "Prove that there are infinitely many primes that leave 3 when divided by 4.",
    "def f(n): return n if n < 2 else f(n - 1) + f(n - 2)  # why is this slow, and what would you do about it?",
    "Fasse den folgenden Vertrag in drei Sätzen zusammen und nenne die Kündigungsfrist.",
    "请用一句话解释什么是黑洞。",
    "SELECT name, count(*) FROM orders JOIN users USING (id) GROUP BY 1 HAVING count(*) > 10 ORDER BY 2 DESC;",
    "Plan a migration of a payment system to another database without any downtime. " * 40,
)
"""What every artifact must have an answer to before it may serve."""
_SLACK: Final = 1e-9


class TierScorer(Protocol):
    """Whatever can say how well each tier would answer."""

    def score(self, prompt: Prompt, trail: Trail | None = None) -> Score:
        """Calibrated beliefs about one prompt, within microseconds; steps that were timed are noted in `trail`."""
        ...


class Weighed(msgspec.Struct, frozen=True):
    """A choice of the scorer with what it was made from."""

    asked: Asked
    choice: Choice


class ArtifactFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be known of the artifact that serves: its file or shipped name, and the SHA-256 of the file."""

    name: str
    sha256: str
    kind: str
    quantized: bool


class _Preparation:
    """What routers around one scorer share."""

    __slots__ = ("done",)

    def __init__(self) -> None:
        self.done = False


class NeuralRouter:
    """Takes the cheapest tier whose risk stays within the dial; abstains until it has been prepared.

    `prepare` compiles the kernels or loads them from their cache. `artifact` is what it was read from. `spent` says how
    many seconds the last score took, first for its features, then in the network.
    """

    def __init__(
        self,
        scorer: TierScorer,
        thresholds: Thresholds,
        *,
        config: NeuralConfig,
        prices: Prices,
        warm: Callable[[], None],
        spent: Callable[[], tuple[float, float]] = lambda: (0.0, 0.0),
        artifact: ArtifactFacts | None = None,
    ) -> None:
        self._scorer = scorer
        self._thresholds = thresholds
        self._alpha = config.max_quality_loss
        self._limits = Limits(confidence_threshold=config.confidence_threshold, max_uncertainty=config.max_uncertainty)
        self._prices = prices
        self._warm = warm
        self._spent = spent
        self.told: Callable[[Scored], None] | None = None
        """Hears of every prompt that was scored for a request."""
        self.artifact = artifact
        self._preparation = _Preparation()

    @property
    def ready(self) -> bool:
        """Whether decisions cost microseconds from now on."""
        return self._preparation.done

    def prepare(self) -> None:
        """Make it ready and try it once; takes seconds where no kernel is cached. For a thread, not the event loop.

        Raises ConfigError when what the artifact predicts are no probabilities.
        """
        self._warm()
        for text in _TRIALS:
            if not _sound(self.weigh(_trial(text)).asked.score):
                raise ConfigError("routing.neural.artifact: its predictions are no probabilities")
        self._preparation.done = True

    def under(self, config: NeuralConfig, endpoints: Sequence[EndpointConfig]) -> "NeuralRouter":
        """The same scorer with other thresholds and prices; when one of both is ready, the other is."""
        other = NeuralRouter(
            self._scorer,
            self._thresholds,
            config=config,
            prices=tier_prices(endpoints),
            warm=self._warm,
            spent=self._spent,
            artifact=self.artifact,
        )
        other.told = self.told
        other._preparation = self._preparation
        return other

    async def route(self, inquiry: Inquiry) -> Decision | None:
        """The tier that the dial allows, with its confidence; None when in doubt."""
        if not self.ready:
            return None
        trail = inquiry.trail
        weighed = self.weigh(inquiry, trail if trail is not None and trail.trace.sampled else None)
        if inquiry.notes is not None:
            inquiry.notes.weighed = weighed
        choice = weighed.choice
        if self.told is not None:
            self.told(Scored(choice.tier, choice.confidence, weighed.asked.score.uncertainty, *self._spent()))
        if choice.tier is None:
            return None
        return Decision(choice.tier, Strategy.NEURAL, Reason.NEURAL_DECIDED, choice.confidence)

    def weigh(self, inquiry: Inquiry, trail: Trail | None = None) -> Weighed:
        """The choice, or the doubt, and everything it rests on; how long that took is noted in `trail`."""
        hints = inquiry.hints
        asked = Asked(
            score=self._scorer.score(prompt_of(inquiry), trail),
            alpha=self._alpha if hints.max_quality_loss is None else hints.max_quality_loss,
            tag=hints.tag,
            prices=self._prices,
            limits=self._limits,
        )
        weighed = Weighed(asked, decide(asked, self._thresholds))
        if trail is not None and trail.steps:
            trail.step(UNCERTAINTY_SPAN, trail.steps[-1].ended_s, monotonic())
        return weighed

    def flips(self, weighed: Weighed) -> tuple[Flip, ...]:
        """What would have led to another tier."""
        return flips(weighed.asked, self._thresholds)


def _trial(text: str) -> Inquiry:
    return Inquiry(
        Facts(
            tokens=len(text) // 4,
            importance=Importance.NORMAL,
            task_type=TaskType.QUESTION_ANSWER,
            conversation=Conversation(text=text),
        )
    )


def _sound(score: Score) -> bool:
    """Whether these are probabilities that never fall from fast to deep, and a set of tiers."""
    chances = (score.p_fast, score.p_balanced, score.p_deep)
    if not all(map(math.isfinite, (*chances, score.gain_fast, score.gain_balanced, score.uncertainty))):
        return False
    rising = all(low <= high + _SLACK for low, high in pairwise(chances))
    return rising and chances[0] >= 0 and chances[-1] <= 1 and {*score.labels} <= {*TIERS}


def prompt_of(inquiry: Inquiry) -> Prompt:
    """What the scorer is told of a request."""
    said = inquiry.facts.conversation or Conversation(text=inquiry.facts.last_user_text, turns=inquiry.facts.turns)
    return Prompt(
        text=said.text,
        context=said.context,
        turns=said.turns,
        tools=said.tools,
        images=said.images,
        system_chars=said.system_chars,
        tag=inquiry.hints.tag,
    )


def tier_prices(endpoints: Sequence[EndpointConfig]) -> Prices:
    """What a request costs on each tier: the mean of its endpoints' input and output prices together.

    Where a tier has no price, or none costs anything, 1:4:20 is taken.
    """
    found = [_price(endpoints, tier) for tier in TIERS]
    fast, balanced, deep = found
    if fast is None or balanced is None or deep is None or not any(found):
        return DEFAULT_PRICES
    return fast, balanced, deep


def _price(endpoints: Sequence[EndpointConfig], tier: Tier) -> float | None:
    costs = [
        each.input_cost_per_mtok + each.output_cost_per_mtok
        for each in endpoints
        if each.tier is tier and each.input_cost_per_mtok is not None and each.output_cost_per_mtok is not None
    ]
    return sum(costs) / len(costs) if costs else None
