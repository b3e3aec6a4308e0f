"""Rules as operators change them, without HTTP: in one transaction with what they name, and in one list."""

from pathlib import Path

import pytest

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import RuleConfig
from octoroute_py.core.errors import BadRequest, GatewayError
from octoroute_py.core.registry import Kind
from octoroute_py.core.rules import RoutingRule, RuleTarget
from octoroute_py.core.words import Role, Tier
from octoroute_py.manage.rules import Rules
from octoroute_py.routing.rule_problems import problems
from octoroute_py.routing.rules import BUILT_IN
from octoroute_py.storage.registry import Document
from tests.fakes.endpoints import endpoint_config
from tests.fakes.registry import Shelf, shelf

OPS = Principal("ops", Role.OPERATOR)


class Written:
    """The file's rules, which a reload may replace."""

    def __init__(self, *rules: RuleConfig) -> None:
        self.rules = rules


def office(kept: Shelf, written: Written) -> Rules:
    return Rules(
        kept.documents,
        written=lambda: written.rules,
        built_in=BUILT_IN,
        endpoints=lambda: (endpoint_config("fast/small#1"),),
        registry=kept.registry,
        problems=problems,
    )


def rule(id_: str, *names: str, priority: int = 0) -> RoutingRule:
    return RoutingRule(id=id_, name=id_, priority=priority, targets=tuple(RuleTarget(model_id=each) for each in names))


async def test_the_list_follows_the_file_as_it_is_now(tmp_path: Path) -> None:
    written = Written(RuleConfig(name="a", tier=Tier.FAST))
    with shelf(tmp_path) as kept:
        rules = office(kept, written)
        await rules.create(rule("x", "fast"), by=OPS)
        before = [each.id for each in await rules.every()]
        written.rules = (RuleConfig(name="b", tier=Tier.DEEP, priority=-1),)
        after = [each.id for each in await rules.every()]
        with pytest.raises(GatewayError) as caught:
            await rules.get("config:a")
    assert (before, after) == (["config:a", "x"], ["x", "config:b"])
    assert caught.value.status == 404


async def test_a_model_that_is_gone_can_no_longer_be_named_and_the_rule_stays_as_it_was(tmp_path: Path) -> None:
    with shelf(tmp_path) as kept:
        await kept.model("mine")
        rules = office(kept, Written())
        made = await rules.create(rule("x", "mine"), by=OPS)
        await kept.documents.change(lambda desk: desk.remove(Kind.MODEL, "mine", action="x"), by="test")
        with pytest.raises(BadRequest) as caught:
            await rules.change("x", lambda _: rule("x", "mine", priority=3), expect=None, by=OPS)
        assert await kept.documents.get(Kind.RULE, "x") == made
    assert caught.value.param == "targets[0].modelId"


async def test_a_change_is_made_of_what_is_kept_at_that_moment(tmp_path: Path) -> None:
    def higher(document: Document) -> RoutingRule:
        known = document.read(RoutingRule)
        return rule(known.id, "fast", priority=known.priority + 1)

    with shelf(tmp_path) as kept:
        rules = office(kept, Written())
        await rules.create(rule("x", "fast"), by=OPS)
        for _ in range(3):
            await rules.change("x", higher, expect=None, by=OPS)
        assert kept.registry().rules["x"].priority == 3


async def test_what_the_checks_find_is_refused_with_the_field(tmp_path: Path) -> None:
    with shelf(tmp_path) as kept:
        with pytest.raises(BadRequest) as caught:
            await office(kept, Written()).create(rule("x", "fast", "FAST"), by=OPS)
        assert kept.registry().rules == {}
    assert caught.value.param is not None
    assert caught.value.param.startswith("targets[1]")
