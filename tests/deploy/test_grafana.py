"""Grafana: dashboards that are what their script writes, about series and labels that there are; and its start."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from octoroute_py.telemetry.metrics import Metrics
from scripts.grafana import DASHBOARDS, FOLDER, made, of_instances, written
from tests.deploy.test_compose import bind_mounts, compose, compose_text, dockerfile, named_volumes, services
from tests.fakes.deployment import Service
from tests.telemetry.test_page_size import numbers, world

__all__ = ["compose", "compose_text", "dockerfile", "services"]

SERIES = re.compile(
    r"\b(?:by|without|on) \(([^)]*)\)|\b((?:octoroute|tiny_dancer|model_router|gen_ai)_\w+|up)\{([^}]*)\}"
)
SELECTED = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"')
OF_PROMETHEUS = {"instance", "job"}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel with the name of its dashboard's file."""
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text())["panels"]:
            yield path.name, panel


def queries() -> list[tuple[str, str, str]]:
    """Dashboard and panel, expression, and legend of every query."""
    return [
        (f"{name}: {panel['title']}", target["expr"], target["legendFormat"])
        for name, panel in panels()
        for target in panel.get("targets", [])
    ]


@pytest.fixture(scope="module")
def served() -> dict[str, set[str]]:
    """The labels of every series that a gateway may serve."""
    known, live = world(endpoints=3, rules=3, workspaces=2, canaries=1)
    metrics = Metrics(live=lambda: live)
    metrics.know(known)
    found: dict[str, set[str]] = {"up": set()}
    for name, labels, _ in numbers(metrics.render()):
        found.setdefault(name, set()).update(labels)
    return found


def test_the_dashboards_are_those_of_their_list_of_panels() -> None:
    assert {path.name: path.read_text() for path in DASHBOARDS.iterdir()} == {
        name: written(dashboard) for name, dashboard in made().items()
    }, "run python scripts/grafana.py"


def test_there_is_a_dashboard_for_each_thing_an_operator_asks_about() -> None:
    assert set(made()) == {"requests.json", "routing.json", "money.json", "upstreams.json", "tiny-dancer.json"}
    assert len(queries()) > 70


def test_a_query_is_put_to_the_chosen_instances_and_nothing_else_is_changed() -> None:
    chosen = 'instance=~"$instance"'
    assert of_instances("sum(octoroute_a_total)") == f"sum(octoroute_a_total{{{chosen}}})"
    assert of_instances('rate(octoroute_a{k="up"}[5m])') == f'rate(octoroute_a{{{chosen}, k="up"}}[5m])'
    assert of_instances("sum by (gen_ai_x, le) (gen_ai_y)") == f"sum by (gen_ai_x, le) (gen_ai_y{{{chosen}}})"
    assert of_instances('gen_ai_y{gen_ai_x="a"} / up') == f'gen_ai_y{{{chosen}, gen_ai_x="a"}} / up{{{chosen}}}'


@pytest.mark.parametrize(("where", "query", "legend"), queries(), ids=lambda value: value[:60])
def test_every_query_asks_for_series_and_labels_that_there_are(
    where: str, query: str, legend: str, served: dict[str, set[str]]
) -> None:
    kept: set[str] | None = None
    shown = set(re.findall(r"\{\{(\w+)\}\}", legend))
    asked = 0
    for labels, name, matchers in SERIES.findall(query):
        if not name:
            kept = {each.strip() for each in labels.split(",")}
            continue
        asked += 1
        assert name in served, where
        assert 'instance=~"$instance"' in matchers
        assert set(SELECTED.findall(matchers)) <= served[name] | OF_PROMETHEUS, (where, name)
        assert (kept or set()) <= served[name] | OF_PROMETHEUS, (where, name)
        if kept is not None:
            assert shown <= kept, (where, legend)
            assert ("le" in kept) == name.endswith("_bucket"), where
    assert asked, where
    assert query.count("{") == asked, where


def test_every_series_is_shown_somewhere(served: dict[str, set[str]]) -> None:
    asked = {name for _, query, _ in queries() for _, name, _ in SERIES.findall(query) if name}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in asked}
    there = {re.sub(r"_(bucket|sum|count)$", "", name) for name in served}
    assert {name for name in there - shown if name.startswith(("octoroute_", "tiny_dancer_", "gen_ai_"))} == set()
    assert there - shown == {  # told in octoroute's words, or the rest of what is shown
        "model_router_canary_traffic_split_production",
        "model_router_circuit_breaker_state",
        "model_router_model_requests_total",
        "model_router_request_duration_seconds",
    }


@pytest.mark.parametrize("name", sorted(made()))
def test_panels_lie_beside_and_below_each_other_without_overlap(name: str) -> None:
    dashboard = made()[name]
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & taken, panel["title"]
        taken |= cells
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(set(titles)) == len(titles)


def test_grafana_reads_the_prometheus_and_the_dashboards_beside_it(services: dict[str, Service]) -> None:
    grafana, mounts = services["grafana"], bind_mounts(services["grafana"])
    source = yaml.safe_load((FOLDER / "source.yml").read_text())
    assert [each["url"] for each in source["datasources"]] == ["http://prometheus:9090"]
    assert all(each["isDefault"] and not each["editable"] for each in source["datasources"])
    [provider] = yaml.safe_load((FOLDER / "folder.yml").read_text())["providers"]
    assert provider["options"]["path"] == mounts["./deploy/grafana/dashboards"]
    assert mounts["./deploy/grafana/source.yml"].startswith("/etc/grafana/provisioning/datasources/")
    assert mounts["./deploy/grafana/folder.yml"].startswith("/etc/grafana/provisioning/dashboards/")
    assert all(entry.endswith(":ro") for entry in grafana.spec["volumes"] if entry.startswith("."))
    assert named_volumes(grafana) == {"grafana-data": "/var/lib/grafana"}
    assert re.fullmatch(r"grafana/grafana:\d+\.\d+\.\d+", grafana.spec["image"])
    assert grafana.argv == ["/bin/sh", mounts["./deploy/grafana/start.sh"]]


def test_grafana_knows_one_user_and_listens_on_this_machine_alone(services: dict[str, Service]) -> None:
    spec = services["grafana"].spec
    assert spec["ports"] == ["127.0.0.1:3001:3000"]
    assert spec["environment"]["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert spec["environment"]["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert spec["environment"]["GF_SECURITY_ADMIN_PASSWORD"] is None


def started(data: Path, password: str | None) -> tuple[str, str]:
    """What the start shows, and the password that Grafana would take."""
    run = data / "run.sh"
    run.write_text('#!/bin/sh\nprintf %s "${GF_SECURITY_ADMIN_PASSWORD-unset}" >"$GF_PATHS_DATA/password"\n')
    run.chmod(0o755)
    given = {} if password is None else {"GF_SECURITY_ADMIN_PASSWORD": password}
    done = subprocess.run(
        ["/bin/sh", str(FOLDER / "start.sh")],
        env={"PATH": "/usr/bin:/bin", "GF_PATHS_DATA": str(data), "GRAFANA_RUN": str(run), **given},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout, (data / "password").read_text()


@pytest.mark.parametrize("password", [None, ""])
def test_without_a_password_the_first_start_makes_one_and_shows_it(tmp_path: Path, password: str | None) -> None:
    said, taken = started(tmp_path, password)
    assert re.fullmatch(r"[A-Za-z0-9+/]{24}", taken)
    assert f"admin password: {taken} " in said
    other = started(tmp_path, password)[1]
    assert other != taken


def test_later_starts_make_no_password_and_show_none(tmp_path: Path) -> None:
    (tmp_path / "grafana.db").touch()
    assert started(tmp_path, None) == ("", "unset")


def test_a_password_that_is_given_is_taken_and_not_shown(tmp_path: Path) -> None:
    assert started(tmp_path, "of-my-own") == ("", "of-my-own")
