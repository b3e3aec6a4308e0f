"""What operators and orchestrators ask: health, readiness, metrics (contract §6)."""

from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import parse_qs

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py import __version__
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import TIERS, Keeping
from octoroute_py.edge.models import endpoint_rows
from octoroute_py.edge.scrapes import Scrapes
from octoroute_py.edge.wire_io import request_id_of, send_bytes, send_error, send_json
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.telemetry.ledger_counts import KeepingRow
from octoroute_py.telemetry.metrics import CONTENT_TYPE, FAMILIES
from octoroute_py.tiers.health import HealthProber


class Operations:
    """The answers, from what is known right now; reading them changes nothing."""

    def __init__(self, gateway: Gateway, prober: HealthProber, keeping: Callable[[], KeepingRow] = KeepingRow) -> None:
        self._gateway = gateway
        self._keeping = keeping
        self._prober = prober
        self._scrapes = Scrapes(gateway.metrics.render)
        self._started_s = gateway.monotonic()

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return round(self._gateway.monotonic() - self._started_s, 3)

    async def live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /health and /health/live: always 200 while the process can answer."""
        await send_json(scope, send, self._liveness())

    async def ready(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /health/ready: 200, or 503 with the reasons; a reason beside a 200 is a warning."""
        body = self.readiness()
        await send_json(scope, send, body, status=200 if body["ready"] else 503)

    async def detailed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /health/detailed: liveness, readiness and every endpoint."""
        await send_json(
            scope,
            send,
            {
                **self._liveness(),
                **self.readiness(),
                "in_flight": self._gateway.in_flight,
                "generation": self._gateway.snapshot.generation,
                "endpoints": endpoint_rows(self._gateway),
                "storage": self._storage(),
            },
        )

    def _storage(self) -> dict[str, object]:
        """The journal: its state, and the rows that are on their way, in the spool, or in memory alone."""
        return msgspec.structs.asdict(self._keeping())

    async def metrics(self, scope: Scope, receive: Receive, send: Send) -> None:
        """GET /metrics, rendered off the event loop; `?family=` serves one family alone."""
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True).get("family")
        family = asked[0] if asked else None
        if family is not None and family not in FAMILIES:
            known = ", ".join(FAMILIES)
            await send_error(scope, send, BadRequest(f"'family' must be one of {known}.", param="family"))
            return
        self._gateway.settle()
        page = await self._scrapes.page(family)
        headers = [(b"content-type", CONTENT_TYPE.encode()), (b"x-request-id", request_id_of(scope).encode())]
        await send_bytes(send, 200, page, headers)

    def _liveness(self) -> dict[str, object]:
        self._gateway.settle()
        counters = self._gateway.metrics.counters()
        return {
            "status": "healthy",
            "service": "octoroute",
            "version": __version__,
            "timestamp": datetime.fromtimestamp(self._gateway.wall(), UTC).isoformat(timespec="milliseconds"),
            "uptime_seconds": self.uptime_s,
            "health_tracking_status": _word(counters.health_tracking_failures == 0),
            "metrics_recording_status": _word(counters.recording_failures == 0),
            "background_task_status": _word(self._prober.running),
            "background_task_failures": counters.background_task_failures,
        }

    def readiness(self) -> dict[str, object]:
        """Whether requests may come, with the reasons why not, and warnings."""
        now = self._gateway.monotonic()
        table = self._gateway.snapshot.table
        tiers = {
            tier.value: {"available": table.available_count(tier, now), "total": len(table.of(tier))} for tier in TIERS
        }
        reasons = []
        if self._gateway.draining:
            reasons.append("draining")
        if not any(row["available"] for row in tiers.values()):
            reasons.append("no tier is available")
        model_loaded = self._gateway.snapshot.router.ready
        if not model_loaded:
            reasons.append("the scorer is not loaded yet")
        storage = self._keeping().state
        if storage is Keeping.REFUSED:
            reasons.append("the database cannot be used")
        ready = not reasons
        if storage is Keeping.DEGRADED:  # which keeps nobody from working
            reasons.append("the database takes no rows at the moment, the spool does")
        return {
            "ready": ready,
            "circuit_breaker": table.best_state(now) if self._gateway.config.breaker.enabled else "disabled",
            "model_loaded": model_loaded,
            "version": __version__,
            "uptime_seconds": self.uptime_s,
            "tiers": tiers,
            "reasons": reasons,
        }


def _word(well: bool) -> str:
    return "operational" if well else "degraded"
