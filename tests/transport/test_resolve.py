"""URLs are judged at registration, with the addresses that their names have."""

import asyncio
from collections.abc import Sequence

import pytest

from octoroute_py.config.addresses import Wrong
from octoroute_py.config.schema import NetworkRules
from octoroute_py.transport import resolve as module
from octoroute_py.transport.resolve import Resolve, check_endpoint_url, check_health_url, resolve_name
from tests.fakes.names import Names

NOTHING = NetworkRules()


async def never(host: str, port: int) -> Sequence[str]:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


async def test_a_url_with_a_public_name_is_kept_in_one_spelling() -> None:
    names = Names("8.8.8.8")
    assert await check_endpoint_url("HTTPS://Models.Example/v1/", NOTHING, resolve=names) == "https://models.example/v1"
    assert names.asked == [("models.example", 443)]


async def test_an_address_is_not_looked_up() -> None:
    names = Names("8.8.8.8")
    rules = NetworkRules(networks=("127.0.0.1/32",))
    assert await check_endpoint_url("http://127.0.0.1:8000/v1", rules, resolve=names) == "http://127.0.0.1:8000/v1"
    assert names.asked == []


@pytest.mark.parametrize(
    ("addresses", "said"),
    [
        (["169.254.169.254"], "no endpoint may have"),
        (["fe80::1%2"], "no endpoint may have"),
        (["::ffff:169.254.169.254", "fd00:ec2::254"], "no endpoint may have"),
        (["10.0.0.1"], "allow_networks"),
        (["169.254.169.254", "10.0.0.1"], "allow_networks"),
        (["::1", "127.0.0.1"], "allow_networks"),
    ],
)
async def test_a_name_that_leads_where_nothing_is_permitted_is_refused(addresses: list[str], said: str) -> None:
    with pytest.raises(Wrong, match=said) as caught:
        await check_endpoint_url("https://models.example/v1", NOTHING, resolve=Names(*addresses))
    assert not any(address in str(caught.value) for address in addresses)


async def test_one_permitted_address_is_enough() -> None:
    names = Names("169.254.169.254", "10.0.0.1", "8.8.8.8")
    assert await check_endpoint_url("https://models.example/v1", NOTHING, resolve=names)


async def test_a_name_that_is_not_known_is_refused() -> None:
    for resolve in (Names(), Names(error=OSError("no such name")), Names(error=UnicodeError("label too long"))):
        with pytest.raises(Wrong, match="could not be resolved"):
            await check_endpoint_url("https://models.example/v1", NOTHING, resolve=resolve)


async def test_a_resolver_that_does_not_answer_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESOLVE_LIMIT_S", 0.01)
    with pytest.raises(Wrong, match="could not be resolved"):
        await check_endpoint_url("https://models.example/v1", NOTHING, resolve=never)


async def test_a_base_url_ends_before_the_operation_and_a_health_url_anywhere() -> None:
    resolve: Resolve = Names("8.8.8.8")
    with pytest.raises(Wrong, match="before the operation"):
        await check_endpoint_url("https://models.example/v1/models", NOTHING, resolve=resolve)
    for url in ("https://models.example/v1/models", "https://models.example/health/", "https://models.example"):
        assert await check_health_url(url, NOTHING, resolve=resolve) == url
    with pytest.raises(Wrong):
        await check_health_url("https://models.example/health", NOTHING, resolve=Names("127.0.0.1"))


async def test_the_system_knows_this_machine() -> None:
    assert "127.0.0.1" in await resolve_name("localhost", 80)
