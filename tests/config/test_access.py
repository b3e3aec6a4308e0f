"""`[auth]` and TINY_DANCER_AUTH_TOKEN: only hashes are kept."""

import hashlib
from pathlib import Path

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import AuthConfig, AuthMode, KeyConfig
from octoroute_py.core.words import Role
from tests.fakes.configs import MINIMAL

KEY = "okr-canary-0123456789"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def auth(text: str, env: dict[str, str] | None = None) -> AuthConfig:
    return parse_config(MINIMAL + text, env=env or {}).auth


def problem(text: str, env: dict[str, str] | None = None) -> str:
    with pytest.raises(InvalidConfig) as caught:
        auth(text, env)
    assert KEY not in str(caught.value)
    return str(caught.value)


def key_table(keys: str) -> str:
    return f'[[auth.keys]]\nname = "k"\nrole = "inference"\n{keys}\n'


def test_without_the_table_there_are_no_keys() -> None:
    assert auth("") == AuthConfig(mode=AuthMode.AUTO, keys=())
    assert auth('[auth]\nmode = "none"').mode is AuthMode.NONE


def test_a_key_from_the_environment_a_file_or_a_hash_is_kept_as_its_hash(tmp_path: Path) -> None:
    expected = (KeyConfig(name="k", role=Role.INFERENCE, sha256=DIGEST),)
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    path.chmod(0o600)
    assert auth(key_table('env = "K"'), {"K": KEY}).keys == expected
    assert auth(key_table(f'file = "{path}"')).keys == expected
    assert auth(key_table(f'sha256 = "{DIGEST.upper()}"')).keys == expected


@pytest.mark.parametrize(
    ("keys", "env", "said"),
    [
        ("", {}, "auth.keys[0]: needs exactly one of env, file and sha256"),
        (f'env = "K"\nsha256 = "{DIGEST}"', {"K": KEY}, "needs exactly one of env, file and sha256"),
        (f'key = "{KEY}"\nenv = "K"', {"K": KEY}, "auth.keys[0].key: secrets never stand in the file"),
        ('env = "K"', {}, "environment variable K is not set"),
        ('env = "K"', {"K": ""}, "environment variable K holds nothing"),
        ('env = "K"', {"K": "short12"}, "must have at least 8 characters"),
        ('env = "K"', {"K": "changeme"}, "anybody would guess"),
        ('env = "K"', {"K": "Password1"}, "anybody would guess"),
        ('env = "K"', {"K": "aaaaaaaaaa"}, "anybody would guess"),
        (f'sha256 = "{hashlib.sha256(b"changeme").hexdigest()}"', {}, "anybody would guess"),
        (f'sha256 = "{hashlib.sha256(b"").hexdigest()}"', {}, "anybody would guess"),
        (f'sha256 = "{KEY}"', {}, "64 hex digits"),
        ('file = "missing"', {}, "the file named here cannot be read"),
    ],
)
def test_a_key_that_is_missing_or_weak_is_refused(keys: str, env: dict[str, str], said: str) -> None:
    assert said in problem(key_table(keys), env)


def test_names_roles_and_keys_are_checked() -> None:
    other = f'[[auth.keys]]\nname = "k"\nrole = "admin"\nsha256 = "{"ab" * 32}"\n'
    assert "is already the name of another key" in problem(key_table(f'sha256 = "{DIGEST}"') + other)
    same = f'[[auth.keys]]\nname = "l"\nrole = "admin"\nsha256 = "{DIGEST}"\n'
    assert "is the same key as another one" in problem(key_table(f'sha256 = "{DIGEST}"') + same)
    assert 'did you mean "admin"?' in problem(other.replace('"admin"', '"adnim"'))
    assert "auth.keys[0].role: required" in problem(f'[[auth.keys]]\nname = "k"\nsha256 = "{DIGEST}"')


def test_the_admin_token_of_the_environment_becomes_an_admin_key() -> None:
    keys = auth("", {"TINY_DANCER_AUTH_TOKEN": KEY}).keys
    assert keys == (KeyConfig(name="tiny-dancer", role=Role.ADMIN, sha256=DIGEST),)


@pytest.mark.parametrize("token", ["", " ", "changeme", "secret", "tiny-dancer", "a b c d e f g"])
def test_an_empty_or_guessable_admin_token_is_refused(token: str) -> None:
    line = problem("", {"TINY_DANCER_AUTH_TOKEN": token})
    assert line.startswith("environment: TINY_DANCER_AUTH_TOKEN: ")


def test_an_admin_token_that_the_file_has_under_another_role_is_refused() -> None:
    assert "a key that the file has already" in problem(
        key_table(f'sha256 = "{DIGEST}"'), {"TINY_DANCER_AUTH_TOKEN": KEY}
    )
