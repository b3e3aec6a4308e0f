"""Where registered endpoints may be, and which of them a credential reaches."""

import msgspec
import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config, EndpointConfig, NetworkRules
from octoroute_py.core.catalog import Model, ModelEndpoint, ModelStatus, Provider
from octoroute_py.core.registry import Registry
from octoroute_py.tiers.endpoint import identity
from octoroute_py.tiers.registered import network_rules, with_registry
from tests.fakes.configs import MINIMAL

NAMES = ("asleep", "asleep:1", "free")
CREDENTIAL = '[registry.credentials.openai]\nenv = "KEY"\nhosts = ["api.openai.com"]\n'
ENDPOINT = ModelEndpoint(id="m-1", model_id="m", url="https://api.openai.com/v1")


def config(text: str = "") -> Config:
    return parse_config(MINIMAL + text, env={"KEY": "sk-the-key"})


def served(file: Config, endpoint: ModelEndpoint, *, credential: str | None = None) -> list[EndpointConfig]:
    """What the registry's one endpoint is beside the file's."""
    model = Model(id="m", name="m", provider=Provider.OPENAI, credential=credential)
    registry = msgspec.structs.replace(Registry(), models={"m": model}, endpoints={"m": (endpoint,)})
    return list(with_registry(file, registry).endpoints[len(file.endpoints) :])


def test_by_default_the_addresses_that_the_file_names_are_allowed() -> None:
    assert network_rules(config(), ENDPOINT) == NetworkRules(networks=("127.0.0.1/32",))
    file = config().endpoints[0]
    urls = [
        "http://localhost:1",
        "http://10.1.2.3/v1",
        "http://[fd12::1]:8/v1",
        "http://models.example",
        "http://10.1.2.3",
    ]
    named = [msgspec.structs.replace(file, base_url=url) for url in urls]
    found = network_rules(msgspec.structs.replace(config(), endpoints=tuple(named)), ENDPOINT)
    assert found.networks == ("127.0.0.1/32", "::1/128", "10.1.2.3/32", "fd12::1/128")


def test_what_the_table_says_takes_their_place_and_an_endpoints_own_come_on_top() -> None:
    own = msgspec.structs.replace(ENDPOINT, allow_networks=("192.168.1.0/24",))
    assert network_rules(config("[registry]\nallow_networks = []\nallow_ports = [8000]\n"), own) == NetworkRules(
        networks=("192.168.1.0/24",), ports=(8000,)
    )
    assert network_rules(config(), own).networks == ("127.0.0.1/32", "192.168.1.0/24")


@pytest.mark.parametrize(
    ("url", "reached"),
    [
        ("https://api.openai.com/v1", True),
        ("https://API.OpenAI.com/v1", True),
        ("https://api.openai.com:8443/v1", True),
        ("https://openai.com/v1", False),
        ("https://evil.api.openai.com/v1", False),
        ("https://api.openai.com.evil/v1", False),
        ("https://api.openai.com./v1", False),
        ("https://api.openai.com@evil/v1", False),
        ("https://evil\\@api.openai.com/v1", False),
        ("https://evil#@api.openai.com/v1", False),
        ("https://evil?@api.openai.com/v1", False),
    ],
)
def test_a_credential_is_for_its_hosts_alone(url: str, reached: bool) -> None:
    file = config(CREDENTIAL)
    found = served(file, msgspec.structs.replace(ENDPOINT, url=url), credential="openai")
    assert [each.api_key.reveal() for each in found if each.api_key] == ["sk-the-key"] * reached
    assert len(found) == reached


def test_an_endpoint_without_a_credential_gets_none_and_one_whose_credential_is_gone_is_left_out() -> None:
    assert [each.api_key for each in served(config(CREDENTIAL), ENDPOINT)] == [None]
    assert served(config(), ENDPOINT, credential="openai") == []


def test_other_rules_or_another_health_url_make_another_endpoint_and_another_status_does_not() -> None:
    (one,) = served(config(), ENDPOINT)
    (same,) = served(config(), msgspec.structs.replace(ENDPOINT, weight=2.0))
    (stricter,) = served(config("[registry]\nallow_networks = []\n"), ENDPOINT)
    (asked,) = served(config(), msgspec.structs.replace(ENDPOINT, health_check_url="https://api.openai.com/health"))
    assert identity(one) == identity(same)
    assert len({identity(each) for each in (one, stricter, asked)}) == 3


def test_no_alias_is_the_id_of_another_model_or_endpoint_even_of_one_that_serves_nobody() -> None:
    asleep = Model(id="asleep", name="asleep", provider=Provider.OPENAI, status=ModelStatus.INACTIVE)
    models = [asleep, *(Model(id=f"m{at}", name=name, provider=Provider.OPENAI) for at, name in enumerate(NAMES))]
    registry = msgspec.structs.replace(
        Registry(),
        models={each.id: each for each in models},
        endpoints={
            each.id: (msgspec.structs.replace(ENDPOINT, id=f"{each.id}:1", model_id=each.id),) for each in models
        },
    )
    found = with_registry(config(), registry).endpoints[len(config().endpoints) :]
    aliases = {each.name: each.registered.aliases for each in found if each.registered is not None}
    assert aliases == {"m0": ("asleep/1",), "m1": ("asleep:1/1",), "m2": ("free", "free/1")}
