"""What rules and preferences may name, and what is said of names that do not serve."""

from pathlib import Path

import pytest

from octoroute_py.config.schema import EndpointConfig, NetworkRules, Registered
from octoroute_py.core.catalog import ModelStatus
from octoroute_py.core.errors import BadRequest
from octoroute_py.manage.documents import Desk
from octoroute_py.manage.references import doubts, meant, refuse_strange
from tests.fakes.endpoints import endpoint_config
from tests.fakes.registry import Shelf, shelf

FILE: tuple[EndpointConfig, ...] = (endpoint_config("fast/small#1"), endpoint_config("deep/large#1"))


async def refused(kept: Shelf, *names: str, endpoints: tuple[EndpointConfig, ...] = FILE) -> BadRequest | None:
    def work(desk: Desk) -> None:
        refuse_strange(((f"targets[{at}].modelId", name) for at, name in enumerate(names)), desk, endpoints)

    try:
        await kept.documents.change(work, by="test")
    except BadRequest as error:
        return error
    return None


@pytest.mark.parametrize("name", ["deep", "small", "deep/large#1", "mine"])
async def test_a_tier_an_endpoint_of_the_file_and_a_registered_model_can_be_named(tmp_path: Path, name: str) -> None:
    with shelf(tmp_path) as kept:
        await kept.model("mine", status=ModelStatus.INACTIVE)
        assert await refused(kept, name) is None


@pytest.mark.parametrize("name", ["auto", "Deep", "mine:1", "nobody", "local", "sm\nall"])
async def test_anything_else_is_refused_by_its_place(tmp_path: Path, name: str) -> None:
    with shelf(tmp_path) as kept:
        await kept.model("mine")
        error = await refused(kept, "deep", name)
    assert error is not None
    assert (error.status, error.param) == (400, "targets[1].modelId")
    assert "\n" not in error.client_message


async def test_a_registered_endpoint_among_those_in_force_is_no_name_of_the_file(tmp_path: Path) -> None:
    of_api = Registered(model_id="gone", status=ModelStatus.ACTIVE, rules=NetworkRules())
    left_over = endpoint_config("fast/gone#1", registered=of_api)
    with shelf(tmp_path) as kept:
        assert await refused(kept, left_over.name, endpoints=(*FILE, left_over)) is not None


@pytest.mark.parametrize(("name", "kept"), [("DEEP", "deep"), (" fast ", "fast"), ("GPT", "GPT"), ("Auto", "Auto")])
def test_tiers_are_kept_as_they_are_named_and_all_else_as_it_stands(name: str, kept: str) -> None:
    assert meant(name) == kept


async def test_each_doubt_is_told_once(tmp_path: Path) -> None:
    with shelf(tmp_path) as kept:
        await kept.model("old", status=ModelStatus.INACTIVE)
        await kept.model("new", status=ModelStatus.CANARY)
        told = list(doubts(("old", "deep", "small", "old", "gone", "new"), kept.registry(), FILE))
        split = list(doubts(("new",), kept.registry(), FILE, split=True))
    assert [text.split()[0] for text in told] == ["'old'", "'gone'", "'new'"]
    assert split == []
