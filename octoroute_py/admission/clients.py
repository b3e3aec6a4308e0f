"""Who a client is by its certificate: `[[auth.clients]]` gives the names in certificates a role."""

from collections.abc import Iterable

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import ClientConfig
from octoroute_py.core.allowance import Grant


class ClientCertificate(msgspec.Struct, frozen=True):
    """A certificate that a client of a TLS connection showed, and that was found good when the connection was made.

    `names` are its common name and its alternative names, `ends_s` is the Unix time at which it expires: a connection
    may live longer.
    """

    names: tuple[str, ...]
    ends_s: float


class Clients:
    """The principals of `[[auth.clients]]`; a certificate is the first whose subject is one of its names."""

    __slots__ = ("_principals",)

    def __init__(self, configs: Iterable[ClientConfig]) -> None:
        self._principals = tuple((each.subject, _principal(each)) for each in configs)

    def find(self, certificate: ClientCertificate, *, wall_s: float) -> Principal | None:
        """Whose certificate this is at that time; None when nobody has a place for it, and when it has expired."""
        if wall_s >= certificate.ends_s:
            return None
        return next((who for subject, who in self._principals if subject in certificate.names), None)


def _principal(config: ClientConfig) -> Principal:
    grant = None if config.workspaces is None else Grant(workspaces=config.workspaces)
    return Principal(config.subject, config.role, config.subject, grant)
