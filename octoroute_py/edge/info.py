"""`GET /info`: what runs here, in figures; to whoever may view it, also how it is configured.

It is open wherever it listens, as /health and /metrics are: what it tells a stranger are the version, which /health has
too, and totals, which /metrics has too. No name, address or setting is among them, and no request can add any.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
from starlette.types import Receive, Scope, Send

from octoroute_py import __version__
from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import Config, Secret
from octoroute_py.core.words import Role
from octoroute_py.edge.guard import PRINCIPAL, certificate_of, source_of
from octoroute_py.edge.models import endpoint_rows
from octoroute_py.edge.wire_io import send_json
from octoroute_py.gateway.pipeline import Gateway
from octoroute_py.telemetry.dancer_counts import Figures

API_VERSION = "v1"


class You(msgspec.Struct, frozen=True):
    """Who asks, as far as the gateway knows: `role` null may use open routes only, `workspaces` null means all."""

    name: str
    role: Role | None
    workspaces: tuple[str, ...] | None


class Info:
    """The route; `uptime_s` counts from the start of the process."""

    def __init__(self, gateway: Gateway, uptime_s: Callable[[], float]) -> None:
        self._gateway = gateway
        self._uptime_s = uptime_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """200; reading it changes nothing."""
        gateway = self._gateway
        gateway.settle()
        principal: Principal = scope[PRINCIPAL]
        body: dict[str, object] = {
            "status": "draining" if gateway.draining else "running",
            "version": __version__,
            "api_version": API_VERSION,
            "uptime_seconds": self._uptime_s(),
            "circuit_breaker_enabled": gateway.config.breaker.enabled,
            "metrics": self._figures(),
            "counters": gateway.metrics.counters(),
            "request_duration_seconds": gateway.metrics.percentiles(),
            "you": You(principal.name, principal.role, principal.workspaces),
        }
        viewer = gateway.access.authorize_optional(
            scope["headers"], needed=Role.VIEWER, source=source_of(scope), certificate=certificate_of(scope)
        )
        if viewer is not None:
            body["config"] = shown_config(gateway.config)
            body["endpoints"] = endpoint_rows(gateway)
        await send_json(scope, send, body)

    def _figures(self) -> Figures:
        trips = sum(each.breaker.trips for each in self._gateway.snapshot.table.endpoints)
        return self._gateway.metrics.dancer.figures(trips)


def shown_config(config: Config) -> object:
    """The configuration as plain data, without any secret: credentials read `***`, key hashes are left out."""
    shown = msgspec.to_builtins(config, enc_hook=_plain)
    for key in shown["auth"]["keys"]:
        del key["sha256"]
    for endpoint in shown["endpoints"]:
        endpoint["headers"] = [[name, "***"] for name, _ in endpoint["headers"]]
    return shown


def _plain(value: object) -> object:
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, Path):
        return value.name
    raise TypeError(f"{type(value).__name__} is not configuration")
