"""A token is as good as a key if all of it is right, and as bad as none if anything is wrong."""

import base64
import hashlib
import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.admission.auth import Access
from octoroute_py.admission.jwt import LONGEST_TOKEN_BYTES, MOST_REMEMBERED, REMEMBERED_S, Tokens
from octoroute_py.admission.principal import ANONYMOUS, Principal
from octoroute_py.config.schema import AuthConfig, AuthMode, JwtConfig, KeyConfig, TokenAlgorithm
from octoroute_py.core.errors import Denied, Refused
from octoroute_py.core.words import Role
from tests.fakes.tokens import (
    AUDIENCE,
    ISSUER,
    NOW_S,
    SHARED,
    by_hand,
    claims,
    jwt_config,
    private_key,
    public_pem,
    token,
)

ALGORITHMS = list(TokenAlgorithm)
HEADER = b'{"alg":"HS256","typ":"JWT"}'
DEEP = b"[" * 2500


def found(presented: str, config: JwtConfig | None = None, *, wall_s: float = NOW_S) -> Principal | None:
    holder = Tokens(config or jwt_config()).find(presented.encode(), wall_s=wall_s)
    return None if holder is None else holder.principal


def principal(config: JwtConfig | None = None, **changed: Any) -> Principal:
    """Who has a token with these claims."""
    somebody = found(token(claims(**changed)), config)
    assert somebody is not None
    return somebody


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_good_token_names_its_holder_its_workspaces_and_its_end(algorithm: TokenAlgorithm) -> None:
    somebody = found(token(algorithm=algorithm), jwt_config(algorithm))
    assert somebody is not None
    assert (somebody.name, somebody.key_id, somebody.role) == ("alice", "jwt:alice", Role.INFERENCE)
    assert somebody.workspaces == ("red",)
    assert somebody.grant is not None
    assert somebody.grant.expires_at_s == NOW_S + 3600


FAULTS: dict[str, dict[str, Any]] = {
    "no end": {"exp": None},
    "no start": {"iat": None},
    "no issuer": {"iss": None},
    "no audience": {"aud": None},
    "over": {"exp": NOW_S - 31},
    "of tomorrow": {"iat": NOW_S + 31},
    "not yet": {"nbf": NOW_S + 31},
    "too old": {"iat": NOW_S - 86_431},
    "another issuer": {"iss": "https://login.test/"},
    "issuers in a list": {"iss": [ISSUER]},
    "another audience": {"aud": "octoroute2"},
    "other audiences": {"aud": ["a", "b"]},
    "an empty audience": {"aud": []},
    "numbers as audience": {"aud": [1, AUDIENCE]},
    "an end in words": {"exp": "tomorrow"},
    "an end in digits of a string": {"exp": str(NOW_S + 60)},
    "true as its end": {"exp": True},
    "no finite end": {"exp": math.inf},
    "no number as its end": {"exp": math.nan},
    "an end beyond all dates": {"exp": 10**400},
    "a start before all dates": {"iat": -1},
    "a start in a list": {"iat": [NOW_S]},
    "a limit in words": {"nbf": "now"},
    "nobody": {"sub": None},
    "a number as its holder": {"sub": 7},
    "an empty name": {"sub": ""},
    "a name with blanks around": {"sub": " alice"},
    "a name of two lines": {"sub": "alice\nadmin"},
    "a long name": {"sub": "a" * 129},
    "a wrong name beside a right one": {"sub": "", "userId": "alice"},
    "no workspace": {"tenantId": None},
    "an empty list of workspaces": {"tenantId": []},
    "an empty workspace": {"tenantId": ""},
    "a number as workspace": {"tenantId": 7},
    "a number among workspaces": {"tenantId": ["red", 7]},
    "a workspace with a blank": {"tenantId": "red blue"},
    "a long workspace": {"tenantId": "r" * 129},
    "a table as scopes": {"scopes": {"admin": True}},
    "numbers as scopes": {"scopes": [1]},
    "numbers as scope": {"scope": 1},
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_token_with_a_wrong_claim_is_no_token(algorithm: TokenAlgorithm, fault: str) -> None:
    tokens = Tokens(jwt_config(algorithm))
    wrong = token(claims(**FAULTS[fault]), algorithm=algorithm)
    assert tokens.find(wrong.encode(), wall_s=NOW_S) is None
    assert len(tokens) == 0


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("signer", ALGORITHMS)
def test_a_token_is_good_for_the_key_and_the_algorithm_that_are_configured_alone(
    algorithm: TokenAlgorithm, signer: TokenAlgorithm
) -> None:
    assert found(token(algorithm=signer, other=True), jwt_config(algorithm)) is None
    assert (found(token(algorithm=signer), jwt_config(algorithm)) is not None) == (signer is algorithm)


@pytest.mark.parametrize("algorithm", [TokenAlgorithm.RS256, TokenAlgorithm.ES256])
def test_the_public_key_is_no_shared_secret(algorithm: TokenAlgorithm) -> None:
    pem = public_pem(private_key(algorithm))
    payload = json.dumps(claims()).encode()
    for secret in (pem, pem.strip(), pem.replace("\n", "\r\n")):
        assert found(by_hand(HEADER, payload, secret=secret.encode()), jwt_config(algorithm)) is None
        lying = by_hand(HEADER.replace(b"HS256", algorithm.value.encode()), payload, secret=secret.encode())
        assert found(lying, jwt_config(algorithm)) is None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "HS384", "HS512", "hs256", "RS512", "PS256", "EdDSA"])
def test_no_other_algorithm_is_taken_signed_or_not(algorithm: TokenAlgorithm, name: str) -> None:
    signed = by_hand(json.dumps({"alg": name, "typ": "JWT"}).encode(), json.dumps(claims()).encode())
    unsigned = signed.rpartition(".")[0] + "."
    assert found(signed, jwt_config(algorithm)) is None
    assert found(unsigned, jwt_config(algorithm)) is None


@pytest.mark.parametrize(
    "header",
    [
        b'{"typ":"JWT"}',
        b'{"alg":null}',
        b'{"alg":["HS256"]}',
        b'{"alg":"HS256","crit":["exp"]}',
        b'{"alg":"HS256","crit":["b64"],"b64":true}',
        b'{"alg":"HS256","crit":["b64"],"b64":false}',
        b'{"alg":"HS256","crit":[]}',
        b'{"alg":"HS256","b64":false}',
        b'{"alg":"HS256","b64":true}',
        b'{"alg":"HS256","kid":7}',
        b'{"alg":"HS256","kid":["../../dev/null"]}',
        b'["HS256"]',
        b"",
        b"{",
        b"\xff",
        DEEP,
        b'{"alg":"HS256","x":' + b"9" * 5000 + b"}",
    ],
)
def test_a_header_that_is_not_understood_is_refused(header: bytes) -> None:
    assert found(by_hand(header, json.dumps(claims()).encode())) is None


@pytest.mark.parametrize("kid", ["", "2", "../../../../dev/null", "' OR 1=1 --", "https://evil.test/key.pem"])
def test_the_key_that_a_token_names_is_never_looked_for(kid: str) -> None:
    more = {"kid": kid, "jku": "https://evil.test/keys", "x5u": "https://evil.test/x", "jwk": {"kty": "oct", "k": "AA"}}
    assert found(token(headers=more)) is not None
    assert found(token(headers=more, other=True)) is None


@pytest.mark.parametrize(
    "payload", [b"", b"[]", b"null", b"1", b"{", b"\xff\xfe", DEEP, b'{"exp":' + b"9" * 5000 + b"}"]
)
def test_claims_that_are_no_object_are_refused(payload: bytes) -> None:
    assert found(by_hand(HEADER, payload)) is None


def test_a_token_that_is_not_whole_or_changed_is_refused() -> None:
    good = token()
    header, payload, signature = good.split(".")
    bent = base64.urlsafe_b64encode(json.dumps(claims(sub="bob")).encode()).rstrip(b"=").decode()
    for wrong in (
        *(f"{header}.{payload}", f"{header}.{payload}.", f".{payload}.{signature}", f"{header}..{signature}", ".."),
        *(f"{header}.{bent}.{signature}", f"{good}.{signature}", f"{good}A", f"{good}=", good[:-1], f"{good}!"),
    ):
        assert found(wrong) is None, wrong


def test_a_token_of_more_than_8_kib_is_not_even_looked_at() -> None:
    room = LONGEST_TOKEN_BYTES - len(token(claims(note="")))
    fitting = token(claims(note="n" * (room * 3 // 4 - 2)))
    assert LONGEST_TOKEN_BYTES - 8 <= len(fitting) <= LONGEST_TOKEN_BYTES
    assert found(fitting) is not None
    assert found(token(claims(note="n" * (room * 3 // 4 + 8)))) is None


@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["another", AUDIENCE]])
def test_the_audience_may_be_one_of_several(audience: object) -> None:
    assert principal(aud=audience).name == "alice"


def test_clocks_may_differ_by_the_leeway_and_no_more() -> None:
    made = token(claims(exp=NOW_S + 60))
    for config, leeway_s in ((jwt_config(), 30.0), (jwt_config(leeway_seconds=0.0), 0.0)):
        assert found(made, config, wall_s=NOW_S - leeway_s) is not None
        assert found(made, config, wall_s=NOW_S - leeway_s - 0.1) is None
        assert found(made, config, wall_s=NOW_S + 59.9 + leeway_s) is not None
        assert found(made, config, wall_s=NOW_S + 60 + leeway_s) is None


def test_a_token_for_a_year_is_good_for_a_day() -> None:
    made = token(claims(exp=NOW_S + 365 * 86400))
    assert found(made, wall_s=NOW_S + 86_429) is not None
    assert found(made, wall_s=NOW_S + 86_431) is None
    somebody = found(made)
    assert somebody is not None
    assert somebody.grant is not None
    assert somebody.grant.expires_at_s == NOW_S + 86_400


def test_a_holder_may_be_named_as_the_model_router_does() -> None:
    assert principal(sub=None, userId="u-7").key_id == "jwt:u-7"
    assert principal(sub="alice", userId="u-7").key_id == "jwt:alice"


@pytest.mark.parametrize(
    ("changed", "may"),
    [
        ({"scopes": None}, set()),
        ({"scopes": []}, set()),
        ({"scopes": ["invoice:write"]}, set()),
        ({"scopes": None, "scope": "openid inference"}, {Role.INFERENCE}),
        ({"scopes": "model:read config:read"}, {Role.VIEWER}),
        ({"scopes": ["model:read", "inference"]}, {Role.VIEWER, Role.INFERENCE}),
        ({"scopes": ["model:read"], "scope": "inference"}, {Role.VIEWER, Role.INFERENCE}),
        ({"scopes": ["model:write"]}, {Role.OPERATOR, Role.VIEWER, Role.INFERENCE}),
        ({"scopes": ["admin"]}, set(Role)),
    ],
)
def test_scopes_come_to_roles_and_two_roles_are_never_a_third(changed: dict[str, Any], may: set[Role]) -> None:
    somebody = principal(**changed)
    assert {role for role in Role if somebody.may(role)} == may


def test_the_claims_for_scopes_and_workspaces_have_the_names_that_are_configured() -> None:
    config = jwt_config(scopes_claim="permissions", workspace_claim="teams")
    somebody = principal(config, permissions=["model:read"], teams=["blue", "red", "blue"])
    assert (somebody.role, somebody.workspaces) == (Role.VIEWER, ("blue", "red"))


def test_a_token_without_a_workspace_is_bound_to_none_only_where_that_is_wanted() -> None:
    unbound = jwt_config(require_workspace=False)
    assert principal(unbound, tenantId=None).workspaces is None
    assert principal(unbound).workspaces == ("red",)
    assert found(token(claims(tenantId=[])), unbound) is None


class Counting:
    """Stands in for PyJWT's decoder, and counts what is asked of it."""

    def __init__(self, tokens: Tokens) -> None:
        self._inner = tokens._decoder
        self.calls = 0
        tokens._decoder = self  # type: ignore[assignment]

    def decode_complete(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self.calls += 1
        return self._inner.decode_complete(*args, **kwargs)


def test_a_good_token_is_verified_once_in_five_minutes_and_never_believed_beyond_its_end() -> None:
    tokens = Tokens(jwt_config())
    counting = Counting(tokens)
    made = token().encode()
    for at_s, calls in ((0, 1), (1, 1), (REMEMBERED_S - 1, 1), (REMEMBERED_S, 2), (3500, 3), (3599, 3)):
        assert tokens.find(made, wall_s=NOW_S + at_s) is not None
        assert counting.calls == calls, at_s
    assert tokens.find(made, wall_s=NOW_S + 3600) is not None  # within the leeway it is looked at every time
    assert tokens.find(made, wall_s=NOW_S + 3601) is not None
    assert counting.calls == 5
    assert tokens.find(made, wall_s=NOW_S + 3630) is None
    assert len(tokens) == 0


def test_a_clock_that_is_set_back_makes_a_token_be_verified_again() -> None:
    tokens = Tokens(jwt_config())
    made = token().encode()
    assert tokens.find(made, wall_s=NOW_S) is not None
    assert tokens.find(made, wall_s=NOW_S - 1000) is None


def test_what_is_remembered_is_bounded_and_wrong_tokens_are_not() -> None:
    tokens = Tokens(jwt_config())
    for number in range(MOST_REMEMBERED + 10):
        assert tokens.find(token(claims(sub=f"user-{number}")).encode(), wall_s=NOW_S) is not None
        assert tokens.find(token(claims(sub=f"user-{number}"), other=True).encode(), wall_s=NOW_S) is None
    assert len(tokens) == MOST_REMEMBERED


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.lists(st.binary(max_size=60), min_size=3, max_size=3).map(b".".join))
def test_nothing_that_is_not_signed_gets_in_and_nothing_breaks(presented: bytes) -> None:
    assert Tokens(jwt_config()).find(presented, wall_s=NOW_S) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda each: st.lists(each, max_size=2) | st.dictionaries(st.text(max_size=3), each, max_size=2),
    max_leaves=4,
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["exp", "iat", "nbf", "iss", "aud", "sub", "userId", "tenantId", "scopes", "scope"]), JSON)
def test_whatever_an_issuer_says_in_a_claim_is_taken_or_refused_and_breaks_nothing(name: str, value: object) -> None:
    somebody = found(token(claims(**{name: value})))
    assert somebody is None or (somebody.role in (None, Role.INFERENCE) and somebody.workspaces)


# Beside keys

KEY = KeyConfig(name="boss", role=Role.ADMIN, sha256=hashlib.sha256(b"a.key.with-dots").hexdigest())


def access(*keys: KeyConfig, loopback: bool = False, config: JwtConfig | None = None) -> Access:
    auth = AuthConfig(mode=AuthMode.AUTO, keys=keys, jwt=config or jwt_config())
    return Access(auth, loopback=loopback, generated=None, wall=lambda: NOW_S)


def verdict(door: Access, presented: str | None, needed: Role | None, *, now: float = 0.0) -> str:
    headers = [] if presented is None else [(b"authorization", b"Bearer " + presented.encode())]
    try:
        return door.authorize(headers, needed=needed, source="192.0.2.1", now=now).key_id
    except (Denied, Refused) as error:
        return f"{error.status} {error.code}: {error.client_message}"


def test_a_key_is_found_first_and_a_token_may_stand_in_either_header() -> None:
    door = access(KEY)
    assert verdict(door, "a.key.with-dots", Role.ADMIN) == "boss"
    assert verdict(door, token(), Role.INFERENCE) == "jwt:alice"
    by_other = door.authorize([(b"x-api-key", token().encode())], needed=Role.INFERENCE, source="::1", now=0.0)
    assert by_other.key_id == "jwt:alice"


@pytest.mark.parametrize("needed", [Role.VIEWER, Role.OPERATOR, Role.ADMIN])
def test_a_token_without_the_role_is_forbidden_not_unknown(needed: Role) -> None:
    assert verdict(access(), token(), needed).startswith("403 permission_denied")
    assert verdict(access(), token(claims(scopes=[])), Role.INFERENCE).startswith("403 permission_denied")


def test_every_wrong_token_gets_the_same_answer_as_a_wrong_key() -> None:
    door = access(KEY)
    expected = verdict(door, "no-such-key", Role.INFERENCE)
    assert expected.startswith("401 invalid_api_key")
    wrong = [token(claims(**fault)) for fault in FAULTS.values()] + [token(other=True), "a.b.c", "x" * 9000 + ".."]
    assert {verdict(access(KEY), each, Role.INFERENCE) for each in wrong} == {expected}


def test_wrong_tokens_count_as_wrong_keys_and_right_ones_still_get_in() -> None:
    door = access()
    said = [verdict(door, token(claims(sub=f"u{n}"), other=True), Role.INFERENCE) for n in range(21)]
    assert [each[:3] for each in said] == ["401"] * 20 + ["429"]
    assert verdict(door, token(), Role.INFERENCE) == "jwt:alice"


def test_a_gateway_that_knows_tokens_is_not_open_on_loopback_either() -> None:
    door = access(loopback=True)
    assert verdict(door, None, Role.INFERENCE).startswith("401")
    assert verdict(door, token(), Role.INFERENCE) == "jwt:alice"
    assert verdict(door, None, None) == ANONYMOUS
    assert verdict(door, token(), None) == "jwt:alice"
    assert verdict(door, token(other=True), None) == ANONYMOUS


def test_a_viewer_is_told_more_only_where_the_token_is_bound_to_no_workspace() -> None:
    door = access(config=jwt_config(require_workspace=False))
    for changed, told in (({"tenantId": None}, True), ({}, False)):
        presented = token(claims(scopes=["model:read"], **changed))
        headers = [(b"authorization", b"Bearer " + presented.encode())]
        assert (door.authorize_optional(headers, needed=Role.VIEWER, source="::1") is not None) == told


def test_without_a_configured_issuer_a_token_is_a_wrong_key() -> None:
    door = Access(AuthConfig(), loopback=False, generated=None, wall=lambda: NOW_S)
    assert verdict(door, token(), Role.INFERENCE).startswith("401")


def test_the_secret_shows_itself_nowhere() -> None:
    config = jwt_config()
    assert SHARED not in f"{config} {Tokens(config)!r} {AuthConfig(jwt=config)!r}"
