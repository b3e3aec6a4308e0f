"""Whose request it is, and which endpoints its key and its workspace let it go to (contract §7)."""

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from octoroute_py.admission.principal import Principal
from octoroute_py.config.schema import EndpointConfig
from octoroute_py.core.allowance import DEFAULT_WORKSPACE, Grant, WorkspacePolicy
from octoroute_py.core.errors import Denied
from octoroute_py.tiers.eligibility import Quality, granted, permitted

MOST_REMEMBERED: Final = 4096
"""Scopes kept ready; more different ones than this are worked out again."""
_NO_GRANT = Grant()
_NO_POLICY = WorkspacePolicy()


class Scope(msgspec.Struct, frozen=True):
    """Where requests of one key in one workspace may go, by endpoint ids; `quality` None asks for none.

    `granted` are those that the key alone lets through, for an error to tell who is in the way.
    """

    allowed: frozenset[str]
    granted: frozenset[str]
    quality: Quality | None = None

    def allows(self, config: EndpointConfig) -> bool:
        """Whether a request may go to this endpoint."""
        return config.id in self.allowed

    def denied(self, asked: Iterable[EndpointConfig], what: str) -> Denied:
        """The refusal of what a client asked for, whose endpoints are `asked`, in words that end with `what`."""
        by_key = self.granted.isdisjoint(endpoint.id for endpoint in asked)
        who = "key" if by_key else "workspace"
        return Denied(f"This {who} may not use {what}.", code="permission_denied", status=403)


class Scopes:
    """The scopes for the endpoints of one snapshot, each worked out once."""

    __slots__ = ("_endpoints", "_known")

    def __init__(self, endpoints: Sequence[EndpointConfig]) -> None:
        self._endpoints = tuple(endpoints)
        self._known: dict[tuple[object, ...], Scope | None] = {}

    def of(self, policy: WorkspacePolicy | None, grant: Grant | None) -> Scope | None:
        """Where a key with this grant may go in a workspace with this policy; None means anywhere."""
        if policy is None:
            if grant is None:
                return None
            policy = _NO_POLICY
        grant = grant or _NO_GRANT
        # Only what narrows is looked at: budgets and rates change nothing of where a request may go.
        asked = (
            grant.tiers,
            grant.endpoints,
            policy.restrictions,
            policy.deny,
            policy.compliance,
            policy.max_latency_ms,
            policy.min_success_rate,
        )
        if asked in self._known:
            return self._known[asked]
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        scope = self._known[asked] = self._compile(policy, grant)
        return scope

    def _compile(self, policy: WorkspacePolicy, grant: Grant) -> Scope | None:
        by_key = frozenset(each.id for each in self._endpoints if granted(grant, each))
        allowed = frozenset(each.id for each in self._endpoints if each.id in by_key and permitted(policy, each))
        quality = _quality(policy)
        if quality is None and len(allowed) == len(self._endpoints):
            return None
        return Scope(allowed, by_key, quality)


def workspace_of(principal: Principal, hint: str | None) -> str:
    """The workspace of a request: the one it names if its key may, else the key's first, else the default one.

    Raises Denied (403) for a workspace that is not the key's, whether there is one of that name or not.
    """
    own = principal.workspaces
    if own is None:
        return DEFAULT_WORKSPACE if hint is None else hint
    if hint is None and own:
        return own[0]
    if hint is None or hint not in own:
        raise Denied("This key may not use this workspace.", code="permission_denied", status=403)
    return hint


def _quality(policy: WorkspacePolicy) -> Quality | None:
    if policy.max_latency_ms is None and policy.min_success_rate is None:
        return None
    max_latency_s = None if policy.max_latency_ms is None else policy.max_latency_ms / 1000
    return Quality(max_latency_s=max_latency_s, min_success_rate=policy.min_success_rate)
