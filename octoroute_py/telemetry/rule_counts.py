"""How often each rule decided: as many labels as there are rules, or as the page has room for."""

from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric, UntypedMetricFamily

from octoroute_py.telemetry.labels import OTHER


class RuleCounts:
    """Counts by the ids of rules; those of rules that are gone end, and what is not known counts as `other`."""

    __slots__ = ("_counts", "_other")

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._other = 0

    def bind(self, ids: Iterable[str]) -> None:
        """Take these rules as the known ones: counts of those that stay go on."""
        bound: dict[str, int] = {}
        for id_ in ids:
            bound[id_] = self._counts.get(id_, 0)
        self._counts = bound

    def decided(self, rule_id: str) -> None:
        """A rule decided where a request goes."""
        if rule_id in self._counts:
            self._counts[rule_id] += 1
        else:
            self._other += 1

    def collect(self) -> Iterator[Metric]:
        """The family. It has no type: the name it is documented by lacks what a counter's must end with."""
        family = UntypedMetricFamily(
            "model_router_routing_rule_matches", "Requests that a rule decided about", labels=("rule_id",)
        )
        for id_, count in list(self._counts.items()):
            family.add_metric((id_,), count)
        if self._other:
            family.add_metric((OTHER,), self._other)
        yield family
