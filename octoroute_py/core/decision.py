"""What a router decided, as a value that headers, logs, metrics and `octoroute route` all read."""

import msgspec

from octoroute_py.core.words import Reason, Strategy, Tier


class Decision(msgspec.Struct, frozen=True):
    """A tier with the who and why of it.

    `confidence` is a probability in [0, 1] where the strategy has one. `rule` is the name of the rule that matched,
    `rule_id` its id, as operators read it.
    """

    tier: Tier
    strategy: Strategy
    reason: Reason
    confidence: float | None = None
    rule: str | None = None
    rule_id: str | None = None
