import hashlib

import pytest

from octoroute_py.admission.auth import Access, is_loopback, presented_key
from octoroute_py.admission.keyring import KeyRing
from octoroute_py.admission.principal import ANONYMOUS
from octoroute_py.config.schema import AuthConfig, AuthMode, KeyConfig
from octoroute_py.core.errors import BadRequest, ConfigError, Denied, Refused
from octoroute_py.core.words import Role

Headers = list[tuple[bytes, bytes]]
HERE = "127.0.0.1"


def key(role: Role, clear: str | None = None) -> KeyConfig:
    clear = f"key-of-{role.value}" if clear is None else clear
    return KeyConfig(name=role.value, role=role, sha256=hashlib.sha256(clear.encode()).hexdigest())


def bearer(clear: str) -> Headers:
    return [(b"host", b"localhost"), (b"authorization", b"Bearer " + clear.encode())]


def api_key(clear: str) -> Headers:
    return [(b"x-api-key", clear.encode())]


ALL_KEYS = tuple(key(role) for role in Role)


def access(
    *keys: KeyConfig, loopback: bool = True, mode: AuthMode = AuthMode.AUTO, generated: KeyConfig | None = None
) -> Access:
    return Access(AuthConfig(mode=mode, keys=keys), loopback=loopback, generated=generated)


def verdict(door: Access, headers: Headers, needed: Role | None) -> str:
    """The name of whoever got in, or the status and code of the refusal."""
    try:
        return door.authorize(headers, needed=needed, source="192.0.2.1", now=0.0).name
    except (Denied, BadRequest, Refused) as error:
        return f"{error.status} {error.code}"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer abc")],
        [(b"authorization", b"bEARER   abc")],
        [(b"x-api-key", b"abc")],
        [(b"x-api-key", b"abc"), (b"authorization", b"Bearer abc")],
        [(b"authorization", b"Bearer abc"), (b"authorization", b"bearer abc")],
    ],
)
def test_one_key_is_found_in_either_header(headers: Headers) -> None:
    assert presented_key(headers) == b"abc"


def test_a_request_without_a_key_has_none() -> None:
    assert presented_key([(b"cookie", b"key=abc"), (b"x-apikey", b"abc")]) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer a b")],
        [(b"x-api-key", b" ")],
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"authorization", b"Bearer a"), (b"x-api-key", b"b")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"b")],
    ],
)
@pytest.mark.parametrize("keys", [(), ALL_KEYS])
def test_malformed_headers_and_two_different_keys_are_bad_requests_everywhere(
    headers: Headers, keys: tuple[KeyConfig, ...]
) -> None:
    with pytest.raises(BadRequest) as caught:
        access(*keys).authorize(headers, needed=Role.INFERENCE, source="::1", now=0.0)
    assert caught.value.status == 400


def test_another_scheme_is_refused_where_a_key_is_needed_and_ignored_where_not() -> None:
    basic: Headers = [(b"authorization", b"Basic dXNlcjpwYXNz")]
    assert verdict(access(*ALL_KEYS), basic, Role.INFERENCE) == "401 invalid_api_key"
    assert verdict(access(*ALL_KEYS), basic, None) == ANONYMOUS
    assert verdict(access(), basic, Role.INFERENCE) == ANONYMOUS


@pytest.mark.parametrize("needed", [None, *Role])
def test_loopback_without_keys_is_open_for_everything(needed: Role | None) -> None:
    assert verdict(access(), [], needed) == ANONYMOUS
    assert verdict(access(), bearer("sk-whatever"), needed) == ANONYMOUS


def test_loopback_with_only_an_admin_token_keeps_inference_open_and_closes_the_rest() -> None:
    door = access(key(Role.ADMIN))
    assert verdict(door, [], Role.INFERENCE) == ANONYMOUS
    assert verdict(door, bearer("sk-unknown"), Role.INFERENCE) == ANONYMOUS
    assert verdict(door, bearer("key-of-admin"), Role.INFERENCE) == "admin"
    for needed in (Role.VIEWER, Role.OPERATOR, Role.ADMIN):
        assert verdict(door, [], needed) == "401 invalid_api_key"
        assert verdict(door, bearer("sk-unknown"), needed) == "401 invalid_api_key"
        assert verdict(door, bearer("key-of-admin"), needed) == "admin"


@pytest.mark.parametrize("other", [Role.INFERENCE, Role.VIEWER, Role.OPERATOR])
def test_loopback_with_any_other_key_needs_a_key_for_inference(other: Role) -> None:
    assert verdict(access(key(Role.ADMIN), key(other)), [], Role.INFERENCE) == "401 invalid_api_key"


ALLOWED = {
    Role.INFERENCE: {Role.INFERENCE},
    Role.VIEWER: {Role.VIEWER},
    Role.OPERATOR: {Role.OPERATOR, Role.VIEWER, Role.INFERENCE},
    Role.ADMIN: set(Role),
}


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize("needed", list(Role))
@pytest.mark.parametrize("held", list(Role))
def test_both_header_forms_give_the_same_verdict_for_every_role(held: Role, needed: Role, loopback: bool) -> None:
    door = access(*ALL_KEYS, loopback=loopback)
    expected = held.value if needed in ALLOWED[held] else "403 permission_denied"
    clear = f"key-of-{held.value}"
    assert verdict(door, bearer(clear), needed) == verdict(door, api_key(clear), needed) == expected


@pytest.mark.parametrize("needed", list(Role))
def test_elsewhere_every_role_needs_a_key_even_when_there_is_none(needed: Role) -> None:
    for door in (access(loopback=False), access(key(Role.ADMIN), loopback=False)):
        assert verdict(door, [], needed) == "401 invalid_api_key"
        assert verdict(door, bearer("guess"), needed) == "401 invalid_api_key"
        assert verdict(door, [(b"cookie", b"key-of-admin")], needed) == "401 invalid_api_key"


def test_a_generated_key_is_the_admin() -> None:
    door = access(loopback=False, generated=key(Role.ADMIN, "okr-first"))
    assert verdict(door, bearer("okr-first"), Role.ADMIN) == "admin"


def test_mode_none_opens_everything_anywhere() -> None:
    door = access(key(Role.VIEWER), loopback=False, mode=AuthMode.NONE)
    assert verdict(door, [], Role.ADMIN) == ANONYMOUS
    assert verdict(door, bearer("key-of-viewer"), Role.INFERENCE) == "viewer"


def test_a_stranger_on_an_open_route_of_a_closed_gateway_holds_no_role() -> None:
    stranger = access(loopback=False).authorize([], needed=None, source="192.0.2.1", now=0.0)
    assert stranger.name == ANONYMOUS
    assert not any(stranger.may(role) for role in Role)


def test_a_known_key_is_recognised_on_an_open_route() -> None:
    assert verdict(access(*ALL_KEYS, loopback=False), api_key("key-of-viewer"), None) == "viewer"


def test_details_are_for_those_who_hold_the_role() -> None:
    door = access(*ALL_KEYS, loopback=False)
    assert door.authorize_optional([], needed=Role.VIEWER, source=HERE) is None
    assert door.authorize_optional(bearer("guess"), needed=Role.VIEWER, source=HERE) is None
    assert door.authorize_optional(bearer("key-of-inference"), needed=Role.VIEWER, source=HERE) is None
    found = door.authorize_optional(bearer("key-of-viewer"), needed=Role.VIEWER, source=HERE)
    assert found is not None
    assert found.name == "viewer"
    anyone = access().authorize_optional([], needed=Role.VIEWER, source=HERE)
    assert anyone is not None
    assert anyone.name == ANONYMOUS


def test_refusals_do_not_tell_what_was_wrong_with_a_key() -> None:
    door = access(*ALL_KEYS, loopback=False)
    bodies = set()
    for clear in ("guess", "key-of-admi", "key-of-adminn", key(Role.ADMIN).sha256):
        with pytest.raises(Denied) as caught:
            door.authorize(bearer(clear), needed=Role.ADMIN, source=clear, now=0.0)
        bodies.add(caught.value.body())
    assert len(bodies) == 1


def test_too_many_wrong_keys_are_told_to_wait_while_right_keys_and_other_sources_pass() -> None:
    door = access(*ALL_KEYS, loopback=False)
    for _ in range(20):
        assert verdict(door, bearer("guess"), Role.INFERENCE) == "401 invalid_api_key"
    with pytest.raises(Refused) as caught:
        door.authorize(bearer("guess"), needed=Role.INFERENCE, source="192.0.2.1", now=15.0)
    assert (caught.value.status, caught.value.code, caught.value.retry_after_s) == (429, "rate_limit_exceeded", 45.0)
    assert verdict(door, bearer("key-of-admin"), Role.INFERENCE) == "admin"
    assert verdict(door, [], Role.INFERENCE) == "401 invalid_api_key"
    with pytest.raises(Denied):
        door.authorize(bearer("guess"), needed=Role.INFERENCE, source="192.0.2.2", now=15.0)
    with pytest.raises(Denied):
        door.authorize(bearer("guess"), needed=Role.INFERENCE, source="192.0.2.1", now=60.0)


@pytest.mark.parametrize("sha256", ["", "zz", "ab" * 31, hashlib.sha256(b"").hexdigest()])
def test_useless_hashes_are_refused(sha256: str) -> None:
    with pytest.raises(ConfigError, match="broken"):
        KeyRing([KeyConfig(name="broken", role=Role.ADMIN, sha256=sha256)])


def test_one_key_under_two_names_is_refused() -> None:
    with pytest.raises(ConfigError, match="same key"):
        KeyRing([key(Role.ADMIN, "x"), key(Role.VIEWER, "x")])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.10", "::1", "[::1]", "localhost", "LocalHost", "::ffff:127.0.0.1"]
)
def test_loopback_hosts(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.168.1.5", "localhost.example.org", "128.0.0.1", "::ffff:10.0.0.1"]
)
def test_hosts_that_others_can_reach(host: str) -> None:
    assert not is_loopback(host)
