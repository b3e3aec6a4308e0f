"""An issuer of tokens: keys of every kind, and tokens that are good but for what a test changes."""

import base64
import functools
import hashlib
import hmac
import json
from typing import Any

import jwt
import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from octoroute_py.config.schema import JwtConfig, Secret, TokenAlgorithm

ISSUER = "https://login.test"
AUDIENCE = "octoroute"
SHARED = "kq3Vb9Zt7LxW2mPd8RfYc5NhJ4gTs6Ue"
NOW_S = 1_800_000_000.0
PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def private_key(algorithm: TokenAlgorithm, *, other: bool = False) -> PrivateKey:
    """The issuer's key, or somebody else's."""
    return _private_key(algorithm, other)


@functools.cache
def _private_key(algorithm: TokenAlgorithm, _whose: bool) -> PrivateKey:
    if algorithm is TokenAlgorithm.RS256:
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1())


def public_pem(key: PrivateKey) -> str:
    """What the gateway is given."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwt_config(algorithm: TokenAlgorithm = TokenAlgorithm.HS256, **changed: Any) -> JwtConfig:
    """What a gateway that believes this issuer has in its configuration."""
    shared = algorithm is TokenAlgorithm.HS256
    key = SHARED if shared else public_pem(private_key(algorithm))
    config = JwtConfig(algorithms=(algorithm,), key=Secret(key), issuer=ISSUER, audience=AUDIENCE)
    return msgspec.structs.replace(config, **changed)


def claims(now_s: float = NOW_S, /, **changed: Any) -> dict[str, Any]:
    """The claims of a good token issued at `now_s`, for an hour; None leaves one out."""
    good = {"iss": ISSUER, "aud": AUDIENCE, "iat": now_s, "exp": now_s + 3600, "sub": "alice", "tenantId": "red"}
    return {name: value for name, value in {**good, "scopes": ["inference"], **changed}.items() if value is not None}


def token(
    said: dict[str, Any] | None = None,
    *,
    algorithm: TokenAlgorithm = TokenAlgorithm.HS256,
    other: bool = False,
    headers: dict[str, Any] | None = None,
) -> str:
    """A token of the issuer with these claims; `other` signs with somebody else's key."""
    key: Any = private_key(algorithm, other=other) if algorithm is not TokenAlgorithm.HS256 else SHARED
    if other and algorithm is TokenAlgorithm.HS256:
        key = SHARED[::-1]
    payload = json.dumps(claims() if said is None else said).encode()  # jwt.encode would refuse what tests get wrong
    return jwt.PyJWS().encode(payload, key, algorithm=algorithm.value, headers=headers)


def by_hand(header: bytes, payload: bytes, *, secret: bytes = SHARED.encode()) -> str:
    """A token of these very bytes, signed as HS256 is."""
    signed = _part(header) + b"." + _part(payload)
    return (signed + b"." + _part(hmac.new(secret, signed, hashlib.sha256).digest())).decode()


def _part(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
