"""Checks on hosts, base URLs and origins, and where an endpoint's answers are computed.

Every check answers with the cleaned value or the sentence that says what is wrong. The sentences never repeat the
value: a URL may carry a password.
"""

import ipaddress
import re
from functools import lru_cache
from urllib.parse import SplitResult, urlsplit

from octoroute_py.core.words import Location

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*\.?")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?")
_VISIBLE = re.compile(r"[\x21-\x7e]+")
_EXACT_NAME = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_NAME = 253
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Wrong(ValueError):
    """What is wrong with a value, as a sentence that does not repeat it."""


def base_url(text: str) -> str:
    """The URL without its trailing slash; raises Wrong."""
    url = _split(text, schemes=("http", "https"))
    if "@" in url.netloc:
        raise Wrong("must not carry a user name or password")
    path = url.path.rstrip("/")
    before_operation(path)
    if "\\" in path:
        raise Wrong("must not contain a backslash")
    return f"{url.scheme}://{url.netloc}{path}"


def before_operation(path: str) -> None:
    """Raises Wrong when a base path goes on to what is appended to it."""
    if path.endswith(("/chat/completions", "/completions", "/models")):
        raise Wrong('must end before the operation, as in "http://127.0.0.1:8080/v1"')


def exact_host(text: str) -> str:
    """A host that everybody reads alike, in lower case: a plain name, a dotted IPv4 address, an IPv6 address.

    IPv6 addresses may stand in brackets and come back without. Raises Wrong for all else, above all for numbers that
    some programs take for addresses (`0x7f.1`, `2130706433`, `0177.0.0.1`), zone ids and a dot at the end.
    """
    host = text.lower()
    if not text.isascii():
        raise Wrong('must have a host of ASCII letters; write an international name in its "xn--" form')
    if host.startswith("["):
        host = host.removeprefix("[").removesuffix("]")
        if ":" not in host:
            raise Wrong("must have a valid host")
    if ":" in host:
        address = _address(host)
        if address is None:
            raise Wrong("must have a valid host")
        return str(address)
    if host.endswith("."):
        raise Wrong("must have a host without a dot at its end")
    if len(host) > _LONGEST_NAME or not _EXACT_NAME.fullmatch(host):
        raise Wrong("must have a valid host")
    if _NUMBER.fullmatch(host.rpartition(".")[2]) and _address(host) is None:
        raise Wrong("must have a host name, or an IPv4 address as four decimal numbers")
    return host


def network(text: str) -> str:
    """A network in CIDR notation, or a single address; raises Wrong."""
    try:
        found = ipaddress.ip_network(text)
    except ValueError:
        raise Wrong('must be a network such as "10.0.0.0/8", without bits beyond its prefix') from None
    if isinstance(found, ipaddress.IPv6Network) and found.subnet_of(_MAPPED):
        raise Wrong("must name IPv4 addresses in their own form")
    return str(found)


def proxy_url(text: str) -> str:
    """The URL of an HTTP proxy, a user name and password allowed; raises Wrong."""
    url = _split(text, schemes=("http", "https"))
    if url.path not in ("", "/"):
        raise Wrong("must not have a path")
    return text.rstrip("/")


def origin(text: str) -> str:
    """A browser origin as browsers send it, or `*`; raises Wrong."""
    if text == "*":
        return text
    url = _split(text, schemes=("http", "https"))
    if "@" in url.netloc or url.path:
        raise Wrong("must be exactly http(s)://host[:port], without a path or trailing slash")
    if url.port == _DEFAULT_PORTS[url.scheme]:
        raise Wrong("must leave out the default port, as browsers do")
    return f"{url.scheme}://{url.netloc.lower()}"


def bind_host(text: str) -> str:
    """An address or host name to listen on; raises Wrong."""
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    if _address(text) is None and not (_HOST_NAME.fullmatch(text) and not _only_numbers(text)):
        raise Wrong('must be an IP address or a host name ("0.0.0.0" is every IPv4 address of this machine)')
    return text


@lru_cache(maxsize=1024)  # asked again of every registered endpoint whenever one of them changes
def location_of(url: str) -> Location:
    """Local for `localhost`, loopback and private address literals, cloud for all else."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost":
        return Location.LOCAL
    address = _address(host)
    if address is None:
        return Location.CLOUD
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    if mapped is not None:
        address = mapped
    return Location.LOCAL if address.is_loopback or address.is_private else Location.CLOUD


def has_password(text: str) -> bool:
    """Whether a URL carries credentials before its host; a text that is no URL counts when it has an @."""
    try:
        return "@" in urlsplit(text).netloc
    except ValueError:
        return "@" in text


def _split(text: str, *, schemes: tuple[str, ...]) -> SplitResult:
    if not _VISIBLE.fullmatch(text):
        raise Wrong("must be visible ASCII without blanks")
    if not text.lower().startswith(tuple(f"{scheme}://" for scheme in schemes)):
        raise Wrong(f"must start with {' or '.join(f'{scheme}://' for scheme in schemes)}")
    if "?" in text or "#" in text:
        raise Wrong("must not have a query or fragment")
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise Wrong("must have a valid host and a port from 1 to 65535") from None
    host = url.hostname or ""
    if port == 0 or not _AUTHORITY.fullmatch(url.netloc.rpartition("@")[2]):
        raise Wrong("must have a valid host and a port from 1 to 65535")
    if _address(host) is None and not _HOST_NAME.fullmatch(host):
        raise Wrong("must have a valid host")
    return url


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def _only_numbers(text: str) -> bool:
    return all(part.isdigit() for part in text.rstrip(".").split("."))
