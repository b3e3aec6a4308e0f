"""From the name of a registered endpoint to the addresses it may have, when it is registered and at every connect."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeAlias

from octoroute_py.config.addresses import Wrong, before_operation
from octoroute_py.config.schema import NetworkRules
from octoroute_py.transport.headers import Origin
from octoroute_py.transport.reach import (
    Address,
    Verdict,
    check_url,
    judge,
    literal_address,
    refuse_unless_permitted,
    url_of,
)

RESOLVE_LIMIT_S: Final = 3.0
"""The time a name has to be resolved in when an endpoint is registered."""

Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text, in the order to try them; raises OSError when there are none."""


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """The addresses that the system's resolver knows, asked beside the event loop; raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for _, _, _, _, address in found]


async def addresses_of(origin: Origin, resolve: Resolve) -> list[Address]:
    """Every address of the host, each once; its own when it is one. Raises OSError or UnicodeError."""
    literal = literal_address(origin.host)
    if literal is not None:
        return [literal]
    found = [literal_address(text) for text in await resolve(origin.host, origin.port)]
    addresses = list(dict.fromkeys(address for address in found if address is not None))
    if not addresses:
        raise OSError("the host has no address")
    return addresses


async def check_endpoint_url(text: str, rules: NetworkRules, *, resolve: Resolve = resolve_name) -> str:
    """The URL of an endpoint in the spelling to keep, without a slash at its end.

    Its name is resolved, for at most 3 s. Raises Wrong, a sentence about the value that does not repeat it, when it is
    no plain base URL or leads where the rules permit nothing.
    """
    origin = check_url(text, rules)
    before_operation(origin.path)
    await _resolved(origin, rules, resolve)
    return url_of(origin)


async def check_health_url(text: str, rules: NetworkRules, *, resolve: Resolve = resolve_name) -> str:
    """As `check_endpoint_url`, for a URL that is asked as it stands, with the slash at its end."""
    origin = check_url(text, rules)
    await _resolved(origin, rules, resolve)
    return url_of(origin) + ("/" if text.endswith("/") else "")


async def _resolved(origin: Origin, rules: NetworkRules, resolve: Resolve) -> None:
    """Raises Wrong unless at least one of the addresses is permitted."""
    try:
        async with asyncio.timeout(RESOLVE_LIMIT_S):
            found = await addresses_of(origin, resolve)
    except (OSError, UnicodeError):  # a TimeoutError is an OSError
        raise Wrong("has a host name that could not be resolved; register it again when it can") from None
    verdicts = [judge(address, rules) for address in found]
    if Verdict.PERMITTED not in verdicts:
        refuse_unless_permitted(Verdict.PRIVATE if Verdict.PRIVATE in verdicts else Verdict.NEVER)
