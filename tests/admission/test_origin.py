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
