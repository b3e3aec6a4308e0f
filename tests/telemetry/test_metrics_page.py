"""docs/metrics.md is what its script writes."""

from scripts.metrics_page import PAGE, written


def test_the_tables_are_those_of_the_metrics_themselves() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == written(page), "run python scripts/metrics_page.py"


def test_every_series_and_alert_has_its_row() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name in (
        "octoroute_requests_total",
        "octoroute_config_reloads_total",
        "tiny_dancer_errors_by_type_total",
        "model_router_tokens_total",
        "gen_ai_client_token_usage",
        "OctorouteBudgetNearLimit",
        "model_router_drift_detection_score",
    ):
        assert f"| `{name}` |" in page or f"| {name} |" in page, name
