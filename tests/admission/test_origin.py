"""Pages from elsewhere do not spend the models of a gateway that asks for no key."""

import hashlib

import pytest

from octoroute_py.admission.auth import Access
from octoroute_py.admission.origin import Origins
from octoroute_py.config.schema import AuthConfig, KeyConfig
from octoroute_py.core.errors import Denied
from octoroute_py.core.words import Role


@pytest.mark.parametrize(
    ("origin", "admitted"),
    [
        (b"http://localhost:5173", True),
        (b"http://127.0.0.1:8080", True),
        (b"https://[::1]", True),
        (b"http://ui.localhost", True),
        (b"app://obsidian.md", True),
        (b"vscode-webview://1a2b", True),
        (b"https://chat.example", True),
        (b"https://evil.example", False),
        (b"http://192.168.1.7", False),
        (b"http://localhost.evil.example", False),
        (b"null", False),
        (b"", False),
        (b"http://[", False),
        (b"https://chat.example:8443", False),
    ],
)
def test_pages_of_this_machine_apps_and_listed_origins_are_admitted(origin: bytes, admitted: bool) -> None:
    assert Origins(["https://chat.example"]).admits(origin) is admitted


def test_a_star_admits_every_page() -> None:
    assert Origins(["*"]).admits(b"https://evil.example")
    assert Origins(["*"]).admits(b"null")


def test_only_whoever_comes_without_a_key_is_asked_for_an_origin() -> None:
    key = KeyConfig(name="ops", role=Role.ADMIN, sha256=hashlib.sha256(b"a-key-of-the-operator").hexdigest())
    access = Access(AuthConfig(keys=(key,)), loopback=True, generated=None)
    page = (b"origin", b"https://evil.example")
    with pytest.raises(Denied) as denied:
        access.authorize([page], needed=Role.INFERENCE, source="127.0.0.1", now=0.0)
    assert (denied.value.status, denied.value.code) == (403, "permission_denied")
    keyed = [page, (b"authorization", b"Bearer a-key-of-the-operator")]
    assert access.authorize(keyed, needed=Role.INFERENCE, source="127.0.0.1", now=0.0).name == "ops"
    assert access.authorize([page], needed=None, source="127.0.0.1", now=0.0).name == "anonymous"


def test_a_gateway_that_others_reach_admits_pages_of_its_own_host() -> None:
    own = Origins([])
    assert own.admits(b"http://gateway.lan:3000", host=b"gateway.lan:3000")
    assert not own.admits(b"http://gateway.lan:3001", host=b"gateway.lan:3000")
    assert not own.admits(b"http://gateway.lan:3000")


@pytest.mark.parametrize(
    ("host", "known"),
    [
        (b"localhost:3000", True),
        (b"LOCALHOST", True),
        (b"app.localhost:3000", True),
        (b"127.0.0.1:3000", True),
        (b"192.168.1.5", True),
        (b"[::1]:3000", True),
        (b"gateway", True),
        (b"chat.example.com:3000", True),
        (b"evil.example:3000", False),
        (b"localhost.evil.example", False),
        (b"127.0.0.1.evil.example", False),
        (b"evil.example.", False),
        (b"[", False),
    ],
)
def test_on_loopback_a_name_that_may_have_been_made_to_point_here_is_not_known(host: bytes, known: bool) -> None:
    origins = Origins(["https://chat.example.com"])
    assert origins.knows(host) is known
    assert origins.knows(host) is known
    assert Origins(["*"]).knows(b"evil.example")


def test_a_page_under_a_rebound_name_reads_nothing_without_a_key() -> None:
    access = Access(AuthConfig(), loopback=True, generated=None)
    rebound, local = [(b"host", b"evil.example:3000")], [(b"host", b"127.0.0.1:3000")]
    with pytest.raises(Denied) as denied:
        access.authorize(rebound, needed=Role.VIEWER, source="127.0.0.1", now=0.0)
    assert (denied.value.status, denied.value.code) == (403, "permission_denied")
    assert access.authorize_optional(rebound, needed=Role.VIEWER, source="127.0.0.1") is None
    assert access.authorize(local, needed=Role.ADMIN, source="127.0.0.1", now=0.0).role is Role.ADMIN
    assert access.authorize_optional(local, needed=Role.VIEWER, source="127.0.0.1") is not None
    assert access.authorize(rebound, needed=None, source="127.0.0.1", now=0.0).name == "anonymous"
