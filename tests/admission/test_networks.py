"""Whether an address lies in a network, however either is written."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.admission.networks import Networks


@pytest.mark.parametrize(
    ("networks", "inside", "outside"),
    [
        (("10.0.0.0/8",), ("10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"), ("11.0.0.0", "::10.1.2.3", "::1")),
        (("192.0.2.7",), ("192.0.2.7", "::ffff:192.0.2.7"), ("192.0.2.8",)),
        (("2001:db8::/32",), ("2001:db8::1", "2001:0DB8:0:0::1"), ("2001:db9::1", "32.1.13.184")),
        (("::ffff:10.0.0.0/104",), ("10.1.2.3", "::ffff:10.1.2.3"), ("11.1.2.3", "::1")),
        (("fe80::/10",), ("fe80::1", "fe80::1%eth0"), ("fec0::1", "::1")),
        (("0.0.0.0/0",), ("1.2.3.4", "::ffff:1.2.3.4"), ("2001:db8::1",)),
        (("::/0",), ("2001:db8::1", "::1"), ("1.2.3.4", "::ffff:1.2.3.4")),
        (("10.0.0.0/8", "::1"), ("10.1.1.1", "::1"), ("127.0.0.1",)),
        ((), (), ("127.0.0.1", "::1")),
    ],
)
def test_addresses_in_and_out(networks: tuple[str, ...], inside: tuple[str, ...], outside: tuple[str, ...]) -> None:
    found = Networks(networks)
    assert [source for source in inside if source not in found] == []
    assert [source for source in outside if source in found] == []


@pytest.mark.parametrize("source", ["", "unknown", "/run/gateway.sock", "127.0.0.1:80", "10.0.0.1/8", "010.0.0.1"])
def test_what_is_no_address_is_in_no_network(source: str) -> None:
    assert source not in Networks(("0.0.0.0/0", "::/0"))


@pytest.mark.parametrize("text", ["", "ten", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/-1", "::1/64", "10.0.0.0/8\n"])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"network|prefix|netmask|host bits|Expected|permitted"):
        Networks((text,))


@given(st.ip_addresses(v=4), st.integers(min_value=0, max_value=32))
def test_an_ipv4_address_is_the_same_in_its_ipv6_spelling(address: ipaddress.IPv4Address, prefix: int) -> None:
    network = ipaddress.ip_network((address, prefix), strict=False)
    for spelled in (str(network), f"::ffff:{network.network_address}/{prefix + 96}"):
        assert str(Networks((spelled,))) == str(network)
        assert str(address) in Networks((spelled,))
        assert f"::ffff:{address}" in Networks((spelled,))


def test_what_was_answered_for_one_address_is_not_answered_for_another_however_many_ask() -> None:
    networks = Networks(("10.0.0.0/24",))
    for _ in range(2):
        for number in range(1000):
            assert (f"10.0.{number // 250}.{number % 250}" in networks) is (number < 250)
