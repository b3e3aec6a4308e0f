from typing import Any

import pytest

from octoroute_py.config.schema import Location
from octoroute_py.core.words import Capability
from octoroute_py.tiers.eligibility import Misfit, misfit
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
