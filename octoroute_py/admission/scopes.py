"""What the scopes of a token come to: roles."""

from collections.abc import Iterable

from octoroute_py.core.words import Role

_RESOURCES = frozenset(
    {
        *("agent", "analytics", "audit", "canary", "config", "experiment", "feedback", "health", "metrics", "model"),
        *("registry", "resilience", "route", "routing", "rule", "workspace"),
    }
)
"""What a scope may be about. A token may speak of other services too: what they let it do is nothing here."""
_CALLS = frozenset({"chat", "completion", "embedding", "feedback", "inference", "response", "route"})
"""What a model is asked by, or told of its answer: to create one, or to write it, is to use a model."""
_CHANGES = frozenset({"create", "write", "update", "delete", "*"})
_ADMIN = frozenset({"admin", "*:*", "admin:*"})


def roles_of(scopes: Iterable[str]) -> frozenset[Role]:
    """The roles of a token with these scopes; one that is included in another of them is left out.

    Scopes are the names of roles, and `resource:action` in the manner of `model:read`; unknown ones are nothing.
    """
    roles = {role for role in map(_role_of, scopes) if role is not None}
    return frozenset(role for role in roles if not any(other.includes(role) for other in roles - {role}))


def _role_of(scope: str) -> Role | None:
    if scope in _ADMIN:
        return Role.ADMIN
    resource, parted, action = scope.partition(":")
    if not parted:
        return _NAMED.get(scope)
    if resource in _CALLS and action in _CHANGES:
        return Role.INFERENCE
    if resource not in _RESOURCES:
        return None
    if action == "read":
        return Role.VIEWER
    return Role.OPERATOR if action in _CHANGES else None


_NAMED = {**{role.value: role for role in Role}, **dict.fromkeys(_CALLS, Role.INFERENCE)}
