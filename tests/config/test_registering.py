"""`[registry]`: where registered models may be, and the keys they may use."""

from pathlib import Path

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import CredentialConfig, RegistryConfig, Secret
from tests.fakes.configs import MINIMAL

KEY = "sk-hunter22-hunter22"


def registry(text: str, env: dict[str, str] | None = None) -> RegistryConfig:
    return parse_config(MINIMAL + text, env=env or {"KEY": KEY}).registry


def problem(text: str) -> str:
    with pytest.raises(InvalidConfig) as caught:
        registry(text)
    assert "hunter22" not in str(caught.value)
    return str(caught.value)


def credential(keys: str, name: str = "openai") -> str:
    return f"[registry.credentials.{name}]\n{keys}\n"


def test_without_the_table_nothing_is_said() -> None:
    assert registry("") == RegistryConfig(allow_networks=None, allow_ports=None, credentials=())


def test_networks_and_ports_are_kept_once_each() -> None:
    found = registry('[registry]\nallow_networks = ["10.0.0.0/8", "fd12::/16", "::1", "10.0.0.0/8"]\n')
    assert found.allow_networks == ("10.0.0.0/8", "fd12::/16", "::1/128")
    assert registry('[registry]\nallow_networks = "10.1.2.3"\n').allow_networks == ("10.1.2.3/32",)
    assert registry("[registry]\nallow_ports = [8000, 443, 8000]\n").allow_ports == (8000, 443)


def test_none_at_all_is_not_the_same_as_not_said() -> None:
    found = registry("[registry]\nallow_networks = []\nallow_ports = []\n")
    assert (found.allow_networks, found.allow_ports) == ((), ())


def test_a_credential_comes_from_a_variable_or_a_file_and_names_its_hosts(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    file.chmod(0o600)
    text = credential('env = "KEY"\nhosts = ["API.openai.com", "api.openai.com"]')
    text += credential(f'file = "{file}"\nhosts = ["[::1]", "10.0.0.1", "models"]', name="own")
    assert registry(text).credentials == (
        ("openai", CredentialConfig(key=Secret(KEY), hosts=("api.openai.com",))),
        ("own", CredentialConfig(key=Secret(KEY), hosts=("::1", "10.0.0.1", "models"))),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[registry]\nallow_network = []", 'registry.allow_network: unknown key; did you mean "allow_networks"?'),
        ('[registry]\nallow_networks = ["10.0.0.1/8"]', "registry.allow_networks[0]: must be a network"),
        ('[registry]\nallow_networks = ["::1", "intranet"]', "registry.allow_networks[1]: must be a network"),
        ('[registry]\nallow_networks = ["::ffff:10.0.0.0/104"]', "registry.allow_networks[0]: must name IPv4"),
        ("[registry]\nallow_networks = 10", "registry.allow_networks: must be a string or an array"),
        ("[registry]\nallow_ports = 8000", "registry.allow_ports: must be an array of whole numbers, not a whole"),
        ('[registry]\nallow_ports = ["8000"]', "registry.allow_ports[0]: must be a whole number, not a string"),
        ("[registry]\nallow_ports = [80, 0, 65536]", "registry.allow_ports[1]: must be from 1 to 65535"),
        ("[registry]\nallow_ports = [80, [80], true]", "registry.allow_ports[1]: must be a whole number, not an array"),
        ("[registry]\ncredentials = 1", "registry.credentials: must be a table"),
        ("[registry]\ncredentials.a = 1", "registry.credentials.a: must be a table"),
        (credential('hosts = ["a"]'), "registry.credentials.openai: needs exactly one of env and file"),
        (credential('env = "KEY"\nfile = "a"\nhosts = ["a"]'), "openai: needs exactly one of env and file"),
        (credential(f'key = "{KEY}"\nhosts = ["a"]'), "openai.key: secrets never stand in the file"),
        (credential('env = "GONE"\nhosts = ["a"]'), "openai.env: environment variable GONE is not set"),
        (credential(f'env = "{KEY}"\nhosts = ["a"]'), "openai.env: must be the name of an environment variable"),
        (credential('file = "gone"\nhosts = ["a"]'), "openai.file: the file named here cannot be read"),
        (credential('env = "KEY"'), "openai.hosts: needs at least one host"),
        (credential('env = "KEY"\nhosts = []'), "openai.hosts: needs at least one host"),
        (credential('env = "KEY"\nhosts = ["*.openai.com"]'), "openai.hosts[0]: must be the name or the address"),
        (credential('env = "KEY"\nhosts = ["a", "https://a"]'), "openai.hosts[1]: must be the name or the address"),
        (credential('env = "KEY"\nhosts = ["a:443"]'), "openai.hosts[0]: must be the name or the address"),
        (credential('env = "KEY"\nhosts = ["0x7f.1"]'), "openai.hosts[0]: must be the name or the address"),
        (credential('env = "KEY"\nhost = ["a"]'), 'openai.host: unknown key; did you mean "hosts"?'),
        (credential('env = "KEY"\nhosts = ["a"]', name="None"), 'registry.credentials.None: "None" is reserved'),
        (credential('env = "KEY"\nhosts = ["a"]', name='"a b"'), "is no name for a credential"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, said: str) -> None:
    assert said in problem(text)


def test_every_problem_is_told_at_once() -> None:
    told = problem('[registry]\nallow_networks = ["x"]\nallow_ports = [0]\n' + credential('env = "GONE"'))
    assert len(told.splitlines()) == 4
