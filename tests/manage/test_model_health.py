"""The score of a model is the mean of what was reported, and what was measured is added up over its endpoints."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import BreakerConfig, EndpointConfig
from octoroute_py.core.catalog import HealthReport, HealthStatus
from octoroute_py.core.registry import Kind
from octoroute_py.core.words import Tier
from octoroute_py.manage.documents import Desk
from octoroute_py.manage.model_health import Rating, follow_health, known_scores, measured, rating, score
from octoroute_py.storage.db import Database
from octoroute_py.storage.transaction import Transaction
from octoroute_py.tiers.endpoint import Endpoint
from octoroute_py.tiers.live import Live
from tests.fakes.silent_transport import SilentTransport


def share(most: float) -> st.SearchStrategy[float | None]:
    return st.none() | st.floats(0, most)


@pytest.mark.parametrize(
    ("report", "points", "word"),
    [
        (HealthReport(), None, Rating.UNKNOWN),
        (HealthReport(status=HealthStatus.HEALTHY), None, Rating.UNKNOWN),
        (HealthReport(uptime=100), 100, Rating.HEALTHY),
        (HealthReport(response_time=500, error_rate=0.01, availability=99.9), 85.39, Rating.HEALTHY),
        (HealthReport(response_time=500, error_rate=0.01, availability=99.9, uptime=0), 59.77, Rating.UNHEALTHY),
        (HealthReport(response_time=200), 80, Rating.HEALTHY),
        (HealthReport(response_time=400), 60, Rating.DEGRADED),
        (HealthReport(response_time=401), 59.9, Rating.UNHEALTHY),
        (HealthReport(response_time=86_400_000, error_rate=1), 0, Rating.UNHEALTHY),
    ],
)
def test_the_score_is_the_mean_of_what_was_reported(report: HealthReport, points: float | None, word: Rating) -> None:
    assert score(report) == points
    assert rating(score(report)) is word


@given(share(100), share(100), share(5000), share(1))
def test_a_score_is_a_share_and_better_news_never_make_it_worse(
    uptime: float | None, availability: float | None, response_ms: float | None, errors: float | None
) -> None:
    report = HealthReport(uptime=uptime, availability=availability, response_time=response_ms, error_rate=errors)
    points = score(report)
    if points is None:
        assert {uptime, availability, response_ms, errors} == {None}
        return
    assert 0 <= points <= 100
    best = HealthReport(
        uptime=None if uptime is None else 100,
        availability=None if availability is None else 100,
        response_time=None if response_ms is None else 0,
        error_rate=None if errors is None else 0,
    )
    assert score(best) == 100 >= points


def endpoint(id_: str) -> Endpoint:
    config = EndpointConfig(id=id_, tier=Tier.FAST, name="m", model="m", base_url="http://x.test/v1")
    return Endpoint(config, transport=SilentTransport(), live=Live(BreakerConfig(), rng=random.Random(1)))


def test_what_was_measured_is_added_up_over_the_endpoints_of_a_model() -> None:
    first, second = endpoint("a"), endpoint("b")
    for _ in range(6):
        first.live.recent.good(100.0, answer_s=1.0)
        second.live.recent.good(100.0, answer_s=3.0, first_event_s=0.5)
    for _ in range(4):
        second.live.recent.bad(100.0)
    found = measured((first, second), 100.0)
    assert (found.requests, found.success_rate, found.average_latency_ms) == (16, 0.75, 2000)
    assert found.average_first_event_ms is None  # of six streams
    assert measured((first, second), 500.0).requests == 0
    assert measured((), 100.0).success_rate is None


async def test_the_scores_follow_every_report_and_every_one_that_is_forgotten(tmp_path: Path) -> None:
    database = Database.open("sqlite:///x.db", base_dir=tmp_path)

    def noted(model: str, uptime: float | None, at_ms: int) -> None:
        def job(connection: Transaction) -> None:
            report = HealthReport(uptime=uptime)
            Desk(connection, at_ms=at_ms, actor="").note(Kind.HEALTH, model, report)

        database.submit(job).result()

    noted("a", 50, 1)
    following = follow_health(database)
    assert following.current.points == {"a": 50}
    noted("a", 60, 1)
    noted("b", None, 1)
    await following.refresh()
    assert following.current.points == {"a": 60}
    before = following.current
    await following.refresh()
    assert following.current is before
    database.submit(lambda c: Desk(c, at_ms=2, actor="").forget(Kind.HEALTH, "a")).result()
    noted("c", 70, 3)
    await following.refresh()
    assert following.current.points == {"c": 70}
    assert known_scores(following.current, {"c", "d"}) == [("c", 70)]
    assert known_scores(following.current, {"d"}) == []
    following.close()
    database.close()
