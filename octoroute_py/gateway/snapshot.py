"""All that is worked out from a configuration, once: for a running gateway, and for decisions alone."""

import random
from collections.abc import Mapping

from octoroute_py.config.schema import Config
from octoroute_py.core import clock
from octoroute_py.core.allowance import NO_RATES
from octoroute_py.core.clock import Wall
from octoroute_py.core.registry import EMPTY_REGISTRY, Registry
from octoroute_py.gateway.context import Snapshot
from octoroute_py.gateway.rollouts import Rollouts, ShareOf
from octoroute_py.gateway.scope import Scopes
from octoroute_py.gateway.targets import Targets
from octoroute_py.gateway.timers import Timers
from octoroute_py.gateway.trials import Trials
from octoroute_py.ledger.pricing import baseline_price
from octoroute_py.routing.artifact import load_prepared
from octoroute_py.routing.default import Cascade
from octoroute_py.routing.experiments import RunningExperiments
from octoroute_py.routing.intent import Catalog
from octoroute_py.routing.judge import Question
from octoroute_py.routing.rulebook import Rulebook, compile_rulebook
from octoroute_py.routing.strategies import RULES, cascades_of, make_judge, make_router
from octoroute_py.routing.verdict import JudgeFailed, JudgeFailure
from octoroute_py.tiers.demands import Demand, demand_of
from octoroute_py.tiers.table import TierTable
from octoroute_py.transport.base import ConnectFailed, UpstreamAnswer, UpstreamRequest


def make_snapshot(
    config: Config,
    table: TierTable,
    router: Cascade,
    *,
    generation: int,
    registry: Registry = EMPTY_REGISTRY,
    share_now: ShareOf | None = None,
    wall: Wall = clock.wall,
    before: Snapshot | None = None,
) -> Snapshot:
    """The snapshot of a configuration, which has the registered endpoints in it, with its live parts.

    `share_now` tells a canary's share as it is at the moment; without it the registry's holds. Rules that are the same
    as `before` are not compiled again. Raises ConfigError for a rule that cannot be used.
    """
    catalog = Catalog(config.endpoints)
    targets = Targets(catalog, table)
    share_now = share_now or (lambda deployment: registry.canaries[deployment].traffic_split.canary)
    trials = Trials(registry.experiments.values(), cascades_of(router, wall))
    rulebook, rulebooks = _rulebooks(config, registry, before, rule_sets=trials.rule_sets)
    books: list[Rulebook | RunningExperiments] = [trials.running, rulebook, *rulebooks.values()]
    return Snapshot(
        generation=generation,
        config=config,
        catalog=catalog,
        router=router,
        table=table,
        registry=registry,
        targets=targets,
        demands=_demands(registry),
        rollouts=Rollouts(registry, targets, table, share_now=share_now),
        trials=trials,
        reads_words=router.reads_words or trials.reads_words,
        scopes=Scopes(config.endpoints),
        timers=Timers(config),
        gated=any(e.capabilities is not None or e.context_window is not None for e in config.endpoints),
        rulebook=rulebook,
        rulebooks=rulebooks,
        header_rules=any(book.reads_headers for book in books),
        metadata_rules=any(book.reads_metadata for book in books),
        baseline=baseline_price(config),
        agent_types=dict(config.limits.agent_types),
        unlimited=config.limits.per_key == config.limits.per_ip == NO_RATES and not config.limits.agent_types,
    )


def _demands(registry: Registry) -> dict[str, Demand]:
    found = ((agent_type, demand_of(each)) for agent_type, each in registry.preferences.items())
    return {agent_type: demand for agent_type, demand in found if demand is not None}


def _rulebooks(
    config: Config, registry: Registry, before: Snapshot | None, *, rule_sets: frozenset[str]
) -> tuple[Rulebook, Mapping[str, Rulebook]]:
    """The rules for all requests, and for each of these rule sets the same and its own."""
    routing, rules = config.routing, list(registry.rules.values())
    file_rules = routing.strategy in RULES
    wanted = [each for each in rule_sets if any(rule.rule_set == each for rule in rules)]
    usual: Rulebook | None = None
    known: Mapping[str, Rulebook] = {}
    if before is not None and rules == list(before.registry.rules.values()):
        was = before.config.routing
        if routing.rules == was.rules and file_rules is (was.strategy in RULES):
            usual, known = before.rulebook, before.rulebooks

    def compiled(rule_set: str | None = None) -> Rulebook:
        return compile_rulebook(routing.rules, rules, file_rules=file_rules, rule_set=rule_set)

    return usual or compiled(), {each: known.get(each) or compiled(each) for each in wanted}


def dry_snapshot(config: Config, *, rng: random.Random) -> Snapshot:
    """The snapshot of a configuration for decisions alone: nothing can be sent, and the judge answers nobody.

    Raises ConfigError for an artifact or a rule that cannot be used.
    """
    neural = load_prepared(config)
    judge = make_judge(config, _nobody, now=clock.monotonic, report=lambda failure, error: None, rng=rng)
    router = make_router(config, clock.wall, neural=neural, judge=judge)
    table = TierTable.build(config, lambda _: _Nowhere(), rng=rng, now=clock.monotonic())
    return make_snapshot(config, table, router, generation=1)


class _Nowhere:
    """A transport for when nothing is sent."""

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> UpstreamAnswer:
        raise ConnectFailed("nothing is sent from here")

    async def aclose(self) -> None:
        return


async def _nobody(question: Question) -> bytes:
    raise JudgeFailed(JudgeFailure.UNAVAILABLE)
