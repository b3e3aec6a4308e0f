"""Default deny: every route is built with the role it needs, and the key is looked at before the body is read."""

import enum
from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

from octoroute_py.admission.auth import Access
from octoroute_py.admission.clients import ClientCertificate
from octoroute_py.admission.principal import Principal
from octoroute_py.core.clock import Monotonic
from octoroute_py.core.errors import Denied, GatewayError
from octoroute_py.core.words import Role
from octoroute_py.edge.wire_io import send_error
from octoroute_py.telemetry.metrics import Metrics

PRINCIPAL = "octoroute.principal"
"""Where the scope holds who is asking, behind a guard."""
GUARD = "octoroute.guard"
"""Where the scope holds the guard itself, for what lasts longer than a key may."""
CERTIFICATE = "octoroute.certificate"
"""Where the scope holds the client's certificate, if it showed one."""


class Reach(enum.Enum):
    """How far a route looks. A principal that is bound to workspaces may use OWN routes only."""

    OWN = enum.auto()
    """The handler itself keeps to what the principal may see, or tells nothing of anybody."""
    ALL = enum.auto()
    """It shows or changes what belongs to everybody."""


class Door(Protocol):
    """What a guard needs to know of the gateway."""

    @property
    def access(self) -> Access:
        """The access rules in force; a reload replaces them."""
        ...

    @property
    def metrics(self) -> Metrics:
        """Where refusals are counted: they leave no line, or anybody could fill the log."""
        ...


class Guarded:
    """An ASGI app behind its required role; `role` None is the explicit way to be open to all."""

    __slots__ = ("_app", "_door", "_monotonic", "reach", "role")

    def __init__(
        self, app: ASGIApp, *, role: Role | None, reach: Reach = Reach.ALL, door: Door, monotonic: Monotonic
    ) -> None:
        self._app = app
        self._door = door
        self._monotonic = monotonic
        self.role = role
        self.reach = reach

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Authorize by the headers alone, then go on."""
        try:
            principal = self.admit(scope)
        except GatewayError as error:
            self._door.metrics.refused(error.code)
            await send_error(scope, send, error)
            return
        scope[PRINCIPAL] = principal
        scope[GUARD] = self
        await self._app(scope, receive, send)

    def admit(self, scope: Scope) -> Principal:
        """Who is asking, by the headers alone; what lasts long asks again. Raises GatewayError for who may not."""
        principal = self._door.access.authorize(
            scope["headers"],
            needed=self.role,
            source=source_of(scope),
            now=self._monotonic(),
            certificate=certificate_of(scope),
        )
        if self.reach is Reach.ALL and self.role is not None and principal.workspaces is not None:
            raise Denied(
                "This key is bound to workspaces; this route looks beyond them.",
                code="permission_denied",
                status=403,
            )
        return principal


def certificate_of(scope: Scope) -> ClientCertificate | None:
    """What the client showed when its connection was made."""
    found: ClientCertificate | None = scope.get(CERTIFICATE)
    return found


def source_of(scope: Scope) -> str:
    """The peer's address as the socket tells it; forwarded headers are never believed."""
    client = scope.get("client")
    return client[0] if client else "unknown"
