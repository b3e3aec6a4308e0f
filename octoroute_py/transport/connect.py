"""From an endpoint's configuration to the transport that serves it."""

import ssl
from functools import partial
from pathlib import Path

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import EndpointConfig, NetworkRules, TransportName
from octoroute_py.transport.base import Transport
from octoroute_py.transport.guard import Forbidden, Guard, Tell, tell_nobody
from octoroute_py.transport.headers import origin_of, request_fields
from octoroute_py.transport.httpx import HttpxTransport
from octoroute_py.transport.reach import check_url
from octoroute_py.transport.resolve import Resolve, resolve_name
from octoroute_py.transport.wire import WireTransport


class TransportMaker:
    """Makes transports that share their TLS contexts, each built when the first connection needs it.

    `resolve` finds the addresses of registered endpoints; `tell` hears when one of them leads where it may not be, and
    when no more.
    """

    def __init__(self, *, resolve: Resolve = resolve_name, tell: Tell = tell_nobody) -> None:
        self._resolve = resolve
        self._tell = tell
        self._contexts: dict[tuple[Path | None, bool, bool], ssl.SSLContext] = {}

    def make_transport(self, config: EndpointConfig) -> Transport:
        """The lean pool, or httpx where the endpoint asks for it, a proxy, HTTP/2 or an own CA.

        Endpoints that were registered over the API always get the lean pool, and connections only to where they may be.
        Raises ValueError when the base URL or a header of the endpoint cannot be used.
        """
        if config.registered is not None:
            return self._guarded(config, config.registered.rules)
        origin = origin_of(config.base_url)
        fields = request_fields(config)
        by_library = (
            config.transport is TransportName.HTTPX
            or config.proxy is not None
            or config.http2
            or config.ca_file is not None
        )
        context = partial(self._context, config.ca_file, by_library, config.http2)
        if not by_library:
            return WireTransport(origin, fields, ssl_context=context)
        return HttpxTransport(
            origin,
            fields,
            ssl_context=context,
            proxy=config.proxy.reveal() if config.proxy is not None else None,
            http2=config.http2,
        )

    def _guarded(self, config: EndpointConfig, rules: NetworkRules) -> Transport:
        fields = request_fields(config)
        tell = partial(self._tell, config.id)
        try:
            origin = check_url(config.base_url, rules)
        except Wrong:
            # it was permitted when it was registered: the rules are others now, and that must not keep all else out
            return Forbidden(tell)
        guard = Guard(rules, resolve=self._resolve, tell=tell)
        context = partial(self._context, None, False, False)
        return WireTransport(origin, fields, ssl_context=context, open_connection=guard.open)

    def _context(self, ca_file: Path | None, by_library: bool, http2: bool) -> ssl.SSLContext:
        # httpcore writes its protocol offer into the context, so only transports with the same offer share one.
        key = (ca_file, by_library, http2)
        context = self._contexts.get(key)
        if context is None:
            context = self._contexts[key] = ssl.create_default_context(cafile=ca_file)
        return context
