"""The alert rules and the scrape configuration, as Prometheus's own tool sees them."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from octoroute_py.telemetry.live_rows import LiveRows
from octoroute_py.telemetry.metrics import Metrics
from tests.fakes.repository import ROOT
from tests.prometheus.server import PROMTOOL
from tests.telemetry.test_page_size import numbers, world

pytestmark = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")

ALERTS = ROOT / "deploy" / "alerts.yml"
KEPT_NAMES = {
    "model_router_models_total",
    "model_router_routing_rules_total",
    "model_router_canary_deployments_total",
    "octoroute_routing_duration_ms",
    "tiny_dancer_inference_time_microseconds",
    "tiny_dancer_latency_microseconds",
    "gen_ai_client_token_usage",
}
"""Names that reference systems or conventions fixed, and that promtool would have otherwise."""


def promtool(*arguments: str, given: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    assert PROMTOOL is not None
    return subprocess.run([PROMTOOL, *arguments], input=given, capture_output=True, check=False)


def metrics() -> Metrics:
    """Everything that a gateway may serve."""
    known, live = world(endpoints=3, rules=3, workspaces=2, canaries=1)
    made = Metrics(live=lambda: live)
    made.know(known)
    return made


def test_rules_and_scrape_configuration_are_valid() -> None:
    for arguments in (("check", "rules", str(ALERTS)), ("check", "config", str(ROOT / "deploy" / "prometheus.yml"))):
        done = promtool(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr


def test_rules_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    cases = (ROOT / "tests" / "prometheus" / "alerts_test.yml").read_text()
    path = tmp_path / "cases.yml"
    path.write_text(cases.replace("ALERTS", str(ALERTS)))
    done = promtool("test", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_ask_for_series_and_labels_that_there_are() -> None:
    served: dict[str, set[str]] = {"up": {"job"}}
    for name, labels, _ in numbers(metrics().render()):
        served.setdefault(name, set()).update(labels)
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            used = re.findall(r"\b((?:octoroute|model_router|up)[a-z_]*)(?:\{([^}]*)\})?", rule["expr"])
            assert used
            for name, matchers in used:
                assert name in served, (rule["alert"], name)
                assert set(re.findall(r"(\w+)(?==|!=)", matchers)) <= served[name], (rule["alert"], matchers)


@pytest.mark.parametrize("page", ["empty", "full"])
def test_the_page_passes_promtools_checks_but_for_names_that_are_given(page: str) -> None:
    served = Metrics(live=LiveRows) if page == "empty" else metrics()
    done = promtool("check", "metrics", given=served.render())
    complaints = (done.stdout + done.stderr).decode().splitlines()
    assert done.returncode in {0, 3}, complaints
    assert {line.split()[0] for line in complaints if line} <= KEPT_NAMES, complaints
