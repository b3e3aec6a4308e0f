"""The seam of every strategy."""

import math
from typing import TYPE_CHECKING, Protocol

import msgspec

from octoroute_py.core.decision import Decision
from octoroute_py.core.trace import Trail
from octoroute_py.features.facts import Facts
from octoroute_py.routing.policy import Hints

if TYPE_CHECKING:
    from octoroute_py.routing.neural import Weighed  # brings numpy and numba, which few strategies need

_NO_HINTS = Hints()


class Notes(msgspec.Struct, gc=False):
    """What the steps that look at words leave for whoever asks later: the words themselves are never kept.

    `weighed` is the scorer's choice with its grounds, None where it was not asked; `remembered` says that the judge
    was not asked again because it had been asked for equal words.
    """

    weighed: "Weighed | None" = None
    remembered: bool = False


class Inquiry(msgspec.Struct, frozen=True):
    """A request whose tier is asked for: what is known of it, what its client wished, and until when it can wait.

    `by_s` is a monotonic time in seconds; infinity where the client set no limit of its own. Only endpoints
    with every tag of `compliance` may see what it says. `notes`, where there are any, are written on the way. `trail`
    is there where requests are traced.
    """

    facts: Facts
    hints: Hints = _NO_HINTS
    by_s: float = math.inf
    compliance: tuple[str, ...] = ()
    notes: Notes | None = None
    trail: Trail | None = None


class Router(Protocol):
    """Chooses a tier or abstains."""

    async def route(self, inquiry: Inquiry) -> Decision | None:
        """A decision, or None to let the next strategy (in the end the default tier) decide."""
        ...
