"""Documents of the registry are kept whole, in their order, and every change counts."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from octoroute_py.core.catalog import HealthReport, Model, ModelEndpoint, Provider
from octoroute_py.core.registry import Kind
from octoroute_py.core.rules import RoutingRule, RuleTarget
from octoroute_py.storage import audit, registry
from octoroute_py.storage.db import Database
from octoroute_py.storage.errors import Corrupt
from octoroute_py.storage.registry import Change
from octoroute_py.storage.transaction import Transaction

MODEL = Model(id="m", name="gpt", provider=Provider.OPENAI)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open("sqlite:///x.db", base_dir=tmp_path)
    yield opened
    opened.close()


def by(action: str, at_ms: int = 1) -> Change:
    return Change(at_ms=at_ms, actor="key:ops", action=action)


def rule(id_: str, name: str = "r") -> RoutingRule:
    return RoutingRule(id=id_, name=name, targets=(RuleTarget(model_id="m"),))


def test_what_is_put_is_read_back_whole_and_in_the_order_it_was_made(database: Database) -> None:
    endpoint = ModelEndpoint(id="e", model_id="m", url="https://api.example.com/v1")
    database.write(lambda connection: registry.put(connection, Kind.MODEL, "m", MODEL, by=by("model.register")))
    database.write(lambda connection: registry.put(connection, Kind.ENDPOINT, "e", endpoint, by=by("endpoint.add")))
    for id_ in ("b", "a", "c"):
        database.write(partial(registry.put, kind=Kind.RULE, id_=id_, value=rule(id_), by=by("x")))
    database.write(lambda connection: registry.put(connection, Kind.RULE, "b", rule("b", "changed"), by=by("x", 9)))
    with database.read() as connection:
        found = registry.read(connection)
        document = registry.get(connection, Kind.RULE, "b")
    assert found.models == {"m": MODEL}
    assert found.endpoints == {"m": (endpoint,)}
    assert list(found.rules) == ["b", "a", "c"]
    assert found.rules["b"].name == "changed"
    assert document is not None
    assert (document.created_ms, document.updated_ms, document.revision) == (1, 9, found.version)


def test_every_change_counts_and_an_equal_body_is_none(database: Database) -> None:
    def put(at_ms: int) -> int:
        database.write(lambda connection: registry.put(connection, Kind.RULE, "a", rule("a"), by=by("x", at_ms)))
        with database.read() as connection:
            return registry.version(connection)

    assert [put(1), put(2)] == [1, 1]
    assert database.write(lambda connection: registry.remove(connection, Kind.RULE, "a", by=by("rule.delete")))
    assert not database.write(lambda connection: registry.remove(connection, Kind.RULE, "a", by=by("rule.delete")))
    with database.read() as connection:
        assert registry.version(connection) == 2
        assert [row.action for row in audit.newest(connection, 9)] == ["rule.delete", "x"]


def test_a_document_that_cannot_be_understood_is_told_and_not_guessed(database: Database) -> None:
    database.write(lambda connection: registry.put(connection, Kind.RULE, "a", rule("a"), by=by("x")))
    database.write(lambda connection: connection.exec_driver_sql("UPDATE registry SET body = '{}'"))
    with database.read() as connection, pytest.raises(Corrupt, match="the rule 'a'"):
        registry.read(connection)


def test_what_is_noted_is_kept_and_is_no_change(database: Database) -> None:
    def note(connection: Transaction) -> list[int]:
        at = [registry.note(connection, Kind.HEALTH, "m", HealthReport(uptime=each), at_ms=each) for each in (5, 6)]
        return [each.revision for each in at]

    with database.read() as connection:
        before, rows = registry.version(connection), audit.newest(connection, 9)
        seen = [registry.noted(connection, Kind.HEALTH)]
    assert database.submit(note).result() == [1, 2]
    with database.read() as connection:
        assert (registry.version(connection), audit.newest(connection, 9)) == (before, rows)
        kept = registry.get(connection, Kind.HEALTH, "m")
        assert kept is not None
        assert (kept.read(HealthReport).uptime, kept.created_ms, kept.updated_ms) == (6, 5, 6)
        seen.append(registry.noted(connection, Kind.HEALTH))
    database.submit(lambda connection: registry.forget(connection, Kind.HEALTH, "m")).result()
    with database.read() as connection:
        assert registry.get(connection, Kind.HEALTH, "m") is None
        assert registry.version(connection) == before
        assert seen[0] == registry.noted(connection, Kind.HEALTH) != seen[1]
