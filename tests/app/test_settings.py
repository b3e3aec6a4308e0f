"""What a reload cannot change is told; the files of a certificate it can."""

from pathlib import Path

from msgspec.structs import replace

from octoroute_py.app.settings import needs_restart
from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config, TlsConfig
from tests.fakes.configs import MINIMAL


def with_tls(tls: TlsConfig | None) -> Config:
    config = parse_config(MINIMAL)
    return replace(config, server=replace(config.server, tls=tls))


def test_another_certificate_needs_no_restart_and_another_authority_for_clients_does() -> None:
    tls = TlsConfig(cert_file=Path("a.pem"), key_file=Path("a.key"))
    renewed = replace(tls, cert_file=Path("b.pem"), key_file=Path("b.key"))
    asking = replace(tls, client_ca_file=Path("ca.pem"))
    assert needs_restart(with_tls(tls), with_tls(renewed)) == []
    for before, after in ((tls, asking), (asking, tls), (tls, None), (None, tls)):
        assert needs_restart(with_tls(before), with_tls(after)) == ["server"]
