"""What a request is taken to cost at most before it is sent."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.words import Surface, Tier
from octoroute_py.gateway.reserve import attempt_reserve_uusd, output_limit
from octoroute_py.ledger.pricing import cheapest, dearest, reserve_uusd
from octoroute_py.transport.envelope import parse_body
from tests.fakes.endpoints import endpoint_config
from tests.fakes.stage import GOOD, Stage

FAST, BALANCED, DEEP = "fast/a#1", "balanced/a#1", "deep/a#1"
ASKS: dict[Surface, dict[str, Any]] = {
    Surface.CHAT: {"messages": [{"role": "user", "content": "x" * 40}]},
    Surface.COMPLETIONS: {"prompt": "x" * 40},
    Surface.RESPONSES: {"input": "x" * 40},
    Surface.EMBEDDINGS: {"input": "x" * 40},
}


def limit(id_: str = FAST, *, surface: Surface = Surface.CHAT, most: int | None = None, **body: Any) -> int:
    envelope = parse_body(json.dumps({"model": "m", **ASKS[surface], **body}).encode(), surface)
    return output_limit(envelope, endpoint_config(id_, max_tokens=most), surface=surface)


@pytest.mark.parametrize(
    ("asked", "most", "expected"), [(100, None, 100), (100, 50, 50), (100, 500, 100), (None, 50, 50)]
)
@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_clients_limit_is_lowered_to_the_endpoints(
    name: str, asked: int | None, most: int | None, expected: int
) -> None:
    body: dict[str, Any] = {} if asked is None else {name: asked}
    assert limit(most=most, **body) == expected


def test_without_any_limit_the_tier_has_one() -> None:
    assert [limit(each) for each in (FAST, BALANCED, DEEP)] == [2048, 4096, 8192]


def test_a_limit_that_binds_nobody_is_none() -> None:
    # null, and a name that the operation does not know: what is sent has the endpoint's limit, or the tier's
    assert limit(most=50, max_tokens=None) == 50
    assert limit(max_output_tokens=10) == 2048
    assert limit(surface=Surface.COMPLETIONS, max_completion_tokens=10) == 2048
    assert limit(surface=Surface.RESPONSES, max_tokens=10, max_output_tokens=7) == 7


@pytest.mark.parametrize(
    ("body", "choices"),
    [
        ({"n": 3}, 3),
        ({"n": 2, "best_of": 5}, 5),
        ({"n": 4, "best_of": 2}, 4),
        ({"best_of": "6"}, 6),
        ({"best_of": "\u2003 6"}, 6),
        ({"best_of": " " * 40 + "20"}, 20),
        ({"best_of": 2.5}, 3),
        ({"best_of": None}, 1),
        ({"best_of": "many"}, 1),
        ({"best_of": [2]}, 1),
        ({"best_of": -3}, 1),
        ({"best_of": 10**12}, 1_000_000),
    ],
)
def test_every_candidate_is_paid_for(body: dict[str, Any], choices: int) -> None:
    assert limit(max_tokens=10, **body) == 10 * choices


def test_every_prompt_of_a_completion_has_its_own_candidates() -> None:
    several: dict[str, Any] = {"prompt": ["a", "b", "c"], "n": 2, "max_tokens": 10}
    assert limit(surface=Surface.COMPLETIONS, **several) == 60
    assert limit(surface=Surface.COMPLETIONS, **several, best_of=4) == 120


def test_embeddings_put_out_no_tokens() -> None:
    assert limit(surface=Surface.EMBEDDINGS, most=50) == 0


def test_the_reserve_is_that_of_the_dearest_endpoint() -> None:
    prices = {FAST: (1.0, 2.0), DEEP: (10.0, 20.0)}
    each = {id_: {"input_cost_per_mtok": inp, "output_cost_per_mtok": out} for id_, (inp, out) in prices.items()}
    stage = Stage({FAST: GOOD, DEEP: GOOD}, each=each)
    ctx = stage.context(messages=[{"role": "user", "content": "x" * 40}], max_tokens=100)
    assert attempt_reserve_uusd(ctx, [stage[FAST].config]) == 210
    assert attempt_reserve_uusd(ctx, stage.config.endpoints) == 2100
    assert attempt_reserve_uusd(ctx, []) == 0


PRICE = st.none() | st.integers(0, 6).map(float)
FLEETS = st.lists(
    st.fixed_dictionaries(
        {
            "tier": st.sampled_from(Tier),
            "input_cost_per_mtok": PRICE,
            "output_cost_per_mtok": PRICE,
            "cached_input_cost_per_mtok": PRICE,
            "max_tokens": st.none() | st.sampled_from([1, 50, 3_000, 100_000]),
        }
    ),
    max_size=12,
)


@given(FLEETS, st.integers(0, 5_000), st.none() | st.sampled_from([1, 40, 2_500, 9_000]), st.integers(1, 3))
def test_a_few_endpoints_stand_for_all_whatever_is_asked(
    fleet: list[dict[str, Any]], prompt: int, asked: int | None, choices: int
) -> None:
    body = {"model": "m", **ASKS[Surface.CHAT], "n": choices, **({} if asked is None else {"max_tokens": asked})}
    envelope = parse_body(json.dumps(body).encode(), Surface.CHAT)
    every = [endpoint_config(f"{fields['tier'].value}/a#{at}", **fields) for at, fields in enumerate(fleet)]

    def reserves(endpoints: Iterable[EndpointConfig]) -> list[int]:
        return [reserve_uusd(e, prompt, output_limit(envelope, e, surface=Surface.CHAT)) for e in endpoints]

    assert max(reserves(dearest(every)), default=0) == max(reserves(every), default=0)
    assert min(reserves(cheapest(every)), default=0) == min(reserves(every), default=0)
    assert set(cheapest(every)) | set(dearest(every)) <= set(every)
