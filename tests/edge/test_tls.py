"""What the door makes of certificates; real connections are in tests/live/test_tls.py."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from octoroute_py.admission.clients import ClientCertificate
from octoroute_py.config.schema import TlsConfig
from octoroute_py.core.errors import ConfigError
from octoroute_py.edge.tls import TlsDoor, client_certificate
from tests.fakes.certificates import Authority


class Shows(asyncio.BaseTransport):
    """A connection on which this was shown."""

    def __init__(self, shown: object) -> None:
        super().__init__({"peercert": shown})


def tls(folder: Path, *, client_ca: Path | None = None) -> TlsConfig:
    return TlsConfig(cert_file=folder / "server.pem", key_file=folder / "server.pem", client_ca_file=client_ca)


def shakes_hands(door: TlsDoor, client: ssl.SSLContext) -> bool:
    """Whether a connection in memory comes about."""
    pipes = [ssl.MemoryBIO() for _ in range(2)]
    here = door.context.wrap_bio(pipes[0], pipes[1], server_side=True)
    there = client.wrap_bio(pipes[1], pipes[0], server_hostname="127.0.0.1")
    waiting: list[Any] = [there, here]
    for _ in range(10):
        for side in list(waiting):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            except ssl.SSLError:
                return False
            waiting.remove(side)
    return not waiting


def test_the_names_of_a_certificate_are_its_common_name_and_its_alternatives() -> None:
    shown = {
        "subject": ((("organizationName", "ACME"),), (("commonName", "ci"),)),
        "subjectAltName": (("DNS", "ci.example"), ("URI", "spiffe://x"), ("email", "a@b"), ("DirName", "no")),
        "notAfter": "Jan  1 00:00:00 2030 GMT",
    }
    found = client_certificate(Shows(shown))
    assert found == ClientCertificate(("ci", "ci.example", "spiffe://x", "a@b"), 1893456000.0)


@pytest.mark.parametrize("shown", [None, {}])
def test_a_connection_without_one_has_none(shown: object) -> None:
    assert client_certificate(Shows(shown)) is None


def test_renewing_with_a_key_of_another_certificate_changes_nothing(tmp_path: Path) -> None:
    ours = Authority(tmp_path)
    ours.issue("server", common="127.0.0.1", names=("127.0.0.1",))
    other = ours.issue("other", common="127.0.0.1", names=("127.0.0.1",))
    door = TlsDoor(tls(tmp_path))
    mixed = TlsConfig(cert_file=other, key_file=tmp_path / "server.pem")
    with pytest.raises(ConfigError, match=r"server\.tls"):
        door.renew(mixed)
    assert shakes_hands(door, ours.client_context())
    with pytest.raises(ConfigError, match="No such file"):
        door.renew(TlsConfig(cert_file=tmp_path / "gone.pem", key_file=tmp_path / "gone.pem"))
    assert shakes_hands(door, ours.client_context())


def test_a_renewed_certificate_is_taken_with_another_authority_of_ours(tmp_path: Path) -> None:
    old, new = Authority(tmp_path), Authority(tmp_path, "new authority")
    old.issue("server", common="127.0.0.1", names=("127.0.0.1",))
    door = TlsDoor(tls(tmp_path))
    assert shakes_hands(door, old.client_context())
    assert not shakes_hands(door, new.client_context())
    new.issue("server", common="127.0.0.1", names=("127.0.0.1",))
    door.renew(tls(tmp_path))
    assert shakes_hands(door, new.client_context())
    assert not shakes_hands(door, old.client_context())


def test_an_authority_for_clients_can_be_added_at_a_reload_but_not_be_begun_with(tmp_path: Path) -> None:
    ours, clients = Authority(tmp_path), Authority(tmp_path, "clients")
    ours.issue("server", common="127.0.0.1", names=("127.0.0.1",))
    card = clients.issue("card", common="ci")
    door = TlsDoor(tls(tmp_path, client_ca=ours.ca_file))
    assert door.context.verify_mode is ssl.CERT_REQUIRED
    assert not shakes_hands(door, ours.client_context(card))
    door.renew(tls(tmp_path, client_ca=clients.ca_file))
    assert shakes_hands(door, ours.client_context(card))
    open_to_all = TlsDoor(tls(tmp_path))
    open_to_all.renew(tls(tmp_path, client_ca=clients.ca_file))
    assert open_to_all.context.verify_mode is ssl.CERT_NONE
