"""Models as operators register and change them, over a real database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from octoroute_py.admission.principal import Principal
from octoroute_py.config.addresses import Wrong
from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config, CredentialConfig, NetworkRules, RegistryConfig, Secret
from octoroute_py.core.allowance import WorkspacePolicy
from octoroute_py.core.catalog import EndpointRole, Model, ModelEndpoint, ModelStatus, Provider
from octoroute_py.core.errors import GatewayError
from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rollout import CanaryDeployment, RolloutStatus
from octoroute_py.core.rules import AgentPreferences, RoutingRule, RuleTarget
from octoroute_py.core.words import Role, Tier
from octoroute_py.manage.directories import follow_registry
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.endpoint_check import EndpointCheck
from octoroute_py.manage.model_endpoints import Endpoints
from octoroute_py.manage.model_order import EndpointOrder, ModelOrder
from octoroute_py.manage.model_view import ModelSource, ModelView
from octoroute_py.manage.models import Kept, Models
from octoroute_py.manage.store import Store
from octoroute_py.storage import audit, workspaces
from octoroute_py.storage.db import Database
from tests.fakes.configs import MINIMAL

OPERATOR = Principal("ops", Role.OPERATOR, "ops")
ADMIN = Principal("boss", Role.ADMIN, "boss")
HOSTED = CredentialConfig(key=Secret("k"), hosts=("api.openai.com",))


class House:
    """The models and endpoints of a gateway whose file is `file`."""

    def __init__(self, folder: Path) -> None:
        self.file = parse_config(MINIMAL)
        self.database = Database.open("sqlite:///x.db", base_dir=folder)
        self.seen: list[Registry] = []
        self.following = follow_registry(self.database, on_change=self.seen.append)
        self.documents = Documents(Store(self.database), wall=lambda: 5.0, changed=self.following.refresh)
        self.asked: list[tuple[str, NetworkRules]] = []
        check = EndpointCheck(file=self._file, base_url=self._check_url, health_url=self._check_url)
        self.models = Models(self.documents, file=self._file, check=check)
        self.endpoints = Endpoints(self.documents, file=self._file, check=check)

    def _file(self) -> Config:
        return self.file

    async def _check_url(self, text: str, rules: NetworkRules) -> str:
        self.asked.append((text, rules))
        if "forbidden" in text:
            raise Wrong("leads where no model may be")
        return text.rstrip("/")

    async def register(self, id_: str = "gpt", **more: object) -> Kept:
        return await self.models.create(order(id_, **more), by=ADMIN)

    async def keep(self, kind: Kind, id_: str, value: msgspec.Struct) -> None:
        await self.documents.change(lambda desk: desk.create(kind, id_, value, action="x"), by="ops")

    def actions(self) -> list[str]:
        with self.database.read() as connection:
            return [row.action for row in audit.newest(connection, 50)][::-1]


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    one = House(tmp_path)
    yield one
    one.following.close()
    one.database.close()


def order(id_: str = "gpt", **more: object) -> ModelOrder:
    fields = {"id": id_, "name": "GPT", "provider": "openai", **more}
    return msgspec.convert(fields, ModelOrder)


def at(url: str = "https://one.test/v1", **more: object) -> dict[str, object]:
    return {"url": url, **more}


def refusal(caught: pytest.ExceptionInfo[GatewayError]) -> tuple[int, str, str | None]:
    return caught.value.status, caught.value.code, caught.value.param


def parameters(text: bytes) -> dict[str, msgspec.Raw]:
    return msgspec.json.decode(text, type=dict[str, msgspec.Raw])


async def test_a_model_comes_with_its_endpoints_in_one_change(house: House) -> None:
    kept = await house.register(endpoints=[at(), at("https://two.test/v1/", id="two", type="backup", weight=2)])
    assert [(each.id, each.url, each.type) for each in kept.view.endpoints] == [
        ("gpt:1", "https://one.test/v1", EndpointRole.PRIMARY),
        ("two", "https://two.test/v1", EndpointRole.BACKUP),
    ]
    assert len(house.seen) == 1
    assert list(house.seen[0].models) == ["gpt"]
    assert house.actions() == ["model.create", "endpoint.create", "endpoint.create"]


async def test_an_id_is_made_when_none_is_given(house: House) -> None:
    first, second = [
        await house.models.create(msgspec.convert({"name": "GPT", "provider": "openai"}, ModelOrder), by=OPERATOR)
        for _ in range(2)
    ]
    assert len(first.view.id) == len(second.view.id) == 36
    assert first.view.id != second.view.id


@pytest.mark.parametrize("name", ["auto", "Fast", "DEEP", "local", "batch"])
async def test_a_word_of_the_gateways_own_is_no_id(house: House, name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await house.register(name)
    assert refusal(caught) == (400, "invalid_request_error", "id")


@pytest.mark.parametrize("name", ["small", "gpt", "one"])
async def test_an_id_that_is_taken_is_a_conflict(house: House, name: str) -> None:
    await house.register(endpoints=[at(id="one")])
    with pytest.raises(GatewayError) as caught:
        await house.register(name)
    assert refusal(caught) == (409, "already_exists", "id")


async def test_an_endpoint_whose_id_is_taken_leaves_nothing_behind(house: House) -> None:
    await house.register(endpoints=[at(id="one")])
    with pytest.raises(GatewayError) as caught:
        await house.register("other", endpoints=[at(), at(id="one")])
    assert refusal(caught) == (409, "already_exists", "endpoints[1].id")
    assert list(house.following.current.models) == ["gpt"]


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (b'{"temperature": 2.1}', "parameters.temperature"),
        (b'{"temperature": "hot"}', "parameters.temperature"),
        (b'{"maxTokens": 0}', "parameters.maxTokens"),
        (b'{"maxTokens": 1.5}', "parameters.maxTokens"),
        (b'{"maxTokens": 1000000000000000000000}', "parameters.maxTokens"),
        (b'{"temperature": true}', "parameters.temperature"),
        (b'{"x": "' + b"x" * 20_000 + b'"}', "parameters"),
    ],
)
async def test_parameters_that_cannot_be_sent_are_refused(house: House, given: bytes, param: str) -> None:
    with pytest.raises(GatewayError) as caught:
        await house.register(parameters=parameters(given))
    assert refusal(caught) == (400, "invalid_request_error", param)


async def test_parameters_that_are_not_sent_are_kept_as_they_were_spelled_and_told(house: House) -> None:
    kept = await house.register(parameters=parameters(b'{"temperature": 0.50, "topP": 1e400}'), endpoints=[at()])
    assert {name: bytes(raw) for name, raw in kept.view.parameters.items()} == {
        "temperature": b"0.50",
        "topP": b"1e400",
    }
    assert len(kept.view.warnings) == 1
    assert "'topP'" in kept.view.warnings[0]


async def test_a_credential_is_one_of_the_configuration_and_goes_to_its_hosts_only(house: House) -> None:
    house.file = msgspec.structs.replace(house.file, registry=RegistryConfig(credentials=(("openai", HOSTED),)))
    with pytest.raises(GatewayError) as caught:
        await house.register(credential="openay")
    assert refusal(caught) == (400, "invalid_request_error", "credential")
    assert 'did you mean "openai"?' in caught.value.client_message
    with pytest.raises(GatewayError) as caught:
        await house.register(credential="openai", endpoints=[at("https://evil.test/v1")])
    assert refusal(caught) == (400, "invalid_request_error", "credential")
    kept = await house.register(credential="openai", endpoints=[at("https://api.openai.com/v1")])
    assert kept.view.warnings == ()
    with pytest.raises(GatewayError) as caught:
        await house.endpoints.create("gpt", msgspec.convert(at("https://evil.test/v1"), EndpointOrder), by=ADMIN)
    assert refusal(caught) == (400, "invalid_request_error", "credential")


async def test_a_credential_that_goes_from_the_configuration_is_warned_of(house: House) -> None:
    house.file = msgspec.structs.replace(house.file, registry=RegistryConfig(credentials=(("openai", HOSTED),)))
    await house.register(credential="openai", endpoints=[at("https://api.openai.com/v1")])
    house.file = msgspec.structs.replace(house.file, registry=RegistryConfig())
    [told] = [each for each in await house.models.every() if each.source is ModelSource.API]
    assert len(told.warnings) == 1


async def test_a_url_that_may_not_be_asked_is_refused_and_blamed(house: House) -> None:
    for endpoint, param in (
        (at("https://forbidden.test/v1"), "endpoints[0].url"),
        (at(healthCheckUrl="https://forbidden.test/"), "endpoints[0].healthCheckUrl"),
    ):
        with pytest.raises(GatewayError) as caught:
            await house.register(endpoints=[endpoint])
        assert refusal(caught) == (400, "invalid_request_error", param)
        assert "forbidden" not in caught.value.client_message
    assert house.actions() == []


async def test_only_an_admin_gives_networks_and_leads_elsewhere_what_has_some(house: House) -> None:
    wide = at("http://10.0.0.5:8000/v1", allowNetworks=["10.0.0.0/8"])
    with pytest.raises(GatewayError) as caught:
        await house.models.create(order(endpoints=[wide]), by=OPERATOR)
    assert refusal(caught) == (403, "permission_denied", None)
    with pytest.raises(GatewayError) as caught:
        await house.register(endpoints=[at(allowNetworks=["10.0.0.0/8", "10.0.0.1/8"])])
    assert refusal(caught) == (400, "invalid_request_error", "endpoints[0].allowNetworks[1]")
    with pytest.raises(GatewayError) as caught:  # no address is looked for there: it would allow nothing
        await house.register(endpoints=[at(allowNetworks=["::ffff:10.0.0.0/104"])])
    assert refusal(caught) == (400, "invalid_request_error", "endpoints[0].allowNetworks[0]")
    await house.register(endpoints=[wide])
    assert house.asked[-1][1].networks[-1:] == ("10.0.0.0/8",)

    def moved(kept: str) -> ModelEndpoint:
        return msgspec.structs.replace(msgspec.json.decode(kept, type=ModelEndpoint), url="http://10.0.0.6:8000/v1")

    def heavier(kept: str) -> ModelEndpoint:
        return msgspec.structs.replace(msgspec.json.decode(kept, type=ModelEndpoint), weight=3.0)

    with pytest.raises(GatewayError) as caught:
        await house.endpoints.patch("gpt", "gpt:1", moved, expect=None, by=OPERATOR)
    assert refusal(caught) == (403, "permission_denied", None)
    assert (await house.endpoints.patch("gpt", "gpt:1", heavier, expect=None, by=OPERATOR)).view.weight == 3
    assert (await house.endpoints.patch("gpt", "gpt:1", moved, expect=None, by=ADMIN)).view.url.endswith(".6:8000/v1")


async def test_what_the_file_configures_is_told_by_name_with_its_replicas(house: House) -> None:
    more = '[[models.deep]]\nname = "wide"\nbase_url = "https://api.openai.com/v1"\ncapabilities = ["vision"]\n'
    replica = '[[models.deep]]\nname = "wide"\nbase_url = "https://x.openai.azure.com/v1"\nmax_tokens = 9\n'
    house.file = parse_config(MINIMAL.replace("[routing]", more + replica + "[routing]"))
    told = {each.id: each for each in await house.models.every()}
    assert list(told) == ["small", "middle", "large", "wide"]
    assert told["small"].provider is Provider.CUSTOM
    wide = told["wide"]
    assert (wide.name, wide.tier, wide.provider, wide.source) == (
        "wide",
        Tier.DEEP,
        Provider.OPENAI,
        ModelSource.CONFIG,
    )
    assert [each.id for each in wide.endpoints] == ["deep/wide#1", "deep/wide#2"]
    assert "image_input" in wide.capabilities
    assert await house.models.get("wide") == wide


async def test_what_the_file_configures_is_read_only(house: House) -> None:
    order_ = msgspec.convert(at(), EndpointOrder)
    works = (
        house.models.set_status("small", ModelStatus.INACTIVE, by=OPERATOR),
        house.models.remove("small", expect=None, by=OPERATOR),
        house.models.patch("small", lambda kept: order().model(), expect=None, by=OPERATOR),
        house.endpoints.create("small", order_, by=OPERATOR),
        house.endpoints.remove("small", "fast/small#1", expect=None, by=OPERATOR),
        house.endpoints.patch("small", "fast/small#1", lambda kept: order_, expect=None, by=OPERATOR),
    )
    for work in works:
        with pytest.raises(GatewayError) as caught:
            await work
        assert refusal(caught) == (409, "read_only", None)


async def test_a_name_that_the_file_takes_later_is_warned_of(house: House) -> None:
    await house.register(endpoints=[at()])
    more = '[[models.fast]]\nname = "gpt"\nbase_url = "http://127.0.0.1:7/v1"\n'
    house.file = parse_config(MINIMAL.replace("[routing]", more + "[routing]"))
    told = [each for each in await house.models.every() if each.id == "gpt"]
    assert [(each.source, len(each.warnings)) for each in told] == [(ModelSource.CONFIG, 0), (ModelSource.API, 1)]


async def test_several_statuses_change_in_one_transaction_and_one_that_fails_keeps_no_other(house: House) -> None:
    for name in ("a", "b"):
        await house.register(name)
    before = len(house.seen)
    wanted = [("a", ModelStatus.INACTIVE), ("no", ModelStatus.ACTIVE), ("small", ModelStatus.ACTIVE)]
    done = await house.models.set_statuses([*wanted, ("b", ModelStatus.TESTING)], by=OPERATOR)
    assert [(each.model_id, each.error is None) for each in done] == [
        ("a", True),
        ("no", False),
        ("small", False),
        ("b", True),
    ]
    assert len(house.seen) == before + 1
    now = house.following.current.models
    assert (now["a"].status, now["b"].status) == (ModelStatus.INACTIVE, ModelStatus.TESTING)


RULE = RoutingRule(id="r", name="r", targets=(RuleTarget(model_id="other"), RuleTarget(model_id="gpt")))
ARMS = (Arm(name="a"), Arm(name="b", model_id="gpt"))
CANARY = CanaryDeployment(id="c", name="c", production_model_id="other", canary_model_id="gpt")


@pytest.mark.parametrize(
    ("kind", "value", "named"),
    [
        (Kind.RULE, RULE, "the rule 'x'"),
        (Kind.PREFERENCES, AgentPreferences(agent_type="x", fallback_models=("gpt",)), "the preferences of 'x'"),
        (Kind.CANARY, CANARY, "the canary deployment 'x'"),
        (Kind.EXPERIMENT, Experiment(id="x", name="e", arms=ARMS), "the experiment 'x'"),
    ],
)
async def test_a_model_that_something_names_stays(house: House, kind: Kind, value: msgspec.Struct, named: str) -> None:
    await house.register(endpoints=[at()])
    if hasattr(value, "id"):
        value = msgspec.structs.replace(value, id="x")
    await house.keep(kind, "x", value)
    with pytest.raises(GatewayError) as caught:
        await house.models.remove("gpt", expect=None, by=OPERATOR)
    assert refusal(caught) == (409, "in_use", None)
    assert named in caught.value.client_message
    assert list(house.following.current.models) == ["gpt"]


@pytest.mark.parametrize("named", ["gpt", "gpt:1"])
async def test_a_model_or_endpoint_that_a_workspace_is_restricted_to_stays(house: House, named: str) -> None:
    await house.register(endpoints=[at()])
    policy = WorkspacePolicy(restrictions=("fast", named))
    house.database.submit(lambda c: workspaces.put(c, "team", policy, at_ms=1, actor="x")).result()
    with pytest.raises(GatewayError) as caught:
        await house.models.remove("gpt", expect=None, by=OPERATOR)
    assert "the workspace 'team'" in caught.value.client_message
    if named == "gpt:1":
        with pytest.raises(GatewayError) as caught:
            await house.endpoints.remove("gpt", "gpt:1", expect=None, by=OPERATOR)
        assert refusal(caught) == (409, "in_use", None)


async def test_what_is_over_keeps_no_model(house: House) -> None:
    await house.register(endpoints=[at()])
    await house.keep(Kind.CANARY, "c", msgspec.structs.replace(CANARY, status=RolloutStatus.COMPLETED))
    stopped = Experiment(id="x", name="e", arms=ARMS, status=ExperimentStatus.STOPPED)
    await house.keep(Kind.EXPERIMENT, "x", stopped)
    await house.models.remove("gpt", expect=None, by=OPERATOR)
    now = house.following.current
    assert (dict(now.models), dict(now.endpoints)) == ({}, {})
    assert house.actions()[-2:] == ["model.remove", "endpoint.remove"]


async def test_an_endpoint_belongs_to_its_model_alone(house: House) -> None:
    for name in ("a", "b"):
        await house.register(name, endpoints=[at()])
    assert (await house.endpoints.get("a", "a:1")).view.model_id == "a"
    for work in (
        house.endpoints.get("a", "b:1"),
        house.endpoints.get("no", "a:1"),
        house.endpoints.remove("b", "a:1", expect=None, by=OPERATOR),
        house.endpoints.create("no", msgspec.convert(at(), EndpointOrder), by=OPERATOR),
        house.endpoints.every("no"),
    ):
        with pytest.raises(GatewayError) as caught:
            await work
        assert (caught.value.status, caught.value.code) == (404, "not_found")
    with pytest.raises(GatewayError) as caught:
        await house.endpoints.create("a", msgspec.convert(at(modelId="b"), EndpointOrder), by=OPERATOR)
    assert refusal(caught) == (400, "invalid_request_error", "modelId")


async def test_numbers_of_endpoints_are_not_given_twice(house: House) -> None:
    long = "m" * 128
    await house.register(long, endpoints=[at(), at()])
    await house.endpoints.remove(long, "m" * 120 + ":1", expect=None, by=OPERATOR)
    made = [await house.endpoints.create(long, msgspec.convert(at(), EndpointOrder), by=OPERATOR) for _ in range(2)]
    assert [each.view.id[120:] for each in made] == [":1", ":3"]


async def test_who_changes_an_endpoint_at_the_same_time_hears_of_it(house: House) -> None:
    await house.register(endpoints=[at()])
    loop = asyncio.get_running_loop()

    def slow(kept: str) -> ModelEndpoint:
        """Somebody else is faster, between our look and our change."""
        house.database.submit(
            lambda c: Desk(c, at_ms=9, actor="x").put(
                Kind.ENDPOINT, "gpt:1", ModelEndpoint(id="gpt:1", model_id="gpt", url="https://x.test/v1"), action="x"
            )
        ).result()
        assert loop.is_running()
        return msgspec.structs.replace(msgspec.json.decode(kept, type=ModelEndpoint), weight=7.0)

    with pytest.raises(GatewayError) as caught:
        await house.endpoints.patch("gpt", "gpt:1", slow, expect=None, by=OPERATOR)
    assert refusal(caught) == (409, "conflict", None)


def test_a_view_tells_every_field_of_a_model_and_of_an_endpoint() -> None:
    assert set(Model.__struct_fields__) <= set(ModelView.__struct_fields__)
