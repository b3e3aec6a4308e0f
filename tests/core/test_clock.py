"""Times as people read them."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.clock import iso


def test_a_moment_has_three_places_and_ends_in_z() -> None:
    assert iso(1_790_000_000_042) == "2026-09-21T14:13:20.042Z"
    assert iso(1_790_000_000_000) == "2026-09-21T14:13:20.000Z"


@given(st.integers(0, 250_000_000_000_000))
def test_a_moment_can_be_read_back(at_ms: int) -> None:
    assert datetime.fromisoformat(iso(at_ms)) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at_ms)
