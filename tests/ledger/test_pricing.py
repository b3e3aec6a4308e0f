"""Money is exact: every price is that of fractions, rounded once, and a reservation is never below it."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Tier
from octoroute_py.ledger.pricing import (
    baseline_price,
    baseline_uusd,
    cost_uusd,
    has_prices,
    reserve_uusd,
)
from tests.fakes.endpoints import config, endpoint_config

PRICES = st.none() | st.integers(0, 10**9).map(lambda pico: pico / 1e6)
TOKENS = st.integers(0, 10**9)


def priced(
    inp: float | None, out: float | None, cached: float | None = None, *, id_: str = "fast/a#1"
) -> EndpointConfig:
    return endpoint_config(id_, input_cost_per_mtok=inp, output_cost_per_mtok=out, cached_input_cost_per_mtok=cached)


def exact(price: float | None) -> Fraction:
    return Fraction(round((price or 0.0) * 1e6), 10**6)


@given(PRICES, PRICES, PRICES, TOKENS, TOKENS, TOKENS)
def test_a_cost_is_that_of_fractions_rounded_half_up_once(
    inp: float | None, out: float | None, cheap: float | None, prompt: int, completion: int, cached: int
) -> None:
    cached = min(cached, prompt)
    each = exact(inp) if cheap is None or inp is None else exact(cheap)
    whole = (prompt - cached) * exact(inp) + cached * each + completion * exact(out)
    usage = Usage(prompt, completion, cached)
    assert cost_uusd(priced(inp, out, cheap), usage) == (whole + Fraction(1, 2)).__floor__()


@given(PRICES, PRICES, PRICES, TOKENS, TOKENS, TOKENS)
def test_a_reservation_covers_every_usage_within_it(
    inp: float | None, out: float | None, cheap: float | None, prompt: int, completion: int, cached: int
) -> None:
    endpoint = priced(inp, out, cheap)
    reserved = reserve_uusd(endpoint, prompt, completion)
    assert reserved >= cost_uusd(endpoint, Usage(prompt, completion, min(cached, prompt)))
    dear = max(exact(inp), exact(cheap) if inp is not None else Fraction(0))
    assert reserved == (prompt * dear + completion * exact(out)).__ceil__()


def test_half_a_micro_usd_counts_as_a_whole_one_and_less_as_none() -> None:
    assert cost_uusd(priced(0.5, 0.0), Usage(1)) == 1
    assert cost_uusd(priced(0.499999, 0.0), Usage(1)) == 0
    assert reserve_uusd(priced(0.000001, 0.0), 1, 0) == 1


def test_cached_tokens_cost_the_input_price_where_there_is_no_other() -> None:
    usage = Usage(1000, 100, 800)
    assert cost_uusd(priced(3.0, 15.0), usage) == 4500
    assert cost_uusd(priced(3.0, 15.0, 0.3), usage) == 200 * 3 + 240 + 1500
    assert cost_uusd(priced(3.0, 15.0, 0.3), Usage(10, 0, 800)) == 3  # more cached than there was: all of it


def test_an_endpoint_without_prices_costs_nothing_and_one_that_is_free_has_them() -> None:
    assert cost_uusd(priced(None, None, 9.0), Usage(10**6, 10**6)) == 0
    assert reserve_uusd(priced(None, None, 9.0), 10**6, 10**6) == 0
    assert not has_prices(priced(None, None, 9.0))
    assert has_prices(priced(0.0, None))
    assert has_prices(priced(None, 0.0))


def test_all_deep_means_the_priced_deep_endpoint_that_comes_first() -> None:
    def deep(name: str, **fields: Any) -> EndpointConfig:
        return endpoint_config(f"deep/{name}#1", **fields)

    free, low = deep("a", priority=9), deep("b", output_cost_per_mtok=1.0)
    first, second = deep("c", priority=3, input_cost_per_mtok=1.0), deep("d", priority=3, input_cost_per_mtok=2.0)
    assert baseline_price(config(priced(1.0, 1.0), free, low, first, second)) is first
    assert baseline_price(config(priced(1.0, 1.0), free, low)) is low
    assert baseline_price(config(priced(1.0, 1.0), free)) is None


@pytest.mark.parametrize(
    ("tier", "has_deep", "expected"),
    [
        (Tier.FAST, True, 70),
        (Tier.BALANCED, True, 70),
        (Tier.FAST, False, 0),
        (Tier.DEEP, True, 9),
        (Tier.DEEP, False, 9),
    ],
)
def test_the_baseline_of_an_answer(tier: Tier, has_deep: bool, expected: int) -> None:
    deep = priced(2.0, 10.0, id_="deep/a#1") if has_deep else None
    assert baseline_uusd(Usage(10, 5), tier=tier, paid_uusd=9, deep=deep) == expected
