"""URLs, origins, hosts, and where an endpoint is."""

import pytest

from octoroute_py.config.addresses import Wrong, base_url, bind_host, location_of
from octoroute_py.core.words import Location


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/", "http://127.0.0.1:11434/v1"),
        ("HTTPS://api.example.com//", "https://api.example.com"),
        ("http://[::1]:8080/openai/v1", "http://[::1]:8080/openai/v1"),
        ("http://my_box:1", "http://my_box:1"),
    ],
)
def test_a_base_url_is_kept_without_its_trailing_slash(given: str, kept: str) -> None:
    assert base_url(given) == kept


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host/v1",
        "host/v1",
        "http://",
        "http:///v1",
        "http://:8080/v1",
        "http://user:hunter22@host/v1",
        "http://hunter22@host/v1",
        "http://host/v1?key=hunter22",
        "http://host/v1#hunter22",
        "http://host/v1?",
        "http://ho st/v1",
        "http://host\n/v1",
        "http://host:0/v1",
        "http://host:65536/v1",
        "http://host:/v1",
        "http://host:8a/v1",
        "http://[::1/v1",
        "http://[::1]x:80/v1",
        "http://[v1.x]/v1",
        "http://höst/v1",
        "http://host\\@evil/v1",
        "http://-host/v1",
        "http://a..b/v1",
        "http://host/v1/chat/completions",
    ],
)
def test_what_is_no_plain_base_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Wrong) as caught:
        base_url(url)
    assert "hunter22" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1/v1",
        "http://LOCALHOST./v1",
        "http://127.8.9.1/v1",
        "http://10.1.2.3/v1",
        "http://172.16.0.1/v1",
        "http://192.168.1.9/v1",
        "http://[::1]/v1",
        "http://[fd00::1]/v1",
        "http://[::ffff:10.0.0.1]/v1",
    ],
)
def test_loopback_and_private_addresses_are_local(url: str) -> None:
    assert location_of(url) is Location.LOCAL


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com/v1",
        "http://localhost.example.com/v1",
        "http://8.8.8.8/v1",
        "http://172.32.0.1/v1",
        "http://[2001:4860::1]/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "http://2130706433/v1",
    ],
)
def test_names_and_public_addresses_are_cloud(url: str) -> None:
    assert location_of(url) is Location.CLOUD


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "[::1]", "127.0.0.1", "localhost", "box.lan"])
def test_addresses_and_names_can_be_listened_on(host: str) -> None:
    assert bind_host(host) == host.strip("[]")


@pytest.mark.parametrize("host", ["", "*", "a b", "1.2.3", "1.2.3.4.5", "http://x", "host:80", "fe80::1%eth0"])
def test_what_is_no_host_cannot_be_listened_on(host: str) -> None:
    with pytest.raises(Wrong):
        bind_host(host)
