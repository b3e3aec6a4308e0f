"""Micro-USD and USD: nothing is lost on the way, in either direction."""

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.money import usd, usd_text, uusd

AMOUNTS = st.integers(0, 10**15)


@given(AMOUNTS)
def test_micro_usd_are_told_as_usd_without_loss_and_read_back(amount: int) -> None:
    assert Fraction(usd_text(amount).decode()) == Fraction(amount, 10**6)
    assert uusd(usd(amount)) == amount
    assert round(usd(amount), 6) == usd(amount)


def test_an_amount_has_six_places_at_most() -> None:
    assert usd(1_234_567_891) == 1234.567891
    assert uusd(0.1 + 0.2) == 300_000


def test_no_limit_stays_no_limit() -> None:
    assert usd(None) is None
    assert uusd(None) is None
