"""Writes the tables of docs/metrics.md from the metrics, the rules and the queries: python scripts/metrics_page.py"""

import tomllib
from pathlib import Path

import yaml
from prometheus_client import Metric

from octoroute_py.core.words import TIERS, BreakerState
from octoroute_py.telemetry.live_rows import BreakerRow, BudgetRow, CanaryRow, LiveRows
from octoroute_py.telemetry.metrics import FAMILIES, Metrics
from octoroute_py.telemetry.served import Known, Served

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
BEGIN, END = "<!-- {name}: written by scripts/metrics_page.py -->", "<!-- end of {name} -->"


def example() -> Metrics:
    """A recorder that shows every family with its labels."""
    endpoint = "fast/a#1"
    live = LiveRows(
        breakers=(
            BreakerRow("endpoint", endpoint, BreakerState.CLOSED, 0),
            *(BreakerRow("tier", tier.value, BreakerState.CLOSED, 0) for tier in TIERS),
        ),
        available=[(endpoint, True)],
        up=[(endpoint, True)],
        health=[("a", 100.0)],
        pools=[("gateway", 0.0)],
        models={"active": 1},
        rules={"true": 1},
        canary_states={"active": 1},
        canaries=[CanaryRow("d", "a", "b", 10.0)],
        budgets=[BudgetRow("w", 0.0, 0.0)],
    )
    metrics = Metrics(live=lambda: live)
    metrics.know(Known(endpoints=(Served(endpoint, "a"),), rules=("r",), workspaces=("w",), canaries=("d",)))
    return metrics


def shown_name(metric: Metric) -> str:
    """The name as it stands on the page."""
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def series() -> str:
    """A table a family: name, kind, labels, meaning."""
    parts = []
    found = list(example().collect())
    for family in FAMILIES:
        rows = ["| Series | Kind | Labels | What it tells |", "|---|---|---|---|"]
        for metric in found:
            if metric.name.startswith(f"{family}_"):
                labels = sorted({label for sample in metric.samples for label in sample.labels} - {"le"})
                kind = "untyped" if metric.type == "unknown" else metric.type
                told = ", ".join(f"`{label}`" for label in labels) or "–"
                rows.append(f"| `{shown_name(metric)}` | {kind} | {told} | {metric.documentation} |")
        parts.append(f"### `{family}_*`\n\n" + "\n".join(rows))
    return "\n\n".join(parts)


def alerts() -> str:
    """The rules of deploy/alerts.yml."""
    rows = ["| Alert | Severity | After | Says |", "|---|---|---|---|"]
    for group in yaml.safe_load((ROOT / "deploy" / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            said = rule["annotations"]["summary"]
            rows.append(f"| {rule['alert']} | {rule['labels']['severity']} | {rule.get('for', 'at once')} | {said} |")
    return "\n".join(rows)


def differences() -> str:
    """Queries of the reference systems that are put otherwise here, or cannot be."""
    rows = ["| Asked there | Here | Because |", "|---|---|---|"]
    for each in tomllib.loads((ROOT / "tests" / "prometheus" / "queries.toml").read_text())["queries"]:
        asked = each["asked"].replace("|", "\\|")
        if "left_out" in each:
            rows.append(f"| `{asked}` | not told | {each['left_out']} |")
        elif "query" in each:
            rows.append(f"| `{asked}` | `{each['query']}` | {each['why']} |".replace('=~"failed|', '=~"failed\\|'))
    return "\n".join(rows)


def written(page: str) -> str:
    """The page with its tables as they must be."""
    for name, table in (("series", series()), ("alerts", alerts()), ("queries", differences())):
        begin, end = BEGIN.format(name=name), END.format(name=name)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = f"{before}{begin}\n\n{table}\n\n{end}{after}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
