"""Gauges of `model_router_*` about what is registered: how many, how healthy, and how much of a budget is used."""

from collections.abc import Iterator

from prometheus_client.core import Metric

from octoroute_py.telemetry.families import by_one_label, gauge
from octoroute_py.telemetry.live_rows import LiveRows
from octoroute_py.telemetry.served import tenant_of


def registry_gauges(live: LiveRows, *, scores: int, budgets: int) -> Iterator[Metric]:
    """The families, with room for so many scores and budgets; those that have none are not shown."""
    yield gauge(
        "model_router_model_health_score",
        "How a model was reported to be, 0 to 100",
        ("model_id",),
        (((model,), points) for model, points in sorted(dict(live.health).items())[:scores]),
    )
    yield gauge(
        "model_router_models_total",
        "Models, configured and registered, by status",
        ("status",),
        by_one_label(live.models.items()),
    )
    yield gauge(
        "model_router_routing_rules_total",
        "Routing rules of operators, by whether they are asked",
        ("enabled",),
        by_one_label(live.rules.items()),
    )
    yield gauge(
        "model_router_canary_deployments_total",
        "Canary deployments by status",
        ("status",),
        by_one_label(live.canary_states.items()),
    )
    rows = [(tenant_of(row.workspace), row) for row in live.budgets[:budgets]]
    yield gauge(
        "model_router_workspace_budget_utilization",
        "How much of its tightest budget a workspace has used, 1 for all of it",
        ("workspace_id",),
        (((tenant,), row.utilization) for tenant, row in rows),
    )
    yield gauge(
        "model_router_workspace_daily_spend",
        "What a workspace with a budget has spent today (UTC), in USD",
        ("workspace_id",),
        (((tenant,), row.spent_today_usd) for tenant, row in rows),
    )
