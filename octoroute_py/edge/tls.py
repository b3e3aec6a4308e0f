"""TLS at the door: TLS 1.2 and above, client certificates where an authority for them is configured.

A renewed certificate is taken at a reload, for connections from then on, without a restart.
"""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from octoroute_py.admission.clients import ClientCertificate
from octoroute_py.config.schema import TlsConfig
from octoroute_py.core.errors import ConfigError

_COMMON_NAME = "commonName"
_ALTERNATIVE = frozenset({"DNS", "URI", "email", "IP Address"})


class TlsDoor:
    """The context of all TLS connections that clients make. Raises ConfigError for files that cannot be used."""

    def __init__(self, tls: TlsConfig) -> None:
        self.context = _context(tls)
        self._client_ca_file = tls.client_ca_file

    def renew(self, tls: TlsConfig) -> None:
        """Take certificate, key and client authorities as they are on disk now; connections that are open go on.

        An authority can be added; to take one away needs a restart. Raises ConfigError, and changes nothing, for files
        that cannot be used.
        """
        _context(tls)  # a certificate without its key would already be in place when the key is refused
        _load(self.context, tls, with_clients=self._client_ca_file is not None)


def _context(tls: TlsConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_alpn_protocols(["http/1.1"])
    if tls.client_ca_file is not None:
        context.verify_mode = ssl.CERT_REQUIRED
    _load(context, tls, with_clients=True)
    return context


def _load(context: ssl.SSLContext, tls: TlsConfig, *, with_clients: bool) -> None:
    try:
        # the empty password keeps OpenSSL from asking on the terminal
        context.load_cert_chain(tls.cert_file, tls.key_file, password="")
        if with_clients and tls.client_ca_file is not None:
            context.load_verify_locations(tls.client_ca_file)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else None
        raise ConfigError(f"server.tls: {said or 'the certificate or key cannot be used'}") from None


def client_certificate(transport: asyncio.BaseTransport) -> ClientCertificate | None:
    """The certificate that the client at the other end has shown, which the handshake has found good; None without."""
    shown: Mapping[str, Any] | None = transport.get_extra_info("peercert")
    if not shown:
        return None
    common = [value for part in shown.get("subject", ()) for name, value in part if name == _COMMON_NAME]
    alternative = [value for kind, value in shown.get("subjectAltName", ()) if kind in _ALTERNATIVE]
    return ClientCertificate((*common, *alternative), ssl.cert_time_to_seconds(shown["notAfter"]))
