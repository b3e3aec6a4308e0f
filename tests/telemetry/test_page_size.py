"""The page stays short whatever is configured and whatever clients send, and counts add up all the same."""

import random
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from octoroute_py.core.rollout import Side, arm_of
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import TIERS, BreakerState, Surface
from octoroute_py.telemetry.allotment import FIXED, KINDS, SERIES, allot
from octoroute_py.telemetry.labels import CODES
from octoroute_py.telemetry.live_rows import BreakerRow, BudgetRow, CanaryRow, LiveRows
from octoroute_py.telemetry.metrics import Metrics
from octoroute_py.telemetry.semconv import operation_of
from octoroute_py.telemetry.served import Known, Served

STATUSES = (200, 400, 401, 403, 404, 413, 422, 429, 499, 500, 502, 503, 504, 508, 777)


def world(*, endpoints: int, rules: int, workspaces: int, canaries: int = 0) -> tuple[Known, LiveRows]:
    """A gateway with so many of each; every endpoint has a model of its own."""
    names = [f"fast/model-{number}#1" for number in range(endpoints)]
    deployments = [f"rollout-{number}" for number in range(canaries)]
    known = Known(
        endpoints=tuple(Served(name, f"model-{number}") for number, name in enumerate(names)),
        rules=tuple(f"rule-{number}" for number in range(rules)),
        workspaces=tuple(f"team-{number}" for number in range(workspaces)),
        agent_types=tuple(f"agent-{number}" for number in range(20)),
        canaries=tuple(deployments),
    )
    live = LiveRows(
        breakers=(
            *(BreakerRow("endpoint", name, BreakerState.OPEN, 1, 5) for name in names),
            *(BreakerRow("tier", tier.value, BreakerState.OPEN, 1) for tier in TIERS),
            BreakerRow("judge", "judge", BreakerState.OPEN, 1),
        ),
        available=[(name, True) for name in names],
        up=[(name, True) for name in names],
        pools=[(name, 0.5) for name in (*names, "gateway")],
        health=[(f"model-{number}", 50.0) for number in range(endpoints)],
        models=dict.fromkeys(("active", "canary", "testing", "deprecated", "inactive"), 1),
        rules={"true": rules, "false": 0},
        canary_states=dict.fromkeys(("preparing", "active", "paused", "completed", "failed", "rolledback"), 1),
        canaries=[CanaryRow(each, "model-1", "model-2", 10.0) for each in deployments],
        budgets=[BudgetRow(name, 0.5, 1.0) for name in known.workspaces],
    )
    return known, live


def everything(metrics: Metrics, known: Known, rng: random.Random, *, times: int) -> None:
    """Requests of all kinds, to known and unknown models, of known and unknown people."""
    surfaces, codes = list(Surface), [*sorted(CODES), "made-up", None]
    for number in range(times):
        endpoint = known.endpoints[number % len(known.endpoints)].endpoint_id if number % 5 else f"gone-{number}"
        workspace = rng.choice(known.workspaces) if known.workspaces and number % 2 else f"user-{number}"
        tenant, surface = metrics.tenant(workspace), rng.choice(surfaces)
        agent = rng.choice((f"agent-{number % 25}", "", f"made-up-{number}"))
        metrics.requests.ended(surface, rng.choice(STATUSES), tenant=tenant, seconds=0.1, error=rng.choice(codes))
        metrics.models.attempted(endpoint, tenant=tenant, seconds=0.1, cost_uusd=10)
        metrics.models.ended(endpoint, agent_type=agent, tenant=tenant, usage=Usage(3, 2), seconds=0.2)
        metrics.gen_ai.attempted(endpoint, operation_of(surface), 0.1)
        metrics.gen_ai.used(endpoint, operation_of(surface), Usage(3, 2))
        metrics.gen_ai.first_token(operation_of(surface), 0.05)
        metrics.upstream(endpoint, 200)
        metrics.finished(TIERS[number % 3], rng.choice(STATUSES), 0.1)
        metrics.rules.decided(f"rule-{number}")
        metrics.requests.decided(arm_of(f"rollout-{number}", Side.CANARY), "error")
        metrics.dancer.failed(f"made-up-{number}")
        metrics.refused(f"made-up-{number}")


def numbers(page: bytes) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


@pytest.mark.parametrize(
    ("endpoints", "rules", "workspaces", "canaries"),
    [(1, 0, 0, 0), (5, 20, 3, 1), (12, 1000, 10, 0), (40, 10, 200, 30), (300, 1000, 200, 30), (1000, 3000, 1000, 100)],
)
def test_no_configuration_makes_the_page_longer_than_two_thousand_series(
    endpoints: int, rules: int, workspaces: int, canaries: int
) -> None:
    known, live = world(endpoints=endpoints, rules=rules, workspaces=workspaces, canaries=canaries)
    metrics = Metrics(live=lambda: live)
    metrics.know(known)
    everything(metrics, known, random.Random(1), times=4000)
    page = metrics.render()
    assert sum(1 for _ in numbers(page)) <= SERIES == 2000
    assert len(page) <= 1_000_000


def test_a_small_gateway_shows_every_name() -> None:
    known, live = world(endpoints=6, rules=30, workspaces=5)
    metrics = Metrics(live=lambda: live)
    metrics.know(known)
    shown: dict[str, set[str]] = {}
    for _, labels, _ in numbers(metrics.render()):
        for label, value in labels.items():
            shown.setdefault(label, set()).add(value)
    assert {each.endpoint_id for each in known.endpoints} <= shown["endpoint"] & shown["endpoint_url"]
    assert {each.model for each in known.endpoints} <= shown["model_id"] & shown["gen_ai_request_model"]
    assert set(known.rules) <= shown["rule_id"]
    assert len(shown["workspace_id"]) == 5


def test_what_has_no_label_of_its_own_counts_as_other_and_nothing_is_lost() -> None:
    known, live = world(endpoints=300, rules=1000, workspaces=200)
    metrics = Metrics(live=lambda: live)
    metrics.know(known)
    everything(metrics, known, random.Random(2), times=3000)
    found = list(numbers(metrics.render()))

    def total(name: str, **labels: str) -> float:
        return sum(value for each, own, value in found if each == name and labels.items() <= own.items())

    for name in (
        "model_router_requests_total",
        "model_router_model_requests_total",
        "model_router_request_duration_seconds_count",
        "model_router_endpoint_latency_seconds_count",
        "gen_ai_client_operation_duration_seconds_count",
        "octoroute_upstream_requests_total",
        "octoroute_request_duration_seconds_count",
        "model_router_routing_rule_matches",
    ):
        assert total(name) == 3000, name
    assert total("model_router_tokens_total", token_type="total") == 3000 * 5
    assert total("gen_ai_client_token_usage_sum") == 3000 * 5
    assert total("model_router_cost_usd_total") == pytest.approx(3000 * 10e-6)
    assert total("model_router_routing_rule_matches", rule_id="other") > 0
    assert total("model_router_model_requests_total", model_id="other") > 0


def test_ten_thousand_random_names_add_at_most_ten_series() -> None:
    known, live = world(endpoints=5, rules=8, workspaces=2)
    metrics = Metrics(live=lambda: live)
    metrics.know(known)
    before = {(name, *sorted(labels.items())) for name, labels, _ in numbers(metrics.render())}
    for number in range(10_000):
        tenant = metrics.tenant(f"user-{number}")
        metrics.requests.ended(Surface.CHAT, 404, tenant=tenant, seconds=0.001, error="model_not_found")
        metrics.requests.ended(Surface.CHAT, 200, tenant=tenant, seconds=0.1, error=None)
        metrics.models.attempted("fast/model-1#1", tenant=tenant, seconds=0.1, cost_uusd=5)
        metrics.models.ended(
            "fast/model-1#1", agent_type=f"tag-{number}", tenant=tenant, usage=Usage(1, 1), seconds=0.1
        )
        metrics.finished(None, 404, 0.001)
        metrics.rules.decided(f"rule-of-{number}")
    page = metrics.render()
    added = {(name, *sorted(labels.items())) for name, labels, _ in numbers(page)} - before
    assert len(added) <= 10
    assert not any(word in page.decode() for word in ("user-", "tag-", "rule-of-"))


def test_names_that_stay_go_on_counting_when_others_come_and_go() -> None:
    known, live = world(endpoints=3, rules=0, workspaces=1)
    metrics = Metrics(live=lambda: live)
    metrics.know(known)
    tenant = metrics.tenant("team-0")
    for each in known.endpoints:
        metrics.models.ended(each.endpoint_id, agent_type="", tenant=tenant, usage=Usage(7, 1), seconds=0.1)
        metrics.gen_ai.attempted(each.endpoint_id, "chat", 0.1)
    more, _ = world(endpoints=4, rules=5, workspaces=2)
    metrics.know(Known(endpoints=more.endpoints[1:], rules=more.rules, workspaces=more.workspaces))
    tokens = {
        labels["model_id"]: value
        for name, labels, value in numbers(metrics.render())
        if name == "model_router_tokens_total" and labels["token_type"] == "prompt" and value
    }
    assert tokens == {"model-1": 7, "model-2": 7}


def test_room_is_given_in_order_and_everybody_has_what_was_promised() -> None:
    crowd = dict.fromkeys((kind.name for kind in KINDS), 10_000)
    given = allot(crowd)
    assert all(given[kind.name] >= kind.promised for kind in KINDS)
    assert sum(given[kind.name] * kind.price for kind in KINDS) <= SERIES - FIXED
    few = dict.fromkeys(crowd, 1)
    assert allot(few) == few
    assert allot({}) == dict.fromkeys(crowd, 0)
