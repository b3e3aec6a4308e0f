"""A scope gives what it says, nothing more, and nothing where it speaks of something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.admission.scopes import roles_of
from octoroute_py.core.words import Role


@pytest.mark.parametrize(
    ("scopes", "roles"),
    [
        ([], set()),
        (["admin"], {Role.ADMIN}),
        (["*:*"], {Role.ADMIN}),
        (["admin:*", "inference"], {Role.ADMIN}),
        (["model:read"], {Role.VIEWER}),
        (["registry:read", "workspace:read"], {Role.VIEWER}),
        (["model:create"], {Role.OPERATOR}),
        (["routing:update", "model:read"], {Role.OPERATOR}),
        (["canary:delete"], {Role.OPERATOR}),
        (["config:write"], {Role.OPERATOR}),
        (["model:*"], {Role.OPERATOR}),
        (["inference"], {Role.INFERENCE}),
        (["route"], {Role.INFERENCE}),
        (["route:create"], {Role.INFERENCE}),
        (["completion:create"], {Role.INFERENCE}),
        (["chat:create", "chat:write", "chat:*"], {Role.INFERENCE}),
        (["viewer"], {Role.VIEWER}),
        (["operator", "viewer", "inference"], {Role.OPERATOR}),
        (["model:read", "inference"], {Role.VIEWER, Role.INFERENCE}),
        (["route:read", "route:create"], {Role.VIEWER, Role.INFERENCE}),
        (
            ["model:erase", "model:", ":read", "model", "*", "read", "Admin", "invoice:write", "user:*", "chat:read"],
            set(),
        ),
        (["model:read:all", "model:read ", "admin:read"], set()),
    ],
)
def test_a_scope_gives_the_role_it_speaks_of(scopes: list[str], roles: set[Role]) -> None:
    assert roles_of(scopes) == roles


@given(st.lists(st.sampled_from(["admin", "model:read", "model:write", "inference", "invoice:write"])))
def test_scopes_together_give_what_each_gives_and_no_more(scopes: list[str]) -> None:
    together = {needed for needed in Role for role in roles_of(scopes) if role.includes(needed)}
    apart = {needed for scope in scopes for role in roles_of([scope]) for needed in Role if role.includes(needed)}
    assert together == apart
