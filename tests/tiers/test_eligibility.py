from typing import Any

import pytest

from octoroute_py.core.allowance import Grant, WorkspacePolicy
from octoroute_py.core.words import Capability, Location, Tier
from octoroute_py.tiers.eligibility import Misfit, Quality, Shortfall, granted, misfit, permitted
from octoroute_py.tiers.recent import Recent
from tests.fakes.endpoints import endpoint_config

TOOLS = frozenset({Capability.TOOLS})


def check(
    needs: frozenset[Capability] = frozenset(),
    tokens: int = 10,
    output_tokens: int | None = None,
    local_only: bool = False,
    **fields: Any,  # those of EndpointConfig
) -> Misfit | None:
    config = endpoint_config(**fields)
    return misfit(config, needs=needs, tokens=tokens, output_tokens=output_tokens, local_only=local_only)


def test_an_endpoint_that_declares_nothing_can_do_everything() -> None:
    assert check(needs=frozenset(Capability), tokens=10**9, output_tokens=10**9) is None


def test_a_missing_capability_is_told() -> None:
    assert check(needs=TOOLS, capabilities=frozenset({Capability.REASONING})) is Misfit.CAPABILITY
    assert check(needs=TOOLS, capabilities=TOOLS) is None


def test_chat_and_stream_go_without_saying() -> None:
    assert check(needs=frozenset({Capability.CHAT, Capability.STREAM}), capabilities=frozenset()) is None


@pytest.mark.parametrize(
    ("tokens", "output_tokens", "max_tokens", "fits"),
    [
        (1000, None, None, True),
        (1001, None, None, False),
        (800, 200, None, True),
        (800, 201, None, False),
        (800, 5000, 200, True),
        (801, 5000, 200, False),
        (1000, None, 500, True),
    ],
)
def test_prompt_and_the_output_that_can_be_asked_for_must_fit_the_window(
    tokens: int, output_tokens: int | None, max_tokens: int | None, fits: bool
) -> None:
    found = check(tokens=tokens, output_tokens=output_tokens, max_tokens=max_tokens, context_window=1000)
    assert found is (None if fits else Misfit.CONTEXT_WINDOW)


def test_local_only_requests_fit_local_endpoints_only() -> None:
    assert check(local_only=True, location=Location.CLOUD) is Misfit.LOCATION
    assert check(local_only=True, location=Location.LOCAL) is None
    assert check(needs=TOOLS, local_only=True, capabilities=frozenset()) is Misfit.LOCATION


ENDPOINTS = [endpoint_config(id_, compliance=("gdpr",)) for id_ in ("fast/a#1", "fast/a#2", "deep/b#1")]


@pytest.mark.parametrize(
    ("grant", "expected"),
    [
        ({}, [True, True, True]),
        ({"tiers": (Tier.FAST,)}, [True, True, False]),
        ({"endpoints": ("a",)}, [True, True, False]),
        ({"endpoints": ("fast/a#2", "b")}, [False, True, True]),
        ({"tiers": (Tier.DEEP,), "endpoints": ("a",)}, [False, False, False]),
        ({"tiers": ()}, [False, False, False]),
        ({"endpoints": ()}, [False, False, False]),
    ],
)
def test_a_grant_lets_through_what_every_one_of_its_dimensions_names(
    grant: dict[str, Any], expected: list[bool]
) -> None:
    assert [granted(Grant(**grant), endpoint) for endpoint in ENDPOINTS] == expected


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({}, [True, True, True]),
        ({"restrictions": ("fast",)}, [True, True, False]),
        ({"restrictions": ("fast/a#2", "b")}, [False, True, True]),
        ({"restrictions": ()}, [False, False, False]),
        ({"restrictions": ("gone",)}, [False, False, False]),
        ({"restrictions": ("a",), "deny": True}, [False, False, True]),
        ({"restrictions": (), "deny": True}, [True, True, True]),
        ({"compliance": ("gdpr",)}, [True, True, True]),
        ({"compliance": ("gdpr", "hipaa")}, [False, False, False]),
        ({"restrictions": ("deep",), "compliance": ("gdpr",)}, [False, False, True]),
    ],
)
def test_a_workspace_allows_what_its_list_names_and_its_tags_cover_and_fails_closed(
    policy: dict[str, Any], expected: list[bool]
) -> None:
    assert [permitted(WorkspacePolicy(**policy), endpoint) for endpoint in ENDPOINTS] == expected


def measured(
    *, good: int = 0, bad: int = 0, first_event_s: float | None = None, answer_s: float | None = None
) -> Recent:
    recent = Recent()
    for _ in range(good):
        recent.good(0.0, first_event_s=first_event_s, answer_s=answer_s)
    for _ in range(bad):
        recent.bad(0.0)
    return recent


def test_a_success_rate_is_asked_of_those_that_are_known_well_enough() -> None:
    quality = Quality(min_success_rate=0.9)
    assert quality.shortfall(measured(bad=9), stream=True, now=0.0) is None
    assert quality.shortfall(measured(good=9, bad=1), stream=True, now=0.0) is None
    assert quality.shortfall(measured(good=8, bad=2), stream=True, now=0.0) is Shortfall.MIN_SUCCESS_RATE


def test_latency_is_the_first_event_of_a_stream_and_the_whole_of_a_buffered_answer() -> None:
    quality = Quality(max_latency_s=1.0)
    slow_to_end = measured(good=10, first_event_s=0.2, answer_s=1.5)
    assert quality.shortfall(slow_to_end, stream=True, now=0.0) is None
    assert quality.shortfall(slow_to_end, stream=False, now=0.0) is Shortfall.MAX_LATENCY
    assert quality.shortfall(measured(good=10, answer_s=1.0), stream=False, now=0.0) is None
    assert quality.shortfall(measured(good=9, answer_s=9.0), stream=False, now=0.0) is None
