"""Whatever operators have set, an export holds it and an import makes it so again, whatever was there before."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from octoroute_py.core.registry import Kind
from octoroute_py.edge.api.transfer_shape import exported, read_order
from octoroute_py.manage.transfer_plan import Mode, Plan, State, Wishes, plan
from octoroute_py.storage.registry import Document
from octoroute_py.storage.workspaces import WorkspaceRow

EMPTY = State(documents=dict.fromkeys(Kind, ()), workspaces=())
NOW_MS = 1_800_000_000_000

ids = st.text("abAB01", min_size=1, max_size=3)
words = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=8)
times = (
    st.integers(0, 4_000_000_000_000)
    .map(lambda ms: f"{ms // 86_400_000 % 27 + 1:02}")
    .map(lambda day: f"2026-01-{day}T10:00:00.{day}1Z")
)
stamps = st.fixed_dictionaries({}, optional={"createdAt": times, "updatedAt": times})
numbers = st.floats(0, 1000, allow_nan=False) | st.integers(0, 1000)
finite = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | finite | words,
    lambda each: st.lists(each, max_size=2) | st.dictionaries(words, each, max_size=2),
    max_leaves=4,
)  # fmt: skip
targets = st.lists(
    st.fixed_dictionaries({"modelId": words}, optional={"weight": numbers, "fallbackOrder": st.integers(0, 9)}),
    min_size=1,
    max_size=3,
)


def documents(**fields: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Documents with different ids, with these fields and times."""
    one = st.tuples(st.fixed_dictionaries({"id": ids, "name": words, **fields}), stamps).map(
        lambda two: two[0] | two[1]
    )
    return st.lists(one, max_size=4, unique_by=lambda each: each["id"])


def named(key: st.SearchStrategy[str], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    one = st.tuples(st.fixed_dictionaries({}, optional=optional), stamps).map(lambda two: two[0] | two[1])
    return st.dictionaries(key, one, max_size=4)


endpoints = documents(url=st.just("https://a.test/v1"), weight=st.floats(0.1, 9)).map(
    lambda found: [{name: value for name, value in each.items() if name != "name"} for each in found]
)


@st.composite
def exports(draw: st.DrawFn) -> dict[str, Any]:
    """A whole export."""
    models = draw(documents(provider=st.just("custom"), parameters=st.dictionaries(words, values, max_size=3)))
    for each in models:
        own = draw(endpoints)
        each["endpoints"] = [{**endpoint, "id": f"{each['id']}:{endpoint['id']}"} for endpoint in own]
    return {
        "models": models,
        "routingRules": draw(documents(targets=targets, priority=st.integers(-9, 9), enabled=st.booleans())),
        "agentPreferences": draw(named(words, preferredModels=st.lists(words, max_size=3, unique=True))),
        "workspaceConfigs": draw(
            named(
                ids,
                modelRestrictions=st.lists(ids, max_size=3, unique=True),
                budgetLimits=st.fixed_dictionaries({}, optional={"daily": numbers, "monthly": numbers}),
            )
        ),
        "canaryDeployments": draw(documents(productionModelId=words, canaryModelId=words, step=st.integers(0, 9))),
        "experiments": draw(documents(arms=st.just([{"name": "a"}, {"name": "b"}]), alpha=st.floats(0.001, 0.5))),
    }


RARE = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def wishes_of(config: object) -> Wishes:
    return read_order(msgspec.json.encode({"config": config}))[1]


def carried_out(made: Plan, state: State) -> State:
    """What a database would hold afterwards."""
    after: dict[Kind, dict[str, Document]] = {
        kind: {each.id: each for each in documents} for kind, documents in state.documents.items()
    }
    for rewrite in made.rewrites:
        if rewrite.before is not None:
            assert after[rewrite.before.kind].pop(rewrite.before.id) == rewrite.before
        if rewrite.after is not None:
            after[rewrite.after.kind][rewrite.after.id] = rewrite.after
    rows: dict[str, WorkspaceRow] = {row.id: row for row in state.workspaces if row.id not in made.forgotten}
    rows |= {row.id: row for row in made.workspaces}
    return State(
        documents={kind: sorted(found.values(), key=lambda each: each.position) for kind, found in after.items()},
        workspaces=sorted(rows.values(), key=lambda row: row.id),
    )


def state_of(config: object) -> State:
    return carried_out(plan(EMPTY, wishes_of(config), mode=Mode.REPLACE, now_ms=NOW_MS), EMPTY)


def export(state: State) -> bytes:
    return exported(state, at_ms=NOW_MS)


@RARE
@given(exports(), exports())
def test_replacing_by_an_export_makes_everything_as_it_was_exported(
    config: dict[str, Any], other: dict[str, Any]
) -> None:
    told = export(state_of(config))
    for before in (EMPTY, state_of(other)):
        wishes = wishes_of(msgspec.json.decode(told))
        after = carried_out(plan(before, wishes, mode=Mode.REPLACE, now_ms=NOW_MS + 5), before)
        assert export(after) == told
        again = plan(after, wishes, mode=Mode.REPLACE, now_ms=NOW_MS + 9)
        assert (again.rewrites, again.workspaces, again.forgotten) == ((), (), ())
        places = [[each.position for each in after.documents[kind]] for kind in Kind]
        assert all(len(set(each)) == len(each) for each in places)


@RARE
@given(exports(), exports())
def test_merging_an_export_loses_nothing_and_moves_nothing(config: dict[str, Any], other: dict[str, Any]) -> None:
    before, wishes = state_of(other), wishes_of(msgspec.json.decode(export(state_of(config))))
    made = plan(before, wishes, mode=Mode.MERGE, now_ms=NOW_MS)
    after = carried_out(made, before)
    assert (made.deleted, made.moved, made.forgotten) == ((), (), ())
    for kind in Kind:
        old = [each.id for each in before.documents[kind]]
        assert [each.id for each in after.documents[kind]][: len(old)] == old
    count = sum(len(wished) for wished in wishes.documents.values()) + len(wishes.workspaces or ())
    assert len(made.created) + len(made.updated) + made.unchanged == count
    again = plan(after, wishes, mode=Mode.MERGE, now_ms=NOW_MS + 9)
    assert (again.rewrites, again.workspaces) == ((), ())


def test_an_export_that_somebody_has_formatted_anew_is_still_the_same() -> None:
    config = {"models": [{"id": "m", "name": "m", "provider": "custom", "parameters": {"a": [1, {"b": 0.5}]}}]}
    state = state_of(config)
    pretty = msgspec.json.format(export(state), indent=4).replace(b"0.5", b"5e-1")
    made = plan(state, wishes_of(msgspec.json.decode(pretty)), mode=Mode.REPLACE, now_ms=NOW_MS + 1)
    raw = plan(state, read_order(b'{"config": %s}' % pretty)[1], mode=Mode.REPLACE, now_ms=NOW_MS + 1)
    assert (made.unchanged, raw.unchanged) == (1, 1)
    assert (made.rewrites, raw.rewrites) == ((), ())
