"""Waiting for something in another process, which nothing but looking again and again can tell."""

import asyncio
from collections.abc import Awaitable, Callable


async def until(true: Callable[[], Awaitable[bool]], timeout_s: float = 5.0) -> None:
    """Return once it is true; TimeoutError if it does not become so."""
    async with asyncio.timeout(timeout_s):
        while not await true():  # noqa: ASYNC110 - no event reaches across processes
            await asyncio.sleep(0.02)
