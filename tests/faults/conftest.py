"""Fault tests run on uvloop, so that clients and scripted upstreams take as little of the machine as they can."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """One loop, the fast one."""
    return {"uvloop": uvloop.new_event_loop}
