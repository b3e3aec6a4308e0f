"""From where: source addresses in networks, whichever way an address is written."""

import ipaddress
from collections.abc import Iterable

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_MOST_REMEMBERED = 256
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Networks:
    """Networks in CIDR notation, or single addresses.

    IPv4 addresses that are written as IPv6 ones count as what they are, in networks too. Raises ValueError for a text
    that is no network, or whose address has bits beyond its prefix.
    """

    __slots__ = ("_networks", "_verdicts")

    def __init__(self, texts: Iterable[str]) -> None:
        self._networks = tuple(_network(text) for text in texts)
        # to read an address takes ten times as long as all the rest of looking at a key
        self._verdicts: dict[str, bool] = {}

    def __str__(self) -> str:
        return ", ".join(map(str, self._networks))

    def __contains__(self, source: str) -> bool:
        """Whether the address lies in one of them; what is no address, as that of a local socket, does not."""
        verdict = self._verdicts.get(source)
        if verdict is None:
            if len(self._verdicts) >= _MOST_REMEMBERED:
                self._verdicts.clear()
            verdict = self._verdicts[source] = self._holds(source)
        return verdict

    def _holds(self, source: str) -> bool:
        try:
            address = ipaddress.ip_address(source)
        except ValueError:
            return False
        plain = address if isinstance(address, ipaddress.IPv4Address) else address.ipv4_mapped or address
        return any(plain in network for network in self._networks)


def _network(text: str) -> _Network:
    network = ipaddress.ip_network(text)
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        return ipaddress.IPv4Network((int(network.network_address) & 0xFFFFFFFF, network.prefixlen - 96))
    return network
