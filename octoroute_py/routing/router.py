"""The seam of every strategy."""

from typing import Protocol

from octoroute_py.core.decision import Decision
from octoroute_py.features.facts import Facts


class Router(Protocol):
    """Chooses a tier or abstains."""

    async def route(self, facts: Facts) -> Decision | None:
        """A decision, or None to let the next strategy (in the end the default tier) decide."""
        ...
