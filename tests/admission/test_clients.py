"""Client certificates beside keys: who somebody is, what they may, and what a certificate cannot do."""

import hashlib

import pytest

from octoroute_py.admission.auth import Access
from octoroute_py.admission.clients import ClientCertificate
from octoroute_py.config.schema import AuthConfig, AuthMode, ClientConfig, KeyConfig
from octoroute_py.core.errors import BadRequest, Denied, Refused
from octoroute_py.core.words import Role

HERE = "127.0.0.1"
NOW_S = 1_000.0
CI = ClientConfig(subject="ci.example", role=Role.INFERENCE)
OPS = ClientConfig(subject="ops.example", role=Role.ADMIN, workspaces=("red",))
KEY = KeyConfig(name="boss", role=Role.VIEWER, sha256=hashlib.sha256(b"key-of-boss").hexdigest())
BEARER = [(b"authorization", b"Bearer key-of-boss")]
UNKNOWN = [(b"authorization", b"Bearer unused")]


def door(*clients: ClientConfig, mode: AuthMode = AuthMode.AUTO, loopback: bool = True) -> Access:
    auth = AuthConfig(mode=mode, keys=(KEY,), clients=clients)
    return Access(auth, loopback=loopback, generated=None, wall=lambda: NOW_S)


def card(*names: str, ends_s: float = NOW_S + 1) -> ClientCertificate:
    return ClientCertificate(names, ends_s)


def verdict(
    access: Access, needed: Role | None, certificate: ClientCertificate | None, headers: list[tuple[bytes, bytes]]
) -> str:
    try:
        return access.authorize(headers, needed=needed, source=HERE, now=0.0, certificate=certificate).name
    except (Denied, BadRequest, Refused) as error:
        return f"{error.status} {error.code}"


@pytest.mark.parametrize(
    ("certificate", "headers", "needed", "expected"),
    [
        (card("Builds", "ci.example"), [], Role.INFERENCE, "ci.example"),
        (card("ci.example"), [], None, "ci.example"),
        (card("ci.example"), [], Role.VIEWER, "403 permission_denied"),
        (card("ci.example"), BEARER, Role.VIEWER, "boss"),
        (card("ci.example"), BEARER, Role.INFERENCE, "403 permission_denied"),
        (card("ci.example"), UNKNOWN, Role.INFERENCE, "ci.example"),
        (card("ci.example"), UNKNOWN, Role.VIEWER, "401 invalid_api_key"),
        (card("CI.example"), [], Role.INFERENCE, "401 invalid_api_key"),
        (card("ci.example.evil"), [], Role.INFERENCE, "401 invalid_api_key"),
        (card(), [], Role.INFERENCE, "401 invalid_api_key"),
        (card("ci.example", ends_s=NOW_S), [], Role.INFERENCE, "401 invalid_api_key"),
        (None, [], Role.INFERENCE, "401 invalid_api_key"),
        (None, [], None, "anonymous"),
        (card("ops.example", "ci.example"), [], Role.ADMIN, "403 permission_denied"),
    ],
)
def test_who_gets_in(
    certificate: ClientCertificate | None, headers: list[tuple[bytes, bytes]], needed: Role | None, expected: str
) -> None:
    assert verdict(door(CI, OPS), needed, certificate, headers) == expected


def test_the_first_entry_that_fits_counts() -> None:
    both = card("ops.example", "ci.example")
    assert verdict(door(OPS, CI), Role.ADMIN, both, []) == "ops.example"
    assert verdict(door(CI, OPS), Role.INFERENCE, both, []) == "ci.example"


def test_a_client_that_is_bound_to_workspaces_is_bound_like_a_key() -> None:
    who = door(OPS).authorize([], needed=Role.ADMIN, source=HERE, now=0.0, certificate=card("ops.example"))
    assert (who.workspaces, who.key_id) == (("red",), "ops.example")
    seen = door(OPS).authorize_optional([], needed=Role.VIEWER, source=HERE, certificate=card("ops.example"))
    assert seen is None


def test_a_web_page_cannot_use_the_certificate_of_its_visitors_browser() -> None:
    page = [(b"host", b"gateway"), (b"origin", b"https://evil.example")]
    assert verdict(door(CI), Role.INFERENCE, card("ci.example"), page) == "403 permission_denied"
    assert verdict(door(CI), Role.VIEWER, card("ci.example"), [*page, *BEARER]) == "boss"


def test_entries_for_clients_close_the_gateway_to_strangers_as_keys_do() -> None:
    only_clients = Access(AuthConfig(clients=(CI,)), loopback=True, generated=None)
    assert verdict(only_clients, Role.INFERENCE, None, []) == "401 invalid_api_key"
    assert AuthConfig(clients=(CI,)).has_keys


def test_where_everything_is_open_a_certificate_takes_nothing_away() -> None:
    opened = door(CI, mode=AuthMode.NONE)
    assert verdict(opened, Role.ADMIN, card("ci.example"), []) == "ci.example"
    assert opened.authorize_optional([], needed=Role.VIEWER, source=HERE, certificate=card("ci.example")) is not None


def test_a_key_without_the_role_does_not_get_that_of_a_certificate_and_sheds_its_bounds() -> None:
    assert verdict(door(OPS), Role.ADMIN, card("ops.example"), BEARER) == "403 permission_denied"


def test_a_known_certificate_may_call_a_gateway_on_loopback_by_any_name() -> None:
    named = [(b"host", b"gateway.example.com")]
    assert verdict(door(OPS), Role.ADMIN, card("ops.example"), named) == "ops.example"
    assert door(CI, mode=AuthMode.NONE).authorize_optional(named, needed=Role.ADMIN, source=HERE) is None
