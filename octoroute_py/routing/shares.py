"""The shares of canaries as they are this instant, ahead of what is written down."""

from collections.abc import Collection


class Shares:
    """Percentages of callers by the id of a canary deployment; for the event loop's thread, as old as the process.

    The gateway asks for every request: a caller whose place in [0, 100) is below `of(id)` is the canary's. What the
    registry says comes in by `put`. A share that was `cut` is 0 from that moment on, whatever is put afterwards, until
    the deployment is dropped: to roll back does not wait for a database.
    """

    __slots__ = ("_cut", "_shares")

    def __init__(self) -> None:
        self._shares: dict[str, float] = {}
        self._cut: set[str] = set()

    def of(self, deployment_id: str) -> float:
        """The percentage of callers that the canary has now; 0 for a deployment that does not run."""
        return self._shares.get(deployment_id, 0.0)

    def put(self, deployment_id: str, share: float) -> None:
        """The registry says so; a cut share stays at 0."""
        if deployment_id not in self._cut:
            self._shares[deployment_id] = share

    def cut(self, deployment_id: str) -> None:
        """No more canary requests, from the very next one on."""
        self._cut.add(deployment_id)
        self._shares[deployment_id] = 0.0

    def keep_only(self, live: Collection[str]) -> None:
        """Drop all but these: the others have ended."""
        for ended in self._shares.keys() - set(live):
            del self._shares[ended]
        self._cut.intersection_update(live)
