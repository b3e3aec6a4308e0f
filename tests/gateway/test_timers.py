import pytest

from octoroute_py.config.schema import EndpointConfig, ServerConfig, TimeoutsConfig
from octoroute_py.core.words import Location, Tier
from octoroute_py.gateway.timers import Timers
from tests.fakes.endpoints import config, endpoint_config

TIERS_OF_ONE = [endpoint_config(f"{tier}/a#1") for tier in Tier]


def attempt(endpoint: EndpointConfig, *, stream: bool = False, **fields: object) -> tuple[float, bool]:
    return Timers(config(endpoint, **fields)).attempt(endpoint.id, stream=stream)


@pytest.mark.parametrize(
    ("tier", "first_event_s", "whole_s", "silence_s"),
    [("fast", 15.0, 60.0, 20.0), ("balanced", 45.0, 150.0, 30.0), ("deep", 120.0, 450.0, 60.0)],
)
def test_an_attempt_has_the_limits_of_its_tier_and_they_are_ours(
    tier: str, first_event_s: float, whole_s: float, silence_s: float
) -> None:
    timers = Timers(config(*TIERS_OF_ONE))
    assert timers.attempt(f"{tier}/a#1", stream=True) == (first_event_s, False)
    assert timers.attempt(f"{tier}/a#1", stream=False) == (whole_s, False)
    assert timers.silence_s[f"{tier}/a#1"] == silence_s


@pytest.mark.parametrize("stream", [True, False])
def test_the_first_set_of_endpoint_tier_and_server_replaces_the_limit(stream: bool) -> None:
    plain, own = endpoint_config(), endpoint_config(timeout_seconds=7.0)
    server, tier = ServerConfig(request_timeout_seconds=30.0), TimeoutsConfig(fast=12.0)
    assert attempt(own, stream=stream, timeouts=tier, server=server) == (7.0, True)
    assert attempt(plain, stream=stream, timeouts=tier, server=server) == (12.0, True)
    assert attempt(plain, stream=stream, timeouts=TimeoutsConfig(deep=12.0), server=server) == (30.0, True)


def test_a_limit_of_one_tier_is_no_limit_of_another() -> None:
    timers = Timers(config(*TIERS_OF_ONE, timeouts=TimeoutsConfig(balanced=5.0)))
    assert [timers.attempt(f"{tier}/a#1", stream=False) for tier in Tier] == [
        (60.0, False),
        (5.0, True),
        (450.0, False),
    ]


@pytest.mark.parametrize(
    ("tier", "stream_s", "buffered_s"),
    [(Tier.FAST, 300.0, 120.0), (Tier.BALANCED, 900.0, 300.0), (Tier.DEEP, 3600.0, 900.0)],
)
def test_the_whole_request_has_a_deadline_by_tier(tier: Tier, stream_s: float, buffered_s: float) -> None:
    timers = Timers(config(*TIERS_OF_ONE))
    assert timers.deadline(tier, stream=True, asked_s=None) == stream_s
    assert timers.deadline(tier, stream=False, asked_s=None) == buffered_s


def test_a_request_may_shorten_its_deadline_and_never_lengthen_it() -> None:
    timers = Timers(config(*TIERS_OF_ONE))
    assert timers.deadline(Tier.FAST, stream=False, asked_s=0.5) == 0.5
    assert timers.deadline(Tier.FAST, stream=False, asked_s=1e9) == 120.0


def test_an_operator_who_allows_an_attempt_more_than_the_deadline_lengthens_it_for_that_tier_only() -> None:
    timers = Timers(config(endpoint_config(timeout_seconds=2000.0), endpoint_config("deep/a#1")))
    assert timers.deadline(Tier.FAST, stream=False, asked_s=None) == 2000.0
    assert timers.deadline(Tier.DEEP, stream=False, asked_s=None) == 900.0


def test_an_endpoint_may_set_its_own_pause_and_connect_limit() -> None:
    timers = Timers(config(endpoint_config(idle_seconds=90.0, connect_seconds=1.5)))
    assert (timers.silence_s["fast/a#1"], timers.connect_s["fast/a#1"]) == (90.0, 1.5)


@pytest.mark.parametrize(("location", "limit_s"), [(Location.LOCAL, 3.0), (Location.CLOUD, 5.0)])
def test_connecting_to_this_network_takes_three_seconds_and_elsewhere_five(location: Location, limit_s: float) -> None:
    assert Timers(config(endpoint_config(location=location))).connect_s["fast/a#1"] == limit_s
