"""What a scrape reads of a running gateway, and that reading it changes nothing."""

from pathlib import Path

from octoroute_py.app.scrape_view import LONGEST_S, SAME_SCRAPE_S, Uptime
from octoroute_py.core.errors import ConfigError
from tests.fakes.application import httpx_config, running


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_uptime_is_whole_seconds_since_the_start() -> None:
    clock = Clock()
    uptime = Uptime(clock)
    assert uptime.read() == 0
    clock.now += 15.7
    assert uptime.read() == 15
    clock.now += 15.0
    assert uptime.read() == 30


def test_scrapes_at_the_same_time_are_told_the_same_uptime() -> None:
    clock = Clock()
    uptime = Uptime(clock)
    clock.now += 9.99
    told = []
    for _ in range(10):
        told.append(uptime.read())
        clock.now += SAME_SCRAPE_S / 5
    assert set(told) == {9}


def test_who_scrapes_all_the_time_sees_it_go_on() -> None:
    clock = Clock()
    uptime = Uptime(clock)
    for _ in range(1000):
        clock.now += SAME_SCRAPE_S / 2
        assert clock.now - 100 - uptime.read() <= LONGEST_S + 1


async def test_a_scrape_tells_what_there_is_and_changes_nothing() -> None:
    more = '[limits]\nmax_in_flight = 4\n[[routing.rules]]\nname = "night"\nenabled = false\ntier = "fast"\n'
    async with running(httpx_config() + more) as one:
        page = (await one.client.get("/metrics?family=model_router")).text
        assert 'model_router_models_total{status="active"} 3.0' in page
        assert 'model_router_routing_rules_total{enabled="false"} 1.0' in page
        assert 'model_router_bulkhead_pool_usage{pool_name="gateway"} 0.0' in page
        assert page.count("model_router_endpoint_health{") == 3
        assert (await one.client.get("/metrics?family=model_router")).text == page


async def test_a_workspace_with_a_budget_is_shown_by_its_hash(tmp_path: Path) -> None:
    async with running(httpx_config() + f'[storage]\nurl = "sqlite:///{tmp_path}/octoroute.db"\n') as one:
        answer = await one.client.post("/api/workspaces/team-a/config", json={"budgetLimits": {"daily": 2.0}})
        assert answer.is_success, answer.text
        page = (await one.client.get("/metrics?family=model_router")).text
        assert 'model_router_workspace_budget_utilization{workspace_id="96c2886c"} 0.0' in page  # SHA-256 of its name
        assert "team-a" not in page


async def test_reloads_are_counted_by_what_came_of_them_and_drained_endpoints_are_told() -> None:
    async with running(httpx_config()) as one:
        endpoint = one.application.gateway.snapshot.table.endpoints[0].id
        assert (await one.client.post("/admin/reload")).status_code == 200
        one.config = ConfigError("a problem")
        assert not (await one.client.post("/admin/reload")).is_success
        assert (await one.client.post("/admin/drain", json={"endpoint": endpoint})).is_success
        page = (await one.client.get("/metrics?family=octoroute")).text
        assert 'octoroute_config_reloads_total{outcome="applied"} 1.0' in page
        assert 'octoroute_config_reloads_total{outcome="refused"} 1.0' in page
        assert "octoroute_drained_endpoints 1.0" in page
