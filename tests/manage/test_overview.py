"""Endpoints are healthy, degraded or unhealthy by what is known of them now."""

from octoroute_py.config.schema import RuleConfig
from octoroute_py.core.words import Tier
from octoroute_py.manage.figures import figures
from octoroute_py.manage.overview import Health, health_of, overview
from octoroute_py.tiers.endpoint import Endpoint
from tests.fakes.endpoints import endpoint, trip

NOW = 100.0


def answered(one: Endpoint, now: float) -> None:
    hold = one.begin(now)
    hold.success(now)
    hold.close()


def test_an_endpoint_without_trouble_is_healthy_also_when_it_is_full() -> None:
    one = endpoint(max_in_flight=1)
    one.begin(NOW)
    assert health_of(one, NOW) is Health.HEALTHY


def test_an_open_breaker_is_unhealthy_and_a_half_open_one_degraded() -> None:
    one = endpoint()
    trip(one, NOW)
    assert health_of(one, NOW) is Health.UNHEALTHY
    assert health_of(one, one.back_at(NOW)) is Health.DEGRADED


def test_a_cool_down_is_unhealthy_then_degraded_until_an_answer_comes() -> None:
    one = endpoint()
    one.cool_down(NOW, 10)
    assert health_of(one, NOW + 9) is Health.UNHEALTHY
    assert health_of(one, NOW + 10) is Health.DEGRADED
    answered(one, NOW + 11)
    assert health_of(one, NOW + 11) is Health.HEALTHY


def test_a_failed_probe_degrades_and_enough_of_them_take_it_out() -> None:
    one = endpoint()
    one.probe_failed(NOW, threshold=2)
    assert health_of(one, NOW) is Health.DEGRADED
    one.probe_failed(NOW, threshold=2)
    assert health_of(one, NOW) is Health.UNHEALTHY
    one.probe_alive(NOW)
    assert health_of(one, NOW) is Health.HEALTHY


def test_the_overview_counts_and_lists_every_endpoint_once() -> None:
    well, troubled, out = endpoint("fast/a#1"), endpoint("fast/b#1"), endpoint("deep/c#1")
    troubled.probe_failed(NOW, threshold=3)
    trip(out, NOW)
    rules = [RuleConfig(name="x", tier=Tier.FAST), RuleConfig(name="y", tier=Tier.DEEP, enabled=False)]
    told = overview([well, troubled, out], rules=rules, last_hour=figures([], {}), now=NOW)
    assert (told.models.total, told.models.active) == (3, 2)
    assert (told.models.healthy, told.models.degraded, told.models.unhealthy) == (1, 1, 1)
    assert (told.healthy_models, told.degraded_models, told.unhealthy_models) == (
        ["fast/a#1"],
        ["fast/b#1"],
        ["deep/c#1"],
    )
    assert (told.routing.total_rules, told.routing.enabled_rules) == (2, 1)
    assert told.performance is not None
    assert told.performance.requests_last_hour == 0


def test_without_a_ledger_there_is_no_performance() -> None:
    assert overview([], rules=[], last_hour=None, now=NOW).performance is None
