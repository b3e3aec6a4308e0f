"""Changes of the registry happen whole or not at all, and are in force when they are answered."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from octoroute_py.core.errors import GatewayError
from octoroute_py.core.registry import Kind, Registry
from octoroute_py.core.rules import RoutingRule, RuleTarget
from octoroute_py.manage.directories import follow_registry
from octoroute_py.manage.documents import Desk, Documents
from octoroute_py.manage.store import Store
from octoroute_py.storage.db import Database


class Kept:
    def __init__(self, folder: Path) -> None:
        self.database = Database.open("sqlite:///x.db", base_dir=folder)
        self.seen: list[Registry] = []
        self.following = follow_registry(self.database, on_change=self.seen.append)
        self.documents = Documents(Store(self.database), wall=lambda: 5.0, changed=self.following.refresh)

    def close(self) -> None:
        self.following.close()
        self.database.close()


@pytest_asyncio.fixture
async def kept(tmp_path: Path) -> AsyncIterator[Kept]:
    one = Kept(tmp_path)
    yield one
    one.close()


def rule(id_: str, name: str = "r") -> RoutingRule:
    return RoutingRule(id=id_, name=name, targets=(RuleTarget(model_id="m"),))


async def test_a_change_is_in_force_when_it_is_answered(kept: Kept) -> None:
    made = await kept.documents.change(lambda desk: desk.create(Kind.RULE, "a", rule("a"), action="x"), by="ops")
    assert list(kept.seen[-1].rules) == ["a"]
    assert await kept.documents.get(Kind.RULE, "a") == made
    assert made.read(RoutingRule) == rule("a")


async def test_what_raises_undoes_everything_before_it(kept: Kept) -> None:
    def both(desk: Desk) -> None:
        desk.create(Kind.RULE, "a", rule("a"), action="x")
        desk.create(Kind.RULE, "a", rule("a"), action="x")

    with pytest.raises(GatewayError) as caught:
        await kept.documents.change(both, by="ops")
    assert (caught.value.status, caught.value.code) == (409, "already_exists")
    assert await kept.documents.every(Kind.RULE) == []


async def test_who_has_an_old_copy_changes_nothing(kept: Kept) -> None:
    made = await kept.documents.change(lambda desk: desk.create(Kind.RULE, "a", rule("a"), action="x"), by="ops")
    newer = await kept.documents.change(
        lambda desk: desk.replace(Kind.RULE, "a", rule("a", "b"), action="x", expect=made.revision), by="ops"
    )
    assert newer.revision > made.revision
    for work in (
        lambda desk: desk.replace(Kind.RULE, "a", rule("a", "c"), action="x", expect=made.revision),
        lambda desk: desk.remove(Kind.RULE, "a", action="x", expect=made.revision),
    ):
        with pytest.raises(GatewayError) as caught:
            await kept.documents.change(work, by="ops")
        assert (caught.value.status, caught.value.code) == (412, "precondition_failed")
    assert (await kept.documents.get(Kind.RULE, "a")) == newer


async def test_an_id_that_nothing_has_is_not_found(kept: Kept) -> None:
    for work in (
        lambda desk: desk.replace(Kind.RULE, "a", rule("a"), action="x", expect=1),
        lambda desk: desk.remove(Kind.RULE, "a", action="x", expect=1),
    ):
        with pytest.raises(GatewayError) as caught:
            await kept.documents.change(work, by="ops")
        assert (caught.value.status, caught.value.code) == (404, "not_found")
    with pytest.raises(GatewayError) as caught:
        await kept.documents.get(Kind.RULE, "a")
    assert caught.value.status == 404
