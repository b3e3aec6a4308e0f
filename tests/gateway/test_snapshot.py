"""What a change of configuration or registry makes anew, and what it leaves as it was."""

from collections.abc import Mapping

import msgspec
import pytest

from octoroute_py.config.schema import RoutingConfig, RuleConfig, RuleWhen, StrategyName
from octoroute_py.core.errors import ConfigError
from octoroute_py.core.experiment import Arm
from octoroute_py.core.rules import RoutingRule
from octoroute_py.core.words import Tier
from octoroute_py.gateway.context import Snapshot
from octoroute_py.gateway.snapshot import make_snapshot
from tests.fakes.governed import Governed, experiment, model, registry, rule

TRIAL = experiment(Arm(name="usual"), Arm(name="other", rule_set="s"))


def after(governed: Governed, *, rules: Mapping[str, RoutingRule], routing: RoutingConfig | None = None) -> Snapshot:
    """The snapshot that follows when the registry holds these rules."""
    old = governed.snapshot
    config = old.config if routing is None else msgspec.structs.replace(old.config, routing=routing)
    changed = msgspec.structs.replace(old.registry, version=2, rules=rules)
    return make_snapshot(config, governed.table, old.router, generation=2, registry=changed, before=old)


def test_rules_are_compiled_again_only_when_one_of_them_has_changed() -> None:
    governed = Governed(model("m"), rule("a", "m"), rule("b", "deep", rule_set="s"), TRIAL)
    old = governed.snapshot
    read_again = registry(rule("a", "m"), rule("b", "deep", rule_set="s")).rules
    same = after(governed, rules=read_again)
    assert same.rulebook is old.rulebook
    assert same.rulebooks["s"] is old.rulebooks["s"]
    assert [each.id for each in after(governed, rules={"a": read_again["a"]}).rulebook.rules][:1] == ["a"]
    assert "s" not in after(governed, rules={"a": read_again["a"]}).rulebooks


def test_another_order_another_word_and_another_file_make_new_rules() -> None:
    governed = Governed(rule("a", "fast"), rule("b", "deep"))
    rules = governed.snapshot.registry.rules
    turned = after(governed, rules={"b": rules["b"], "a": rules["a"]})
    assert [each.id for each in turned.rulebook.rules] == ["b", "a"]
    renamed = after(governed, rules={"a": msgspec.structs.replace(rules["a"], name="new"), "b": rules["b"]})
    assert [each.name for each in renamed.rulebook.rules] == ["new", "b"]
    routing = RoutingConfig(strategy=StrategyName.RULE, rules=(RuleConfig(name="file", tier=Tier.FAST, priority=1),))
    assert [each.name for each in after(governed, rules=rules, routing=routing).rulebook.rules] == ["file", "a", "b"]


def test_each_rule_set_of_a_running_experiment_has_a_book_with_the_rules_of_all() -> None:
    rules = rule("a", "deep"), rule("b", "deep", rule_set="s"), rule("c", "deep", rule_set="t")
    found = Governed(*rules, TRIAL).snapshot
    assert [each.id for each in found.rulebook.rules] == ["a"]
    assert {name: [each.id for each in book.rules] for name, book in found.rulebooks.items()} == {"s": ["a", "b"]}
    assert {"a", "b", "c"} <= set(found.rule_ids)


def test_a_rule_set_gets_its_book_when_an_experiment_is_started() -> None:
    governed = Governed(rule("b", "deep", rule_set="s"))
    old = governed.snapshot
    assert not old.rulebooks
    started = msgspec.structs.replace(old.registry, version=2, experiments={TRIAL.id: TRIAL})
    found = make_snapshot(old.config, governed.table, old.router, generation=2, registry=started, before=old)
    assert found.rulebook is old.rulebook
    assert [each.id for each in found.rulebooks["s"].rules] == ["b"]


def test_a_rule_that_cannot_be_used_keeps_a_snapshot_from_being_made() -> None:
    odd = RuleConfig(name="odd", tier=Tier.FAST, when=RuleWhen(pattern="("))
    with pytest.raises(ConfigError, match="odd"):
        Governed(routing=RoutingConfig(strategy=StrategyName.RULE, rules=(odd,)))
