"""Where endpoints that were registered over the API may be: which URLs, which ports, which addresses.

Whoever may register an endpoint makes this process send requests, so a URL is read in one way only, by one parser for
the registration and for every connection, and what several programs read differently is refused. Pure: names are
resolved in `resolve`.

Never permitted, whatever the configuration allows: link-local and multicast addresses, the metadata services of
clouds, "this network", reserved and tunnelled addresses. Not public, so only inside the networks that are allowed:
loopback, private, shared (CGNAT) and documentation addresses. An IPv4 address that is written as an IPv6 one
(`::ffff:0:0/96`, and `64:ff9b::/96` as DNS64 gives it) is judged as what it is.
"""

import enum
import ipaddress
import re
from functools import lru_cache
from typing import Final, TypeAlias

from octoroute_py.config.addresses import Wrong, exact_host
from octoroute_py.config.schema import NetworkRules
from octoroute_py.transport.headers import Origin

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

_LONGEST_URL: Final = 2048
_URL: Final = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]+\]|[^][/:?#@\\\s]+)"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>(?:/(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})*)*)",
    re.IGNORECASE | re.ASCII,
)
_USUAL_PORTS: Final = {"http": 80, "https": 443}
_FIRST_FREE_PORT: Final = 1024

OTHER_SERVICES: Final = frozenset(
    {
        *(1080, 1194, 1433, 1434, 1521, 1522, 1723, 1883, 8883),  # SOCKS, VPNs, SQL Server, Oracle, MQTT
        *(2049, 2181, 2375, 2376, 2377, 2379, 2380),  # NFS, ZooKeeper, Docker, etcd
        *(3128, 3268, 3269, 3306, 33060, 3389, 3690),  # Squid, LDAP, MySQL, RDP, Subversion
        *(4369, 4505, 4506, 4646, 4647, 4648),  # Erlang, Salt, Nomad
        *(5432, 5601, 5671, 5672, 5900, 5901, 5984, 5985, 5986),  # PostgreSQL, Kibana, AMQP, VNC, CouchDB, WinRM
        *(6000, 6379, 6380, 16379, 26379, 6443, 6667, 6697),  # X11, Redis, Kubernetes, IRC
        *(7000, 7001, 7199, 9042, 9160, 7473, 7474, 7687),  # Cassandra, WebLogic, Neo4j
        *(8009, 8086, 8200, 8201, 8300, 8301, 8302, 8500, 8501, 8529),  # AJP, InfluxDB, Vault, Consul, ArangoDB
        *(9092, 9100, 9200, 9300, 9418),  # Kafka, printers, Elasticsearch, Git
        *(10250, 10255, 10256, 10257, 10259, 11211, 15672),  # Kubernetes, Memcached, RabbitMQ
        *(26257, 27017, 27018, 27019, 28015, 28017, 50070, 61616),  # CockroachDB, MongoDB, RethinkDB, Hadoop, ActiveMQ
    }
)
"""Ports above 1023 where something else than a model usually listens; `[registry] allow_ports` can name them."""

_MAPPED: Final = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_PUBLIC_V6: Final = ipaddress.IPv6Network("2000::/3")

_NEVER: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"),  # this network, multicast, reserved with broadcast
        *("169.254.0.0/16", "100.100.100.200/32", "192.0.0.192/32", "168.63.129.16/32"),  # link-local, metadata
        *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:42::42/128"),  # metadata on IPv6
        *("192.88.99.0/24", "2001::/32", "2002::/16"),  # 6to4 relays, Teredo, 6to4: the IPv4 address inside is hidden
    )
)
_NOT_PUBLIC: Final[tuple[Network, ...]] = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "127.0.0.0/8", "100.64.0.0/10"),
        *("192.0.0.0/24", "192.0.2.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("::1/128", "fc00::/7", "2001::/23", "2001:db8::/32", "3fff::/20"),
    )
)


class Verdict(enum.Enum):
    """What an address is to an endpoint: permitted, private and not allowed, or never to be allowed."""

    PERMITTED = enum.auto()
    PRIVATE = enum.auto()
    NEVER = enum.auto()


def read_url(text: str) -> Origin:
    """Take the URL of a registered endpoint apart; the path has no slash at its end.

    Takes http and https with a host, a port and a path, and nothing else. Raises Wrong, whose sentence never repeats
    the value.
    """
    if len(text) > _LONGEST_URL:
        raise Wrong(f"must not be longer than {_LONGEST_URL} characters")
    if not text.lower().startswith(("http://", "https://")):
        raise Wrong("must start with http:// or https://")
    if "@" in text.partition("://")[2].partition("/")[0]:
        raise Wrong("must not carry a user name or password")
    if "?" in text or "#" in text:
        raise Wrong("must not have a query or fragment")
    if "\\" in text:
        raise Wrong("must not contain a backslash")
    match = _URL.fullmatch(text)
    if match is None:
        raise Wrong("must be http(s)://host[:port][/path] of visible ASCII characters")
    scheme, host = match["scheme"].lower(), exact_host(match["host"])
    port = int(match["port"] or _USUAL_PORTS[scheme])
    if port > 65535:
        raise Wrong("must have a port from 1 to 65535")
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port == _USUAL_PORTS[scheme] else f"{shown}:{port}"
    return Origin(scheme == "https", host, port, authority.encode("ascii"), match["path"].rstrip("/"))


def check_url(text: str, rules: NetworkRules) -> Origin:
    """Where this URL leads, if the rules permit its port and, where its host is an address, that address.

    A name is judged when it is resolved. Raises Wrong.
    """
    origin = read_url(text)
    if not permitted_port(origin.port, rules):
        raise Wrong("has a port that endpoints may not have; [registry] allow_ports says which they may")
    address = literal_address(origin.host)
    if address is not None:
        refuse_unless_permitted(judge(address, rules))
    return origin


def url_of(origin: Origin) -> str:
    """The URL that leads there, in the one spelling that is kept."""
    return f"http{'s' if origin.tls else ''}://{origin.authority.decode('ascii')}{origin.path}"


def literal_address(host: str) -> Address | None:
    """The address that a host is, None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def permitted_port(port: int, rules: NetworkRules) -> bool:
    """Whether an endpoint may listen there."""
    if rules.ports is not None:
        return port in rules.ports
    return port in _USUAL_PORTS.values() or (port >= _FIRST_FREE_PORT and port not in OTHER_SERVICES)


def permitted_address(address: Address, rules: NetworkRules) -> bool:
    """Whether an endpoint may have this address."""
    return judge(address, rules) is Verdict.PERMITTED


def judge(address: Address, rules: NetworkRules) -> Verdict:
    """Whether an endpoint may have this address, and if not, whether the configuration could permit it."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return Verdict.NEVER
        if address in _MAPPED or address in _NAT64:
            return judge(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF), rules)
    if any(address in network for network in _NEVER):
        return Verdict.NEVER
    private = any(address in network for network in _NOT_PUBLIC)
    if not private and isinstance(address, ipaddress.IPv6Address) and address not in _PUBLIC_V6:
        return Verdict.NEVER  # of no known use: link-local, multicast, unspecified, unassigned
    if private and not any(address in network for network in _networks(rules.networks)):
        return Verdict.PRIVATE
    return Verdict.PERMITTED


def refuse_unless_permitted(verdict: Verdict) -> None:
    """Raises Wrong with what to do about it."""
    if verdict is Verdict.NEVER:
        raise Wrong("leads to an address that no endpoint may have, such as that of a metadata service")
    if verdict is Verdict.PRIVATE:
        raise Wrong("leads to a private address; [registry] allow_networks says which of them endpoints may have")


@lru_cache(maxsize=256)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """The networks that can be read; one that cannot allows nothing."""
    found = []
    for text in texts:
        try:
            found.append(ipaddress.ip_network(text))
        except ValueError:
            continue
    return tuple(found)
