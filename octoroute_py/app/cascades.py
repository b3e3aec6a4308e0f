"""Makes the router of a configuration, and keeps of the one before what still holds: the scorer and the judge."""

import asyncio
import random
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

import msgspec

from octoroute_py.config.schema import Config, StrategyName
from octoroute_py.core import clock
from octoroute_py.gateway.ask import JudgeCalls, Report
from octoroute_py.gateway.context import Snapshot
from octoroute_py.gateway.judge_log import JudgeLog
from octoroute_py.routing.artifact import load_prepared
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.judge import Judge
from octoroute_py.routing.strategies import JUDGED, SCORED, make_judge, make_router
from octoroute_py.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from octoroute_py.routing.neural import NeuralRouter


class Made(msgspec.Struct, frozen=True, kw_only=True):
    """A router that may come into force, with the parts that the next one may take over."""

    router: Cascade
    config: Config
    scorer: "NeuralRouter | None"
    judge: Judge | None
    judged_by: Hashable


class Cascades:
    """Holds the scorer and the judge in force; `snapshot` is asked when a judge has to be called."""

    def __init__(
        self, snapshot: Callable[[], Snapshot], *, metrics: Metrics, rng: random.Random, report: Report
    ) -> None:
        self._snapshot = snapshot
        self._metrics = metrics
        self._rng = rng
        self._report = report
        self._made: Made | None = None

    @property
    def scorer(self) -> "NeuralRouter | None":
        """The scorer at hand, whether the strategy in force asks it or not."""
        return None if self._made is None else self._made.scorer

    def lacks(self, config: Config) -> bool:
        """Whether the configuration's strategy needs a scorer that is neither at hand nor being prepared."""
        made = self._made
        same = made is not None and made.router.neural is not None and _artifact(made.config) == _artifact(config)
        return config.routing.strategy in SCORED and not same and not self._at_hand(config)

    async def scorer_for(self, config: Config, *, anew: bool = False) -> "NeuralRouter | None":
        """The scorer that the configuration needs, ready to decide; `anew` reads its artifact again.

        Raises ConfigError for an artifact that cannot be used.
        """
        if config.routing.strategy not in SCORED:
            return None if anew else self.scorer  # who comes back to it later finds the file as it is then
        if anew or not self._at_hand(config):
            return await asyncio.to_thread(load_prepared, config)
        return self.scorer

    def make(self, config: Config, scorer: "NeuralRouter | None", *, anew: bool = False) -> Made:
        """The router of a configuration around this scorer; it is in force once it is taken.

        A judge goes on with what it learnt, unless it is to begin `anew`.
        """
        before = self._made
        if scorer is not None and before is not None:
            scorer = scorer.under(config.routing.neural, config.endpoints)
        if scorer is not None:
            scorer.told = self._metrics.dancer.scored
        judged_by = _judged_by(config)
        same = before is not None and before.judged_by == judged_by and not anew
        judge = before.judge if before is not None and same else self._new_judge(config)
        router = make_router(config, clock.wall, neural=scorer, judge=judge)
        return Made(router=router, config=config, scorer=scorer, judge=judge, judged_by=judged_by)

    def take(self, made: Made) -> Judge | None:
        """It is in force from now on; the judge it has no use for, whose questions may be under way."""
        before, self._made = self._made, made
        if made.judge is not None:
            made.judge.follow(made.config.breaker)
        return before.judge if before is not None and before.judge is not made.judge else None

    def _at_hand(self, config: Config) -> bool:
        made = self._made
        return (
            made is not None
            and made.scorer is not None
            and made.scorer.ready
            and _artifact(made.config) == _artifact(config)
        )

    def _new_judge(self, config: Config) -> Judge | None:
        calls = JudgeCalls(
            self._snapshot,
            tier=config.routing.router_tier,
            metrics=self._metrics,
            monotonic=clock.monotonic,
            wall=clock.wall,
            rng=self._rng,
            report=self._report,
        )
        return make_judge(config, calls, now=clock.monotonic, report=JudgeLog(clock.monotonic), rng=self._rng)


def _artifact(config: Config) -> object:
    return config.routing.neural.artifact


def _judged_by(config: Config) -> Hashable:
    """What must stay the same for a judge to go on, with what it learnt of requests and of its endpoints."""
    routing = config.routing
    if routing.strategy not in JUDGED:
        return None
    asked = tuple((e.id, e.base_url, e.model, e.api_key) for e in config.endpoints if e.tier is routing.router_tier)
    return routing.strategy is StrategyName.TOOL, routing.router_tier, routing.router_timeouts, asked
