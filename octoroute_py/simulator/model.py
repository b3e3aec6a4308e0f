"""What a simulated model is like: its name, speed, price and manner of answering."""

import enum

import msgspec


class Personality(enum.StrEnum):
    """How much a simulated model has to say."""

    TERSE = "terse"
    PLAIN = "plain"
    THOROUGH = "thorough"


class SimulatedModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model to simulate.

    The first token comes after `first_token_s`, the others at `tokens_per_s` (0: at once). Prices are USD per million
    tokens; the simulator only states them, for a gateway's config to repeat.
    """

    name: str
    first_token_s: float = 0.0
    tokens_per_s: float = 0.0
    input_cost_per_mtok: float = 0.0
    output_cost_per_mtok: float = 0.0
    personality: Personality = Personality.PLAIN

    def token_s(self) -> float:
        """Seconds from one token to the next."""
        return 1.0 / self.tokens_per_s if self.tokens_per_s > 0 else 0.0


def tokens_in(text: str) -> int:
    """How many tokens a simulated model counts in a text: a quarter of its characters, rounded up."""
    return (len(text) + 3) // 4
