"""Which URLs and addresses registered endpoints may have."""

import ipaddress
import socket
from urllib.parse import urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import NetworkRules
from octoroute_py.transport.headers import origin_of
from octoroute_py.transport.reach import (
    OTHER_SERVICES,
    Address,
    Verdict,
    check_url,
    judge,
    literal_address,
    permitted_address,
    permitted_port,
    read_url,
    url_of,
)

NOTHING = NetworkRules()
ALL = NetworkRules(networks=("0.0.0.0/0", "::/0"))

NEVER = [
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.170.2",
    "169.254.0.1",
    "100.100.100.200",
    "192.0.0.192",
    "168.63.129.16",
    "192.88.99.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%1",
    "fe80::a9fe:a9fe",
    "fd00:ec2::254",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:42::42",
    "ff02::1",
    "fec0::1",
    "4000::1",
    "100::1",
    "::7f00:1",
    "::a9fe:a9fe",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "::ffff:0:169.254.169.254",
    "::ffff:0.0.0.0",
    "::ffff:224.0.0.1",
    "64:ff9b::169.254.169.254",
    "64:ff9b::0.0.0.0",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1::808:808",
    "2002:a9fe:a9fe::1",
    "2002:7f00:1::",
    "2002:808:808::1",
    "2001:0:a9fe:a9fe::1",
    "2001:0:808:808::f7f7:f7f7",
]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.1.1",
    "127.0.0.1",
    "127.1.2.3",
    "100.64.0.1",
    "192.0.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "2001:db8::1",
    "2001:20::1",
    "3fff::1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::127.0.0.1",
]
PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "172.32.0.1",
    "100.128.0.1",
    "192.0.1.1",
    "168.63.129.17",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2001:4860:4860::8888",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.mark.parametrize("text", NEVER)
def test_some_addresses_no_endpoint_may_have_whatever_is_allowed(text: str) -> None:
    address = ipaddress.ip_address(text)
    own = NetworkRules(networks=(text.partition("%")[0],))
    assert [judge(address, rules) for rules in (NOTHING, ALL, own)] == [Verdict.NEVER] * 3


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_are_not_public_need_to_be_allowed(text: str) -> None:
    address = ipaddress.ip_address(text)
    assert judge(address, NOTHING) is Verdict.PRIVATE
    assert judge(address, NetworkRules(networks=("9.0.0.0/8", "fd77::/16"))) is Verdict.PRIVATE
    assert judge(address, ALL) is Verdict.PERMITTED


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_free(text: str) -> None:
    assert permitted_address(ipaddress.ip_address(text), NOTHING)


def test_an_allowed_network_holds_for_every_spelling_of_its_addresses_and_for_no_other() -> None:
    rules = NetworkRules(networks=("10.1.0.0/16", "fd12::/16", "no network", "10.0.0.1/8"))
    for text in ("10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203", "fd12::9"):
        assert permitted_address(ipaddress.ip_address(text), rules), text
    for text in ("10.2.0.1", "::ffff:10.2.0.1", "fd13::9", "127.0.0.1"):
        assert not permitted_address(ipaddress.ip_address(text), rules), text


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("http://models.example.com/v1", "http://models.example.com/v1"),
        ("HTTPS://Models.Example.COM/v1/", "https://models.example.com/v1"),
        ("https://models.example.com:443/v1//", "https://models.example.com/v1"),
        ("http://models.example.com:80", "http://models.example.com"),
        ("https://models.example.com:8443/a/b", "https://models.example.com:8443/a/b"),
        ("http://models:8000/v1", "http://models:8000/v1"),
        ("http://my_box:8000", "http://my_box:8000"),
        ("http://xn--bcher-kva.example/v1", "http://xn--bcher-kva.example/v1"),
        ("http://8.8.8.8:11434/v1", "http://8.8.8.8:11434/v1"),
        ("http://[2606:4700:4700:0::1111]:8080/v1", "http://[2606:4700:4700::1111]:8080/v1"),
        ("https://h.example/o/deployments/a%20b;x=1/v1~", "https://h.example/o/deployments/a%20b;x=1/v1~"),
        ("https://1.2.3.4.example/v1", "https://1.2.3.4.example/v1"),
        ("https://a.example/@b", "https://a.example/@b"),
    ],
)
def test_plain_urls_are_taken_in_one_spelling(url: str, kept: str) -> None:
    assert url_of(check_url(url, NOTHING)) == kept
    assert url_of(check_url(kept, NOTHING)) == kept


REFUSED = [
    "",
    "models.example.com/v1",
    "//models.example.com/v1",
    "file:///etc/passwd",
    "unix:/run/docker.sock",
    "unix:///run/docker.sock",
    "ftp://models.example.com/",
    "gopher://127.0.0.1:6379/_INFO",
    "data:text/plain,x",
    "http:models.example.com",
    "http:/models.example.com",
    "http://",
    "http:///v1",
    "http://:8000/v1",
    "http://hunter22@models.example.com/",
    "http://user:hunter22@models.example.com/",
    "http://@models.example.com/",
    "http://a@b",
    "http://ok\\@evil",
    "http://ok\\evil/",
    "http://ok/\\evil",
    "http://ok#@evil/",
    "http://ok?@evil/",
    "http://models.example.com/v1?key=hunter22",
    "http://models.example.com/v1#hunter22",
    "http://models.example.com/v1?",
    "http://models.example.com/v1#",
    "http://models.example.com./v1",
    "http://models.example.com../v1",
    "http://models..example.com/v1",
    "http://.example.com/v1",
    "http://-a.example.com/v1",
    "http://a-.example.com/v1",
    "http://%31%32%37.0.0.1/v1",
    "http://127.0.0.1%2f@evil/",
    "http://bücher.example/v1",
    "http://１２７.0.0.1/v1",
    "http://①②⑦.0.0.1/v1",
    "http://127。0。0。1/v1",
    "http://ⓔxample.com/v1",
    "http://models.example.com/\u017f",
    "http://models.example.com/\u212a",
    "http://models.example.com/a b",
    "http://models.example.com/\t",
    "http://models.example.com/\r\nX-A: b",
    "http://models.example.com/v1\n",
    "\nhttp://models.example.com/v1",
    " http://models.example.com/v1",
    "http://models.exa\tmple.com/v1",
    "http://models.example.com\x00.evil/v1",
    "http://models.example.com/\x7f",
    "http://models.example.com/%",
    "http://models.example.com/%zz",
    'http://models.example.com/"',
    "http://models.example.com/<a>",
    "http://models.example.com:/v1",
    "http://models.example.com:0/v1",
    "http://models.example.com:080/v1",
    "http://models.example.com:65536/v1",
    "http://models.example.com:99999999/v1",
    "http://models.example.com:8a/v1",
    "http://models.example.com:+80/v1",
    "http://models.example.com:-1/v1",
    "http://models.example.com:80:80/v1",
    "http://models.example.com:８０/v1",
    "http://0x7f.1/",
    "http://0x7f000001/",
    "http://0X7F.0.0.1/",
    "http://127.0.0.0x1/",
    "http://2130706433/",
    "http://017700000001/",
    "http://0177.0.0.1/",
    "http://127.0.0.01/",
    "http://127.1/",
    "http://127.0.1/",
    "http://127.0.0.1.1/",
    "http://256.0.0.1/",
    "http://1.2.3.4.5/",
    "http://0x/",
    "http://0/",
    "http://a.0x/",
    "http://a.1/",
    "http://[::1/v1",
    "http://::1/v1",
    "http://[::1]x:80/v1",
    "http://[::1]]/v1",
    "http://[[::1]]/v1",
    "http://[127.0.0.1]/v1",
    "http://[fe80::1%25eth0]/v1",
    "http://[fe80::1%eth0]/v1",
    "http://[v1.x]/v1",
    "http://[::ffff:0x7f.1]/v1",
    "http://[:::1]/v1",
    "http://[1:2]/v1",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "example/",
    "http://a.example/" + "a" * 2048,
]


@pytest.mark.parametrize("url", REFUSED)
def test_what_programs_read_differently_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Wrong) as caught:
        check_url(url, ALL)
    assert "hunter22" not in str(caught.value)
    assert "evil" not in str(caught.value)


@pytest.mark.parametrize("text", NEVER)
def test_a_url_of_an_address_no_endpoint_may_have_is_refused(text: str) -> None:
    shown = f"[{text}]" if ":" in text else text
    for url in (f"http://{shown}/", f"https://{shown}:8000/latest/meta-data", f"http://{shown.upper()}/v1"):
        with pytest.raises(Wrong):
            check_url(url, ALL)


def test_a_url_of_a_private_address_is_refused_with_what_to_do_about_it() -> None:
    with pytest.raises(Wrong, match="allow_networks") as caught:
        check_url("http://10.7.7.7:8000/v1", NOTHING)
    assert "10.7" not in str(caught.value)
    assert check_url("http://10.7.7.7:8000/v1", NetworkRules(networks=("10.7.0.0/16",))).host == "10.7.7.7"


def test_ports_of_other_services_are_refused() -> None:
    for port in (1, 21, 22, 23, 25, 53, 81, 110, 143, 389, 445, 587, 993, *OTHER_SERVICES):
        assert not permitted_port(port, NOTHING), port
        with pytest.raises(Wrong, match="allow_ports"):
            check_url(f"http://models.example.com:{port}/v1", NOTHING)
    assert {22, 25, 6379, 5432, 3306, 27017, 11211, 2375, 2376, 9200, 5672, 2379} - OTHER_SERVICES == {22, 25}


def test_ports_that_model_servers_use_are_free() -> None:
    for port in (80, 443, 1234, 1337, 3000, 4000, 5000, 8000, 8001, 8080, 8081, 8443, 11434, 30000, 65535):
        assert check_url(f"http://models.example.com:{port}/v1", NOTHING).port == port


def test_ports_that_are_named_are_the_only_ones() -> None:
    rules = NetworkRules(ports=(22, 8000))
    assert [port for port in (22, 80, 443, 8000, 8080) if permitted_port(port, rules)] == [22, 8000]
    assert not permitted_port(8000, NetworkRules(ports=()))


@st.composite
def _forbidden(draw: st.DrawFn) -> Address:
    """An address that nothing permits when nothing is allowed."""
    network = ipaddress.ip_network(
        draw(
            st.sampled_from(
                ["169.254.0.0/16", "127.0.0.0/8", "10.0.0.0/8", "0.0.0.0/8", "224.0.0.0/4", "192.168.0.0/16"]
            )
        )
    )
    return network[draw(st.integers(0, network.num_addresses - 1))]


@st.composite
def _spelled(draw: st.DrawFn) -> str:
    """A host by which some program would reach a forbidden IPv4 address."""
    number = int(draw(_forbidden()))
    parts = [number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255]
    keep = draw(st.integers(0, 3))
    last = sum(part << 8 * (3 - at) for at, part in enumerate(parts) if at >= keep)
    forms = [draw(st.sampled_from(["{}", "0x{:x}", "0X{:X}", "0{:o}", "00{:o}", "0x0{:x}"])) for _ in range(keep + 1)]
    dotted = ".".join(form.format(part) for form, part in zip(forms, [*parts[:keep], last], strict=True))
    v6 = ipaddress.IPv6Address(number)
    prefix = draw(st.sampled_from(["::ffff:", "64:ff9b::", "::", "64:ff9b:1::", "::ffff:0:"]))
    plain = ipaddress.IPv4Address(number)
    return draw(
        st.sampled_from(
            [
                *(dotted, dotted + ".", str(plain), f"[{prefix}{plain}]", f"[{v6.exploded}]"),
                *(f"[{prefix}{number >> 16:x}:{number & 0xFFFF:X}]", f"[2002:{number >> 16:x}:{number & 0xFFFF:x}::1]"),
            ]
        )
    )


@given(host=_spelled(), port=st.sampled_from(["", ":80", ":8000"]), scheme=st.sampled_from(["http", "HTTPS"]))
def test_no_spelling_of_a_forbidden_address_passes(host: str, port: str, scheme: str) -> None:
    with pytest.raises(Wrong):
        check_url(f"{scheme}://{host}{port}/v1", NOTHING)


@given(host=st.text("0123456789abcdefxX.-_:[]%", min_size=1, max_size=24))
def test_a_host_that_passes_as_a_name_is_an_address_to_no_resolver(host: str) -> None:
    try:
        origin = check_url(f"http://{host}/", NOTHING)
    except Wrong:
        return
    address = literal_address(origin.host)
    if address is not None:
        assert permitted_address(address, NOTHING)
        assert socket.getaddrinfo(origin.host, 80, flags=socket.AI_NUMERICHOST)[0][4][0] == str(address)
        return
    with pytest.raises(OSError, match="not known"):
        socket.getaddrinfo(origin.host, 80, flags=socket.AI_NUMERICHOST)
    with pytest.raises(OSError):  # noqa: PT011 - it says only that this is no address
        socket.inet_aton(origin.host)


_HOSTS = ["127.0.0.1", "8.8.8.8", "[::1]", "[2606:4700:0::1]", "a.example", "A_b.Example", "xn--bcher-kva.de"]
_PORTS = ["", ":80", ":443", ":8000", ":65535"]
_PATHS = ["", "/", "//", "/v1", "/%40", "/a;b=c", "/../x", "/.", "/@a.example", "/a:b", "/%2F"]
_ODD = ["@", "\\", "?", "#", ":", "%", ".", "ſ", "ß", "。", "\t", "\n", "\0", " ", "[", "]", "//", "http://"]


@st.composite
def _urls(draw: st.DrawFn) -> str:
    """A plain URL, half of the time with something odd in the middle of it."""
    start = draw(st.sampled_from(["http://", "https://", "HTTP://"]))
    path = "".join(draw(st.lists(st.sampled_from(_PATHS), max_size=3)))
    url = start + draw(st.sampled_from(_HOSTS)) + draw(st.sampled_from(_PORTS)) + path
    odd, at = draw(st.sampled_from([""] * len(_ODD) + _ODD)), draw(st.integers(0, len(url)))
    return url[:at] + odd + url[at:]


@given(url=_urls())
def test_what_passes_means_the_same_to_every_parser(url: str) -> None:
    try:
        origin = read_url(url)
    except Wrong:
        return
    split, parsed = urlsplit(url), httpx.URL(url)
    usual = 443 if origin.tls else 80
    assert literal_address(split.hostname or "") == literal_address(origin.host)
    if literal_address(origin.host) is None:
        assert split.hostname == parsed.raw_host.decode() == origin.host
    assert (split.port or usual, parsed.port or usual) == (origin.port, origin.port)
    assert split.path.rstrip("/") == origin.path
    assert origin_of(url_of(origin)) == origin == read_url(url_of(origin))


def test_a_plain_url_is_not_refused_by_that() -> None:
    for host in _HOSTS:
        for port in _PORTS:
            for path in _PATHS:
                read_url(f"https://{host}{port}{path}")
