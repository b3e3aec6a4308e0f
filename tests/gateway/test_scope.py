import pytest

from octoroute_py.admission.principal import Principal
from octoroute_py.core.allowance import Budgets, Grant, Rates, WorkspacePolicy
from octoroute_py.core.errors import Denied
from octoroute_py.core.words import Role, Tier
from octoroute_py.gateway.scope import Scope, Scopes, workspace_of
from octoroute_py.tiers.eligibility import Quality
from tests.fakes.endpoints import endpoint_config

FLEET = tuple(endpoint_config(id_) for id_ in ("fast/a#1", "fast/b#1", "deep/c#1"))


def allowed(scope: Scope | None) -> list[str]:
    assert scope is not None
    return [endpoint.id for endpoint in FLEET if scope.allows(endpoint)]


def holder(*workspaces: str) -> Principal:
    return Principal("k", Role.INFERENCE, "key_1", Grant(workspaces=workspaces))


@pytest.mark.parametrize(
    ("policy", "grant"),
    [
        (None, None),
        (None, Grant(workspaces=("red",), rates=Rates(max_concurrent=1))),
        (WorkspacePolicy(budgets=Budgets(daily_uusd=1), min_quality_score=0.5), None),
        (WorkspacePolicy(restrictions=("fast", "deep")), Grant(tiers=tuple(Tier))),
    ],
)
def test_whatever_narrows_nothing_is_no_scope_at_all(policy: WorkspacePolicy | None, grant: Grant | None) -> None:
    assert Scopes(FLEET).of(policy, grant) is None


def test_what_is_allowed_is_what_both_the_key_and_the_workspace_let_through() -> None:
    scopes = Scopes(FLEET)
    fast = Grant(tiers=(Tier.FAST,))
    assert allowed(scopes.of(None, fast)) == ["fast/a#1", "fast/b#1"]
    assert allowed(scopes.of(WorkspacePolicy(restrictions=("b", "c")), None)) == ["fast/b#1", "deep/c#1"]
    assert allowed(scopes.of(WorkspacePolicy(restrictions=("b", "c")), fast)) == ["fast/b#1"]
    assert allowed(scopes.of(WorkspacePolicy(restrictions=("deep",)), fast)) == []


def test_an_error_names_the_key_where_the_key_is_in_the_way_else_the_workspace() -> None:
    scope = Scopes(FLEET).of(WorkspacePolicy(restrictions=("b",)), Grant(tiers=(Tier.FAST,)))
    assert scope is not None
    assert scope.denied(FLEET[2:], "it").client_message == "This key may not use it."
    error = scope.denied(FLEET[:1], "it")
    assert (error.status, error.code, error.client_message) == (
        403,
        "permission_denied",
        "This workspace may not use it.",
    )


def test_requirements_of_quality_make_a_scope_even_where_every_endpoint_is_allowed() -> None:
    scope = Scopes(FLEET).of(WorkspacePolicy(max_latency_ms=250.0, min_success_rate=0.5), None)
    assert scope is not None
    assert scope.quality == Quality(max_latency_s=0.25, min_success_rate=0.5)
    assert len(allowed(scope)) == 3


def test_a_scope_is_worked_out_once_whatever_else_changes_in_a_policy() -> None:
    scopes = Scopes(FLEET)
    one = scopes.of(WorkspacePolicy(restrictions=("a",)), None)
    assert scopes.of(WorkspacePolicy(restrictions=("a",), budgets=Budgets(daily_uusd=5)), Grant()) is one
    assert scopes.of(WorkspacePolicy(restrictions=("a",), deny=True), None) is not one


def test_very_many_different_scopes_are_all_right_and_not_all_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("octoroute_py.gateway.scope.MOST_REMEMBERED", 3)
    scopes = Scopes(FLEET)
    for name in ("a", "b", "c", "x", "y", "a"):
        scope = scopes.of(WorkspacePolicy(restrictions=(name,)), None)
        assert allowed(scope) == [endpoint.id for endpoint in FLEET if endpoint.name == name]


@pytest.mark.parametrize(
    ("principal", "hint", "expected"),
    [
        (Principal("free", Role.INFERENCE), None, "default"),
        (Principal("free", Role.INFERENCE), "red", "red"),
        (Principal("k", Role.INFERENCE, "key_1", Grant()), "red", "red"),
        (holder("red", "rose"), None, "red"),
        (holder("red", "rose"), "rose", "rose"),
    ],
)
def test_the_workspace_is_the_named_one_or_the_keys_first_or_the_default(
    principal: Principal, hint: str | None, expected: str
) -> None:
    assert workspace_of(principal, hint) == expected


@pytest.mark.parametrize(
    ("principal", "hint"),
    [(holder("red"), "blue"), (holder("red"), "Red"), (holder("red"), "default"), (holder(), None), (holder(), "red")],
)
def test_a_workspace_that_is_not_the_keys_is_403_and_says_nothing_of_it(principal: Principal, hint: str | None) -> None:
    with pytest.raises(Denied) as caught:
        workspace_of(principal, hint)
    error = caught.value
    assert (error.status, error.code) == (403, "permission_denied")
    assert error.client_message == "This key may not use this workspace."
