"""`[auth.jwt]`: one issuer, one algorithm, one key that nobody guesses."""

import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import Config, JwtConfig, Secret, TokenAlgorithm
from octoroute_py.config.secrets import SHORTEST_SIGNING_SECRET
from tests.fakes.configs import MINIMAL
from tests.fakes.tokens import SHARED, private_key, public_pem

ENV = {"JWT_SECRET": SHARED}
SHARED_KEY = 'algorithms = ["HS256"]\nsecret_env = "JWT_SECRET"\n'
WHO = 'issuer = "https://login.test"\naudience = "octoroute"\n'


def config(text: str, env: dict[str, str] | None = None) -> Config:
    return parse_config(f"{MINIMAL}[auth.jwt]\n{text}", env=ENV if env is None else env)


def read(text: str, env: dict[str, str] | None = None) -> JwtConfig | None:
    return config(text, env).auth.jwt


def problem(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidConfig) as caught:
        config(text, env)
    for secret in (env or ENV).values():
        assert secret not in str(caught.value)
    return str(caught.value)


def written(folder: Path, text: str, *, mode: int = 0o644) -> str:
    path = folder / "key.pem"
    path.write_text(text)
    path.chmod(mode)
    return f'public_key_file = "{path}"\n'


def test_without_the_table_no_token_is_believed() -> None:
    auth = parse_config(MINIMAL).auth
    assert (auth.jwt, auth.has_keys) == (None, False)


def test_a_shared_secret_comes_from_the_environment_or_a_private_file(tmp_path: Path) -> None:
    expected = JwtConfig(
        algorithms=(TokenAlgorithm.HS256,), key=Secret(SHARED), issuer="https://login.test", audience="octoroute"
    )
    assert read(SHARED_KEY + WHO) == expected
    assert config(SHARED_KEY + WHO).auth.has_keys
    path = tmp_path / "secret"
    path.write_text(SHARED + "\n")
    path.chmod(0o600)
    by_file = f'algorithms = "HS256"\nsecret_file = "{path}"\n{WHO}'
    assert read(by_file, {}) == expected
    path.chmod(0o640)
    assert "auth.jwt.secret_file: the file named here can be read by others" in problem(by_file, {"": SHARED})


@pytest.mark.parametrize("algorithm", [TokenAlgorithm.RS256, TokenAlgorithm.ES256])
def test_a_public_key_comes_from_a_file_that_anybody_may_read(tmp_path: Path, algorithm: TokenAlgorithm) -> None:
    pem = public_pem(private_key(algorithm))
    found = read(f'algorithms = ["{algorithm}"]\n{written(tmp_path, pem)}{WHO}')
    assert found is not None
    assert (found.algorithms, found.key.reveal()) == ((algorithm,), pem)


def test_every_setting_is_read() -> None:
    found = read(
        SHARED_KEY + WHO + "leeway_seconds = 0\nmax_age_seconds = 600\nrequire_workspace = false\n"
        'workspace_claim = "team"\nscopes_claim = "permissions"\n'
    )
    assert found is not None
    assert (found.leeway_seconds, found.max_age_seconds, found.require_workspace) == (0.0, 600.0, False)
    assert (found.workspace_claim, found.scopes_claim) == ("team", "permissions")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SHARED_KEY + 'audience = "a"', "auth.jwt.issuer: required"),
        (SHARED_KEY + 'issuer = "i"', "auth.jwt.audience: required"),
        (WHO + 'secret_env = "JWT_SECRET"', "auth.jwt.algorithms: required"),
        (SHARED_KEY.replace("HS256", "none") + WHO, '"none" is not known here; one of "HS256", "RS256", "ES256"'),
        (SHARED_KEY.replace("HS256", "HS512") + WHO, "must name exactly one of HS256, RS256 and ES256"),
        (SHARED_KEY.replace('"HS256"', '"HS256", "RS256"') + WHO, "must name exactly one of HS256, RS256 and ES256"),
        (SHARED_KEY.replace('"HS256"', '"RS256", "ES256"') + WHO, "must name exactly one of HS256, RS256 and ES256"),
        ("algorithms = []\n" + WHO, "must name exactly one of HS256, RS256 and ES256"),
        ('algorithms = ["HS256"]\n' + WHO, "HS256 needs exactly one key: secret_env or secret_file, and no other"),
        (SHARED_KEY + 'secret_file = "s"\n' + WHO, "HS256 needs exactly one key"),
        (SHARED_KEY + 'public_key_file = "s"\n' + WHO, "HS256 needs exactly one key"),
        (SHARED_KEY.replace("HS256", "RS256") + WHO, "RS256 needs exactly one key: public_key_file, and no other"),
        ('algorithms = ["ES256"]\npublic_key_file = "missing"\n' + WHO, "the file named here cannot be read"),
        (SHARED_KEY.replace("JWT_SECRET", "NO_SECRET") + WHO, "environment variable NO_SECRET is not set"),
        (SHARED_KEY + WHO + f'secret = "{SHARED}"', "auth.jwt.secret: secrets never stand in the file"),
        (SHARED_KEY + WHO + 'issuers = "x"', 'auth.jwt.issuers: unknown key; did you mean "issuer"?'),
        (SHARED_KEY + WHO + "leeway_seconds = 301", "auth.jwt.leeway_seconds: must be at least 0 and at most 300"),
        (SHARED_KEY + WHO + "max_age_seconds = 0", "auth.jwt.max_age_seconds: must be at least 1"),
        (SHARED_KEY + WHO + 'require_workspace = "no"', "auth.jwt.require_workspace: must be true or false"),
        (SHARED_KEY + WHO + 'workspace_claim = ""', "auth.jwt.workspace_claim: must not be empty"),
    ],
)  # fmt: skip
def test_what_is_missing_or_wrong_is_said(text: str, said: str) -> None:
    assert said in problem(text)


@pytest.mark.parametrize(
    "secret",
    [
        "a" * 40,
        "ab3" * 12,
        "1234567890abcdef" * 2,
        "your-256-bit-secret-your-256-bit-secret",
        "a-string-secret-at-least-256-bits-long",
        "change-me-in-production-0123456789ab",
        "TestTestTest-kq3Vb9Zt7LxW2mPd8RfYc5",
        "super_Secret_kq3Vb9Zt7LxW2mPd8RfYc5N",
        "my-Password-kq3Vb9Zt7LxW2mPd8RfYc5Nh",
        "development-kq3Vb9Zt7LxW2mPd8RfYc5Nh",
        "smm-architect-kq3Vb9Zt7LxW2mPd8RfYc5",
    ],
)
def test_a_secret_that_could_be_guessed_is_refused(secret: str) -> None:
    said = problem(SHARED_KEY + WHO, {"JWT_SECRET": secret})
    assert "auth.jwt.secret_env: the secret is one that could be guessed" in said


def test_a_short_secret_is_refused() -> None:
    short = {"JWT_SECRET": SHARED[: SHORTEST_SIGNING_SECRET - 1]}
    assert "the secret must have at least 32 characters" in problem(SHARED_KEY + WHO, short)


def pem_of(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def test_another_key_than_the_algorithm_needs_is_refused(tmp_path: Path) -> None:
    rsa_pem, ec_pem = (public_pem(private_key(each)) for each in (TokenAlgorithm.RS256, TokenAlgorithm.ES256))
    small = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that is the point
    curves = [ec.generate_private_key(curve) for curve in (ec.SECP384R1(), ec.SECP256K1())]
    wrong = {
        TokenAlgorithm.RS256: [ec_pem, pem_of(small)],
        TokenAlgorithm.ES256: [rsa_pem, *map(pem_of, curves), pem_of(ed25519.Ed25519PrivateKey.generate())],
    }
    for algorithm, pems in wrong.items():
        for pem in pems:
            said = problem(f'algorithms = ["{algorithm}"]\n{written(tmp_path, pem)}{WHO}')
            assert f"auth.jwt.public_key_file: {algorithm} needs a" in said


@pytest.mark.parametrize("algorithm", [TokenAlgorithm.RS256, TokenAlgorithm.ES256])
def test_a_file_that_holds_no_one_public_key_is_refused(tmp_path: Path, algorithm: TokenAlgorithm) -> None:
    key = private_key(algorithm)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for text, said in (
        (private, "holds a private key"),
        (public_pem(key) * 2, "holds more than one key"),
        ("", "holds no public key in PEM"),
        ("ssh-rsa AAAA", "holds no public key in PEM"),
        (public_pem(key)[:80], "holds no public key in PEM"),
        ("\xe9" + "x" * 20_000, "is larger than"),
    ):
        assert said in problem(f'algorithms = ["{algorithm}"]\n{written(tmp_path, text)}{WHO}')


def test_without_the_package_the_line_that_installs_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("jwt", "jwt.algorithms"):
        monkeypatch.setitem(sys.modules, name, None)
    said = problem(SHARED_KEY + WHO)
    assert 'auth.jwt: needs a package that is not installed; pip install "octoroute-py[jwt]"' in said
