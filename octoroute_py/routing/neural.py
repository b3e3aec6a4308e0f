"""Strategy `neural`: the scorer's calibrated beliefs against the dial; it abstains from what it cannot know.

This module brings numpy and numba: it is imported for the strategies that need it only.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import msgspec

from octoroute_py.config.schema import EndpointConfig, NeuralConfig
from octoroute_py.core.decision import Decision
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.score import Score
from octoroute_py.core.words import TIERS, Importance, Reason, Strategy, TaskType, Tier
from octoroute_py.features.conversation import Conversation
from octoroute_py.features.facts import Facts
from octoroute_py.features.vector import Prompt
from octoroute_py.neural.decide import DEFAULT_PRICES, Choice, Limits, Prices
from octoroute_py.neural.flips import Asked, Flip, Thresholds, decide, flips
from octoroute_py.routing.router import Inquiry
from octoroute_py.telemetry.dancer_counts import Scored

_TRIAL: Final = Inquiry(
    Facts(
        tokens=7,
        importance=Importance.NORMAL,
        task_type=TaskType.QUESTION_ANSWER,
        conversation=Conversation(text="What is the capital of France?"),
    )
)


class TierScorer(Protocol):
    """Whatever can say how well each tier would answer."""

    def score(self, prompt: Prompt) -> Score:
        """Calibrated beliefs about one prompt, within microseconds."""
        ...


class Weighed(msgspec.Struct, frozen=True):
    """A choice of the scorer with what it was made from."""

    asked: Asked
    choice: Choice


class NeuralRouter:
    """Takes the cheapest tier whose risk stays within the dial; abstains until it has been prepared.

    `prepare` compiles the kernels or loads them from their cache. `spent` says how many seconds the last score took,
    first for its features, then in the network.
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
        self.ready = False
        """Whether decisions cost microseconds from now on."""

    def prepare(self) -> None:
        """Make it ready and try it once; takes seconds where no kernel is cached. For a thread, not the event loop.

        Raises ConfigError when what the artifact predicts are no probabilities.
        """
        self._warm()
        score = self.weigh(_TRIAL).asked.score
        numbers = (score.p_fast, score.p_balanced, score.p_deep, score.gain_fast, score.gain_balanced)
        if not all(map(math.isfinite, numbers)) or not all(0 <= number <= 1 for number in numbers[:3]):
            raise ConfigError("routing.neural.artifact: its predictions are no probabilities")
        self.ready = True

    async def route(self, inquiry: Inquiry) -> Decision | None:
        """The tier that the dial allows, with its confidence; None when in doubt."""
        if not self.ready:
            return None
        weighed = self.weigh(inquiry)
        choice = weighed.choice
        if self.told is not None:
            self.told(Scored(choice.tier, choice.confidence, weighed.asked.score.uncertainty, *self._spent()))
        if choice.tier is None:
            return None
        return Decision(choice.tier, Strategy.NEURAL, Reason.NEURAL_DECIDED, choice.confidence)

    def weigh(self, inquiry: Inquiry) -> Weighed:
        """The choice, or the doubt, and everything it rests on."""
        hints = inquiry.hints
        asked = Asked(
            score=self._scorer.score(prompt_of(inquiry)),
            alpha=self._alpha if hints.max_quality_loss is None else hints.max_quality_loss,
            tag=hints.tag,
            prices=self._prices,
            limits=self._limits,
        )
        return Weighed(asked, decide(asked, self._thresholds))

    def flips(self, weighed: Weighed) -> tuple[Flip, ...]:
        """What would have led to another tier."""
        return flips(weighed.asked, self._thresholds)


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
