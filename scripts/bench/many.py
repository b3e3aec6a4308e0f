"""What many endpoints and rules cost a request, in process: PYTHONPATH=. python scripts/bench/many.py [--rules file]

An application with 3 endpoints and 4 rules, and one with 300 and 1,000, are asked in turns, through a transport that
answers at once. Of each case it tells microseconds a request of both and what the many cost more: CPU from the opened
request to the closed one, without the edge and the journal. Then the time the event loop stands still for a change of
what is registered, which makes a new snapshot. It exits 1 where a case costs more than it may, or a change too much.
"""

import argparse
import asyncio
import gc
import logging
import random
import statistics
import sys
import time
from typing import BinaryIO, Final, NamedTuple

import msgspec
import structlog
import uvloop

from octoroute_py.admission.principal import Principal
from octoroute_py.app import Application
from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import BalancerName, Config, EndpointConfig
from octoroute_py.core.allowance import Budgets, Grant
from octoroute_py.core.catalog import Model, ModelEndpoint, Provider
from octoroute_py.core.registry import Registry
from octoroute_py.core.rules import Conditions, CustomConditions, RoutingRule, RuleTarget
from octoroute_py.core.words import TIERS, Role, Surface, Tier
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink
from octoroute_py.transport.base import MAX_BODY_BYTES, Headers, UpstreamRequest
from scripts.recorded import ROOT, machine, short, spread, write_between_markers

FEW: Final = (3, 4)
MANY: Final = (300, 1_000)
TURN: Final = 100
"""Requests that are timed as one."""
MOST_MORE_US: Final = 10.0
MOST_SWAP_MS: Final = 20.0
DAY: Final = Budgets(daily_uusd=10**12)
BODY: Final = {"messages": [{"role": "user", "content": "What is the capital of France, and why?"}], "max_tokens": 100}
ANSWER: Final = msgspec.json.encode(
    {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Paris."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
    }
)


class Answer:
    """A whole answer that is there at once."""

    status = 200
    headers: Headers = [(b"content-type", b"application/json")]  # noqa: RUF012 - nobody changes it

    async def read(self, *, deadline: float, max_bytes: int = MAX_BODY_BYTES) -> bytes:
        return ANSWER

    async def chunk(self, *, deadline: float) -> bytes:
        return b""

    def close(self) -> None:
        return

    def finish(self) -> None:
        return


class Instant:
    """A transport without a network."""

    async def send(self, request: UpstreamRequest, *, deadline: float, connect_s: float) -> Answer:
        return Answer()

    async def aclose(self) -> None:
        return


class Bench(Application):
    """An application that reaches nobody."""

    def _make_transport(self, config: EndpointConfig) -> Instant:
        return Instant()

    def register(self, registry: Registry) -> None:
        """Put in force what is registered."""
        self._registry_changed(registry)


class Case(NamedTuple):
    """A kind of request, and the state its gateways are in."""

    name: str
    model: str
    grant: Grant | None = None
    balancer: BalancerName = BalancerName.WEIGHTED
    out: float = 0.0
    declared: bool = False


CASES: Final = (
    Case("auto", "auto"),
    Case("tier fast", "fast"),
    Case("tier fast, half are out", "fast", out=0.5),
    Case("tier fast, capabilities and windows", "fast", declared=True),
    Case("tier fast, by least loaded", "fast", balancer=BalancerName.LEAST_LOADED),
    Case("tier fast, by latency", "fast", balancer=BalancerName.LATENCY),
    Case("auto, a key for one model", "auto", grant=Grant(endpoints=("fast-0", "balanced-0"))),
    Case("auto, a key with a budget", "auto", grant=Grant(budgets=DAY)),
)


class Setup(NamedTuple):
    """How many there are, and where the rules come from."""

    endpoints: int
    rules: int
    source: str


def model_of(number: int, tier: Tier, case: Case) -> Model:
    """A registered model; where the case declares anything, they differ in it."""
    return Model(
        id=f"{tier.value}-{number}",
        name=f"model {number}",
        provider=Provider.CUSTOM,
        tier=tier,
        capabilities=("tools", "json") if case.declared and number % 3 else (),
        context_window=8_000 * (1 + number % 5) if case.declared else None,
        input_cost_per_mtok=1.0 + number % 7,
        output_cost_per_mtok=4.0 + number % 11,
    )


def rule_of(number: int) -> RoutingRule:
    """A rule that does not match; what it looks at goes by its number."""
    conditions = (
        Conditions(agent_type=(f"agent-{number}",)),
        Conditions(workspace_id=(f"space-{number}",)),
        Conditions(custom_conditions=CustomConditions(headers={"x-team": f"team-{number}"})),
        Conditions(user_tier=(f"tier-{number}",)),
    )[number % 4]
    targets = (RuleTarget(model_id="deep"),)
    return RoutingRule(id=f"rule-{number}", name=f"rule {number}", conditions=conditions, targets=targets)


def registry_of(setup: Setup, case: Case) -> Registry:
    """All models but the three of the file, and the rules where they come from the API."""
    models = [model_of(number, TIERS[number % 3], case) for number in range(3, setup.endpoints)]
    rules = [rule_of(number) for number in range(setup.rules if setup.source == "api" else 0)]
    return Registry(
        version=1,
        models={each.id: each for each in models},
        endpoints={
            each.id: (ModelEndpoint(id=f"{each.id}@1", model_id=each.id, url="http://10.1.1.1/v1"),) for each in models
        },
        rules={each.id: each for each in rules},
    )


def config_of(setup: Setup, case: Case) -> Config:
    """A file with one model a tier, and the rules where they come from the file."""
    each = "input_cost_per_mtok = 1.0\noutput_cost_per_mtok = 4.0\n"
    if case.declared:
        each += 'capabilities = ["tools", "json"]\ncontext_window = 32000\n'
    models = "".join(f'[[models.{t}]]\nname = "{t}-0"\nbase_url = "http://127.0.0.1:1/v1"\n{each}' for t in TIERS)
    whens = ('model = ["team-{}"]', "min_tokens = {}", 'header = {{ "x-team" = "team-{}" }}', 'model = ["agent-{}*"]')
    rules = "".join(
        f'[[routing.rules]]\nname = "rule-{n}"\ntier = "deep"\nwhen.{whens[n % 4].format(n + 10_000)}\n'
        for n in range(setup.rules if setup.source == "file" else 0)
    )
    routing = f'[routing]\nstrategy = "rule"\nbalancer = "{case.balancer.value}"\n'
    return parse_config(f'{models}{routing}{rules}[storage]\nurl = "none"\n[health]\nenabled = false\n')


def application_of(setup: Setup, case: Case, null: BinaryIO) -> Bench:
    """A gateway in the state of the case."""
    config = config_of(setup, case)
    bench = Bench(config, load=lambda: config, sink=Sink(null), scrubber=Scrubber(), rng=random.Random(1))
    bench.register(registry_of(setup, case))
    table = bench.gateway.snapshot.table
    for tier in TIERS:
        of = table.of(tier)
        for endpoint in of[: round(len(of) * case.out)]:
            endpoint.quota_out(bench.gateway.monotonic() + 1e6)
    return bench


async def ask(bench: Bench, case: Case, *, times: int) -> float:
    """Microseconds of CPU a request."""
    gateway, body = bench.gateway, msgspec.json.encode({"model": case.model, **BODY})
    principal = Principal("bench", Role.INFERENCE, "bench", case.grant)
    headers = [(b"content-type", b"application/json"), (b"x-team", b"team-none"), (b"user-agent", b"bench")]
    start = time.process_time_ns()
    for number in range(times):
        ctx = gateway.open(
            request_id=f"req-{number}",
            surface=Surface.CHAT,
            principal=principal,
            raw_headers=headers,
            source="127.0.0.1",
            entry=number,
        )
        await gateway.handle(ctx, body)
        ctx.status = 200
        gateway.close(ctx)
    gateway.settle()
    return (time.process_time_ns() - start) / 1e3 / times


async def swap(bench: Bench, registry: Registry) -> float:
    """Milliseconds of CPU for a change, in which the loop stands still."""
    start = time.thread_time_ns()
    bench.register(registry)
    taken = (time.thread_time_ns() - start) / 1e6
    await asyncio.sleep(0)
    return taken


async def compare(case: Case, options: argparse.Namespace, null: BinaryIO) -> tuple[str, bool]:
    """The row of one case; whether it is within its bound."""
    few, many = (application_of(Setup(*size, options.rules), case, null) for size in (FEW, MANY))
    for bench in (few, many):
        await ask(bench, case, times=2_000)
    less: list[float] = []
    more: list[float] = []
    for _ in range(options.rounds):
        gc.collect()
        gc.freeze()
        taken = {id(few): 0.0, id(many): 0.0}
        # The machine's speed drifts within a second: turns are short, and nobody is always first.
        for turn in range(options.turns):
            for bench in (few, many) if turn % 2 else (many, few):
                taken[id(bench)] += await ask(bench, case, times=TURN)
        less.append(taken[id(few)] / options.turns)
        more.append(taken[id(many)] / options.turns)
    added = [b - a for a, b in zip(less, more, strict=True)]
    within = statistics.median(added) <= MOST_MORE_US
    return f"| {case.name} | {spread(less)} | {spread(more)} | {spread(added)} | {told(within)} |", within


async def swaps(options: argparse.Namespace, null: BinaryIO) -> list[tuple[str, bool]]:
    """What changes cost, a row each; whether they are within their bound."""
    case, many = CASES[0], Setup(*MANY, "api")
    rows = []
    for name, other in (
        ("a model", many._replace(endpoints=many.endpoints - 1)),
        ("a rule", many._replace(rules=many.rules - 1)),
    ):
        bench = application_of(many, case, null)
        registries = [registry_of(other if version % 2 else many, case) for version in range(2 * options.rounds + 1)]
        taken = [await swap(bench, registry) for registry in registries][1:]  # the first changes nothing
        within = statistics.median(taken) <= MOST_SWAP_MS
        rows.append((f"| {name} | {spread(taken)} | {told(within)} |", within))
    return rows


def told(within: bool) -> str:
    """The verdict of a row."""
    return "yes" if within else "**no**"


async def run(options: argparse.Namespace, null: BinaryIO) -> tuple[str, bool]:
    """All cases, then the changes, as Markdown; whether all are within their bounds."""
    cases = [await compare(case, options, null) for case in CASES]
    changes = await swaps(options, null)
    rounds = f"{options.rounds} interleaved rounds of {options.turns * TURN} requests"
    lines = [
        f"{machine()}; {rounds}, rules of the {options.rules}; CPU, median (lowest to highest).",
        "",
        f"| request | µs with 3 endpoints and 4 rules | µs with 300 and 1,000 | µs more | ≤ {short(MOST_MORE_US)} |",
        "|---|---|---|---|---|",
        *(row for row, _ in cases),
        "",
        f"| change | ms | ≤ {short(MOST_SWAP_MS)} |",
        "|---|---|---|",
        *(row for row, _ in changes),
    ]
    return "\n".join(lines), all(within for _, within in (*cases, *changes))


def main() -> int:
    """Measures, prints and, if asked, records."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--turns", type=int, default=50, help=f"turns a round, of {TURN} requests each")
    parser.add_argument("--rules", choices=("file", "api"), default="api", help="where the rules come from")
    parser.add_argument("--record", action="store_true", help="write the figures into docs/performance.md")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with open("/dev/null", "wb", buffering=0) as null:
        text, within = uvloop.run(run(options, null))
    print(text)
    if options.record:
        write_between_markers(ROOT / "docs/performance.md", "bench-many", text)
    return 0 if within else 1


if __name__ == "__main__":
    sys.exit(main())
