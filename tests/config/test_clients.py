"""`[[auth.clients]]`, and what a valid configuration leaves open."""

from pathlib import Path

import pytest

from octoroute_py.config.exposed import exposed
from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import ClientConfig, Config
from octoroute_py.core.words import Role
from tests.fakes.certificates import Authority
from tests.fakes.configs import MINIMAL

CLIENT = '[[auth.clients]]\nsubject = "ci.example"\nrole = "inference"\n'


def with_tls(folder: Path, more: str = "", *, authority: bool = True) -> Config:
    ca = Authority(folder)
    ca.issue("server", common="127.0.0.1")
    tls = '[server.tls]\ncert_file = "server.pem"\nkey_file = "server.pem"\n'
    tls += f'client_ca_file = "{ca.ca_file.name}"\n' if authority else ""
    return parse_config(MINIMAL + tls + more, path=folder / "config.toml")


def test_a_client_has_a_subject_a_role_and_perhaps_workspaces(tmp_path: Path) -> None:
    second = '[[auth.clients]]\nsubject = "spiffe://x/y"\nrole = "admin"\nworkspaces = ["red", "blue", "red"]\n'
    assert with_tls(tmp_path, CLIENT + second).auth.clients == (
        ClientConfig(subject="ci.example", role=Role.INFERENCE),
        ClientConfig(subject="spiffe://x/y", role=Role.ADMIN, workspaces=("red", "blue")),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[auth.clients]]\nrole = "admin"\n', "auth.clients[0].subject: required"),
        ('[[auth.clients]]\nsubject = "x"\n', "auth.clients[0].role: required"),
        ('[[auth.clients]]\nsubject = "x"\nrole = "admni"\n', 'did you mean "admin"?'),
        (f"{CLIENT}workspace = 'x'\n", 'unknown key; did you mean "workspaces"?'),
        (f"{CLIENT}workspaces = []\n", "must name a workspace; absent: all of them"),
        (f"{CLIENT}{CLIENT}", "auth.clients[1].subject: is already the name of a key or client"),
        ('[[auth.clients]]\nsubject = "a\\u0000b"\nrole = "admin"\n', "must be printable"),
    ],
)
def test_what_is_wrong_with_a_client_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        with_tls(tmp_path, text)
    assert said in str(caught.value)


def test_clients_are_of_no_use_where_nobody_is_asked_for_a_certificate(tmp_path: Path) -> None:
    said = "auth.clients: nobody is asked for a certificate; set server.tls.client_ca_file"
    with pytest.raises(InvalidConfig, match=said):
        with_tls(tmp_path, CLIENT, authority=False)
    with pytest.raises(InvalidConfig, match=said):
        parse_config(MINIMAL + CLIENT)


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_key_that_others_may_read_is_told(tmp_path: Path, mode: int, told: bool) -> None:
    config = with_tls(tmp_path)
    (tmp_path / "server.pem").chmod(mode)
    lines = [line for line in exposed(config) if f"(mode {mode:04o})" in line and "chmod 600" in line]
    assert len(lines) == told


def test_every_page_of_the_web_is_worth_a_line() -> None:
    (line,) = exposed(parse_config(MINIMAL + '[cors]\norigins = ["*"]\n'))
    assert "every web page" in line
    assert exposed(parse_config(MINIMAL + '[cors]\norigins = ["https://a.example"]\n')) == ()
