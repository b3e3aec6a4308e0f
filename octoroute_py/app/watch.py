"""Says in the log which endpoints and tiers went out or came back."""

import asyncio
from collections.abc import Callable

import structlog

from octoroute_py.core import clock
from octoroute_py.tiers.table import TierTable
from octoroute_py.tiers.watch import EndpointWatch

_log = structlog.stdlib.get_logger("octoroute.app")

WATCH_S = 1.0
"""How often the log learns which endpoints went out or came back."""
WATCH_AGAIN_S = 60.0
"""The wait after a look that failed: a defect shall not fill the log."""


async def watch_endpoints(table: Callable[[], TierTable]) -> None:
    """Look at the table in force again and again, until cancelled."""
    watch = EndpointWatch()
    while True:
        wait_s = WATCH_S
        try:
            log_changes(watch, table(), clock.monotonic())
        except Exception:  # noqa: BLE001 - a worker loop outlives its bugs and reports them
            _log.error("watching the endpoints broke and goes on in a minute", exc_info=True)
            wait_s = WATCH_AGAIN_S
        await asyncio.sleep(wait_s)


def log_reach(endpoint_id: str, forbidden: bool) -> None:
    """One line when a registered endpoint begins to lead where it may not be, and one when it ends to."""
    if forbidden:
        _log.warning("a registered endpoint leads where it may not be, and gets no requests", endpoint=endpoint_id)
    else:
        _log.info("a registered endpoint leads where it may be again", endpoint=endpoint_id)


def log_changes(watch: EndpointWatch, table: TierTable, now: float) -> None:
    """One line for each endpoint and tier that went out or came back since the watch's last look."""
    for change in watch.changes(table, now):
        if change.after is None:
            _log.info("endpoint back", endpoint=change.endpoint_id)
        else:
            known = {} if change.back_in_s is None else {"for_s": round(change.back_in_s, 1)}
            because = change.after.value
            _log.warning("endpoint out", endpoint=change.endpoint_id, tier=change.tier.value, because=because, **known)
    for tier_change in watch.tier_changes(table, now):
        if tier_change.out:
            _log.warning("tier out", tier=tier_change.tier.value)
        else:
            _log.info("tier back", tier=tier_change.tier.value)
