"""Configured and issued keys in one ring: found by their hash, in their time, and no faster when they are wrong."""

import hashlib
import statistics
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.admission.auth import Access
from octoroute_py.admission.keyring import IssuedKeys, KeyRing
from octoroute_py.config.schema import AuthConfig, AuthMode, KeyConfig
from octoroute_py.core.allowance import Grant
from octoroute_py.core.directory import Directory, IssuedKey, IssuedSecret
from octoroute_py.core.errors import Denied, GatewayError
from octoroute_py.core.words import Role

NOW_S = 1000.0


def sha256(clear: str) -> bytes:
    return hashlib.sha256(clear.encode()).digest()


def issued_key(
    clear: str,
    *more: IssuedSecret,
    role: Role = Role.INFERENCE,
    grant: Grant | None = None,
    revoked: bool = False,
    until_s: float | None = None,
) -> IssuedKey:
    return IssuedKey(
        id=f"key_{clear}",
        name=f"name of {clear}",
        role=role,
        grant=grant or Grant(),
        revoked=revoked,
        secrets=(IssuedSecret(sha256(clear), until_s), *more),
    )


def ring_of(*keys: IssuedKey, configured: tuple[KeyConfig, ...] = ()) -> KeyRing:
    return KeyRing(configured, IssuedKeys(Directory(keys=keys)))


def found(ring: KeyRing, clear: str, *, wall_s: float = NOW_S) -> str | None:
    holder = ring.find(clear.encode(), wall_s=wall_s)
    return None if holder is None else holder.principal.key_id


def test_an_issued_key_comes_with_its_id_its_role_and_its_grant() -> None:
    grant = Grant(workspaces=("a",), expires_at_s=2000.0)
    holder = ring_of(issued_key("x", role=Role.VIEWER, grant=grant)).find(b"x", wall_s=NOW_S)
    assert holder is not None
    principal = holder.principal
    assert (principal.name, principal.role, principal.key_id, principal.grant) == (
        "name of x",
        Role.VIEWER,
        "key_x",
        grant,
    )
    assert principal.workspaces == ("a",)


def test_configured_and_issued_keys_are_found_side_by_side() -> None:
    configured = KeyConfig(name="ops", role=Role.ADMIN, sha256=sha256("c").hex())
    ring = ring_of(issued_key("x"), issued_key("y"), configured=(configured,))
    assert [found(ring, clear) for clear in ("c", "x", "y", "z", "", "X")] == [
        "ops", "key_x", "key_y", None, None, None,
    ]  # fmt: skip
    assert ring.roles == {Role.ADMIN, Role.INFERENCE}


def test_a_key_ends_at_its_time_by_the_wall_clock_with_everything_it_is_known_by() -> None:
    ring = ring_of(issued_key("x", IssuedSecret(sha256("x2")), grant=Grant(expires_at_s=1500.0), until_s=1200.0))
    assert [found(ring, "x", wall_s=at_s) for at_s in (1199.999, 1200.0)] == ["key_x", None]
    assert [found(ring, "x2", wall_s=at_s) for at_s in (1499.999, 1500.0)] == ["key_x", None]


def test_a_revoked_key_is_as_unknown_as_one_that_never_was_but_its_role_counts() -> None:
    ring = ring_of(issued_key("x", revoked=True))
    assert found(ring, "x") is None
    assert ring.roles == {Role.INFERENCE}


def test_a_hash_is_no_key() -> None:
    ring = ring_of(issued_key("x"))
    for presented in (sha256("x"), sha256("x").hex().encode(), bytes(32)):
        assert ring.find(presented, wall_s=NOW_S) is None


def test_a_key_with_networks_that_cannot_be_read_works_from_nowhere() -> None:
    holder = ring_of(issued_key("x", grant=Grant(networks=("10.0.0.0/8", "ten")))).find(b"x", wall_s=NOW_S)
    assert holder is not None
    assert holder.networks is not None
    assert "10.0.0.1" not in holder.networks


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("revoked", [True, False])
def test_on_loopback_an_issued_key_closes_what_a_configured_one_would(role: Role, revoked: bool) -> None:
    issued = IssuedKeys(Directory(keys=(issued_key("x", role=role, revoked=revoked),)))
    key = KeyConfig(name="x", role=role, sha256=sha256("x").hex())
    for mode in AuthMode:
        by_issue = Access(AuthConfig(mode=mode), loopback=True, generated=None, issued=issued)
        by_file = Access(AuthConfig(mode=mode, keys=(key,)), loopback=True, generated=None)
        for needed in Role:
            assert strangers_may(by_issue, needed) == strangers_may(by_file, needed), needed


def strangers_may(access: Access, needed: Role) -> bool:
    try:
        access.authorize([], needed=needed, source="127.0.0.1", now=0.0)
    except Denied:
        return False
    return True


def test_unknown_revoked_expired_and_rotated_out_keys_get_one_and_the_same_refusal() -> None:
    keys = (
        issued_key("revoked", revoked=True),
        issued_key("expired", grant=Grant(expires_at_s=NOW_S)),
        issued_key("rotated", IssuedSecret(sha256("new")), until_s=NOW_S),
        issued_key("far-and-expired", grant=Grant(expires_at_s=NOW_S, networks=("192.0.2.1",))),
    )
    access = Access(
        AuthConfig(), loopback=False, generated=None, issued=IssuedKeys(Directory(keys=keys)), wall=lambda: NOW_S
    )
    refusals = set()
    for clear in ("unknown", "revoked", "expired", "rotated", "far-and-expired"):
        for header in ((b"x-api-key", clear.encode()), (b"authorization", b"Bearer " + clear.encode())):
            with pytest.raises(GatewayError) as caught:
                access.authorize([header], needed=Role.INFERENCE, source="192.0.2.9", now=0.0)
            refusals.add((caught.value.status, caught.value.body(), caught.value.retry_after_s))
    assert len(refusals) == 1


def test_a_key_from_another_network_is_told_so_wherever_a_key_is_needed_and_is_a_stranger_elsewhere() -> None:
    issued = IssuedKeys(Directory(keys=(issued_key("x", grant=Grant(networks=("192.0.2.0/24",))),)))
    access = Access(AuthConfig(), loopback=False, generated=None, issued=issued)
    key = [(b"x-api-key", b"x")]
    assert access.authorize(key, needed=Role.INFERENCE, source="192.0.2.5", now=0.0).key_id == "key_x"
    with pytest.raises(Denied) as caught:
        access.authorize(key, needed=Role.INFERENCE, source="198.51.100.5", now=0.0)
    assert (caught.value.status, caught.value.code) == (403, "permission_denied")
    assert access.authorize(key, needed=None, source="198.51.100.5", now=0.0).name == "anonymous"
    assert access.authorize(key, needed=None, source="192.0.2.5", now=0.0).key_id == "key_x"


def test_details_of_everything_are_not_for_keys_that_are_bound_to_workspaces() -> None:
    keys = (issued_key("bound", role=Role.VIEWER, grant=Grant(workspaces=("a",))), issued_key("free", role=Role.VIEWER))
    access = Access(AuthConfig(), loopback=False, generated=None, issued=IssuedKeys(Directory(keys=keys)))
    seen = [
        access.authorize_optional([(b"x-api-key", clear)], needed=Role.VIEWER, source="::1") is not None
        for clear in (b"bound", b"free")
    ]
    assert seen == [False, True]


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["new", "revoke", "rotate"])), max_size=12),
)
def test_keys_that_follow_from_those_before_are_those_of_the_directory(changes: list[tuple[str, str]]) -> None:
    keys: dict[str, IssuedKey] = {}
    following = IssuedKeys(Directory())
    clears: set[str] = set()
    for number, (name, change) in enumerate(changes):
        clear = f"{name}{number}"
        clears.add(clear)
        old = keys.get(name)
        if old is None or change == "new":
            keys[name] = issued_key(clear)
        elif change == "revoke":
            keys[name] = msgspec.structs.replace(old, revoked=True)
        else:
            keys[name] = msgspec.structs.replace(old, secrets=(IssuedSecret(sha256(clear)), *old.secrets[:1]))
        following = IssuedKeys(Directory(version=number + 1, keys=tuple(keys.values())), before=following)
        whole = IssuedKeys(following.directory)
        assert following.holders.keys() == whole.holders.keys()
        assert following.roles == whole.roles
        for each in clears:
            assert found(KeyRing((), following), each) == found(KeyRing((), whole), each)


def test_with_ten_thousand_keys_a_lookup_takes_as_long_as_with_ten_for_right_and_wrong_keys_alike() -> None:
    few, many = (ring_of(*(issued_key(f"{number:05d}") for number in range(count))) for count in (10, 10_000))
    first, last, wrong = (
        statistics.median(lookup_s(ring, clear) for _ in range(300))
        for ring, clear in ((few, b"00000"), (many, b"09999"), (many, b"wrong"))
    )
    assert last < 10 * first
    assert wrong < 10 * first


def lookup_s(ring: KeyRing, clear: bytes) -> float:
    began = time.perf_counter()
    for _ in range(20):
        ring.find(clear, wall_s=NOW_S)
    return time.perf_counter() - began
