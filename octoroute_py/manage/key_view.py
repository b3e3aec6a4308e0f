"""How a key is shown, in the API, on the command line and in the audit: never what it is known by."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, UnsetType

from octoroute_py.config.keeping import MOST_USD
from octoroute_py.core.allowance import Budgets, Grant, Rates
from octoroute_py.core.clock import iso
from octoroute_py.core.money import usd
from octoroute_py.core.words import Role, Tier
from octoroute_py.storage.keys import KeyRow

_Limit = Annotated[int, msgspec.Meta(ge=1, le=10**12)] | None
_Usd = Annotated[float, msgspec.Meta(ge=0, le=MOST_USD)] | None


class LimitsView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A key's rates; null: those of the configuration hold."""

    requests_per_minute: _Limit = None
    tokens_per_minute: _Limit = None
    max_concurrent: _Limit = None


class BudgetsView(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """A key's budgets in USD; null: none."""

    daily: _Usd = None
    weekly: _Usd = None
    monthly: _Usd = None
    per_request: _Usd = None


class GrantView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What a key may do beyond its role; null leaves a dimension open."""

    workspaces: tuple[str, ...] | None
    tiers: tuple[Tier, ...] | None
    endpoints: tuple[str, ...] | None
    networks: tuple[str, ...] | None
    expires_at: str | None
    limits: LimitsView
    budgets: BudgetsView

    @classmethod
    def of(cls, grant: Grant) -> "GrantView":
        """A grant as it is shown."""
        expires_s = grant.expires_at_s
        return cls(
            workspaces=grant.workspaces,
            tiers=grant.tiers,
            endpoints=grant.endpoints,
            networks=grant.networks,
            expires_at=None if expires_s is None else iso(round(expires_s * 1000)),
            limits=_limits(grant.rates),
            budgets=_budgets(grant.budgets),
        )


class SecretView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of the keys in clear that a key is known by, told apart by its end."""

    last4: str
    created_at: str
    expires_at: str | None


class KeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A key as it is shown; `key` is the key in clear, there once: in the answer that made it.

    `standing`, what it has spent in each period, is told of a single key.
    """

    id: str
    name: str
    role: Role
    status: str
    workspaces: tuple[str, ...] | None
    tiers: tuple[Tier, ...] | None
    endpoints: tuple[str, ...] | None
    networks: tuple[str, ...] | None
    expires_at: str | None
    limits: LimitsView
    budgets: BudgetsView
    created_at: str
    created_by: str
    revoked_at: str | None
    secrets: tuple[SecretView, ...]
    standing: dict[str, Any] | UnsetType = UNSET
    key: str | UnsetType = UNSET


def key_view(row: KeyRow, *, wall_s: float, clear: str | UnsetType = UNSET) -> KeyView:
    """How a key is shown at this time."""
    grant = GrantView.of(row.grant)
    return KeyView(
        **msgspec.structs.asdict(grant),
        id=row.id,
        name=row.name,
        role=row.role,
        status=_status(row, wall_s),
        created_at=iso(row.created_ms),
        created_by=row.created_by,
        revoked_at=None if row.revoked_ms is None else iso(row.revoked_ms),
        secrets=tuple(
            SecretView(
                last4=secret.last4,
                created_at=iso(secret.created_ms),
                expires_at=None if secret.expires_ms is None else iso(secret.expires_ms),
            )
            for secret in row.secrets
        ),
        key=clear,
    )


def _status(row: KeyRow, wall_s: float) -> str:
    if row.revoked_ms is not None:
        return "revoked"
    return "expired" if has_expired(row.grant, wall_s) else "active"


def has_expired(grant: Grant, wall_s: float) -> bool:
    """Whether the time of a key is over."""
    return grant.expires_at_s is not None and grant.expires_at_s <= wall_s


def _limits(rates: Rates) -> LimitsView:
    return LimitsView(
        requests_per_minute=rates.requests_per_window,
        tokens_per_minute=rates.tokens_per_minute,
        max_concurrent=rates.max_concurrent,
    )


def _budgets(budgets: Budgets) -> BudgetsView:
    return BudgetsView(
        daily=usd(budgets.daily_uusd),
        weekly=usd(budgets.weekly_uusd),
        monthly=usd(budgets.monthly_uusd),
        per_request=usd(budgets.per_request_uusd),
    )
