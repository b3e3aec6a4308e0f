"""Tokens that are as good as keys: signed by one issuer, for this gateway, for a while (`[auth.jwt]`).

Signature, issuer and audience are PyJWT's to check, times go by the gateway's clock. Whatever is wrong with a token,
it is as if nobody knew it: who sends one learns nothing of why.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from octoroute_py.admission.keyring import Holder
from octoroute_py.admission.principal import Principal
from octoroute_py.admission.scopes import roles_of
from octoroute_py.config.schema import JwtConfig, TokenAlgorithm
from octoroute_py.core.allowance import Grant
from octoroute_py.core.words import Role

LONGEST_TOKEN_BYTES = 8 * 1024
MOST_REMEMBERED = 1024
"""Tokens that were found to be good and need not be checked again for a while."""
REMEMBERED_S = 300.0
_LONGEST_NAME = 128
_WORKSPACE = re.compile(r"[\x21-\x7e]{1,128}")
_LAST_S = 1e11
_SHAPE = re.compile(rb"[\w-]+\.[\w-]+\.[\w-]+")


class _Refused(Exception):
    """The token is signed, and is still not good here."""


class _Remembered(msgspec.Struct, frozen=True):
    """A token's holder, from when it was checked until it has to be checked again."""

    holder: Holder
    from_s: float
    to_s: float


class Tokens:
    """Knows the holders of one issuer's tokens; `config` was checked when it was read.

    What was verified is remembered by the SHA-256 of the whole token, at most five minutes and never beyond its end.
    """

    __slots__ = ("_config", "_decoder", "_key", "_remembered", "_wrong")

    def __init__(self, config: JwtConfig) -> None:
        import jwt  # only who configures tokens needs the package

        (algorithm,) = config.algorithms
        clear = config.key.reveal().encode("latin-1")
        # a public key is parsed once; a secret never is taken for one, nor the other way round
        self._key: Any = clear if algorithm is TokenAlgorithm.HS256 else _public(jwt, algorithm, clear)
        self._config = config
        self._decoder = jwt.PyJWT()
        self._wrong = (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError)
        self._remembered: dict[bytes, _Remembered] = {}

    def __len__(self) -> int:
        """Tokens that are remembered."""
        return len(self._remembered)

    def find(self, presented: bytes, *, wall_s: float) -> Holder | None:
        """Who holds this token at this time (Unix seconds), or None if it is none, or not good for any reason."""
        if len(presented) > LONGEST_TOKEN_BYTES or not _SHAPE.fullmatch(presented):
            return None
        digest = hashlib.sha256(presented).digest()
        known = self._remembered.get(digest)
        if known is not None and known.from_s <= wall_s < known.to_s:
            return known.holder
        try:
            claims = self._claims(presented)
            end_s = _end(claims, self._config, wall_s)
            principal = _principal(claims, self._config, end_s)
        except (_Refused, *self._wrong):
            self._remembered.pop(digest, None)
            return None
        holder = Holder(digest, principal, end_s)
        self._remember(digest, _Remembered(holder, wall_s, min(wall_s + REMEMBERED_S, end_s)))
        return holder

    def _claims(self, presented: bytes) -> Mapping[str, object]:
        """What the issuer says; raises whatever the library does, and _Refused."""
        whole = self._decoder.decode_complete(
            presented,
            self._key,
            algorithms=[algorithm.value for algorithm in self._config.algorithms],
            issuer=self._config.issuer,
            audience=self._config.audience,
            options={
                "require": ["exp", "iat", "iss", "aud"],
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
                "verify_sub": False,
                "verify_jti": False,
            },
        )
        if not whole["header"].keys().isdisjoint({"crit", "b64"}):
            raise _Refused  # what must be understood is not understood here
        claims: Mapping[str, object] = whole["payload"]
        return claims

    def _remember(self, digest: bytes, token: _Remembered) -> None:
        self._remembered.pop(digest, None)
        if token.to_s <= token.from_s:
            return
        if len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = token


def _public(jwt: Any, algorithm: TokenAlgorithm, pem: bytes) -> Any:
    return jwt.get_algorithm_by_name(algorithm.value).prepare_key(pem)


def _end(claims: Mapping[str, object], config: JwtConfig, now_s: float) -> float:
    """When the token ends, if it is good now give or take what clocks may differ by."""
    exp_s, iat_s = _seconds(claims["exp"]), _seconds(claims["iat"])
    nbf_s = 0.0 if claims.get("nbf") is None else _seconds(claims["nbf"])
    end_s = min(exp_s, iat_s + config.max_age_seconds)
    if not max(iat_s, nbf_s) - config.leeway_seconds <= now_s < end_s + config.leeway_seconds:
        raise _Refused
    return end_s


def _seconds(value: object) -> float:
    """A NumericDate of RFC 7519; `inf`, `nan` and numbers beyond any date are none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < _LAST_S:
        raise _Refused
    return float(value)


def _principal(claims: Mapping[str, object], config: JwtConfig, end_s: float) -> Principal:
    name = claims.get("sub")
    if name is None:
        name = claims.get("userId")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME or not _is_plain(name):
        raise _Refused
    roles = roles_of(_words(claims.get(config.scopes_claim)) + _words(claims.get("scope")))
    role = next((role for role in reversed(Role) if role in roles), None)
    grant = Grant(workspaces=_workspaces(claims, config), expires_at_s=end_s)
    return Principal(name, role, f"jwt:{name}", grant, roles - {role} if role else roles)


def _workspaces(claims: Mapping[str, object], config: JwtConfig) -> tuple[str, ...] | None:
    """What the token is bound to; None for all."""
    value = claims.get(config.workspace_claim)
    if value is None:
        if config.require_workspace:
            raise _Refused
        return None
    names = tuple(dict.fromkeys(_texts([value] if isinstance(value, str) else value)))
    if not names or not all(map(_WORKSPACE.fullmatch, names)):
        raise _Refused
    return names


def _words(value: object) -> list[str]:
    """Scopes as an array or as one string with blanks between them."""
    if value is None:
        return []
    return value.split() if isinstance(value, str) else _texts(value)


def _texts(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _Refused
    return value


def _is_plain(text: str) -> bool:
    return text.isprintable() and text == text.strip()
