"""The metrics page, written beside the event loop, and once for all who ask for it at the same time."""

import asyncio
from collections.abc import Callable

Render = Callable[[str | None], bytes]
"""Writes the page of a family, or of all of them; may take long."""


class Scrapes:
    """Whoever asks while a page is being written shares it; nobody who leaves takes it away from the others."""

    def __init__(self, render: Render) -> None:
        self._render = render
        self._running: dict[str | None, asyncio.Task[bytes]] = {}

    async def page(self, family: str | None) -> bytes:
        """The page of one of the families, or of all of them."""
        task = self._running.get(family)
        if task is None:
            task = self._running[family] = asyncio.create_task(asyncio.to_thread(self._render, family))
            task.add_done_callback(lambda done: self._written(family, done))
        return await asyncio.shield(task)

    def _written(self, family: str | None, done: asyncio.Task[bytes]) -> None:
        del self._running[family]
        if not done.cancelled():
            done.exception()  # everybody who waits hears of it, and if nobody does any more it is no news
