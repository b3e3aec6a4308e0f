"""What is asked for when a key is made, and whether it makes sense."""

import math
import re
from collections.abc import Collection
from datetime import datetime
from typing import Annotated

import msgspec

from octoroute_py.admission.networks import Networks
from octoroute_py.admission.principal import ANONYMOUS
from octoroute_py.config.schema import Config, KeyConfig
from octoroute_py.core.allowance import Budgets, Grant, Rates
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.money import uusd
from octoroute_py.core.words import Role, Tier
from octoroute_py.manage.key_view import BudgetsView, LimitsView

LONGEST_NAME = 100
MOST_ENTRIES = 100
_LAST_YEAR = 9999
_WORKSPACE = re.compile(r"[\x21-\x7e]{1,128}")


class KeyOrder(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The key that is wanted; what is left out is open, or as the configuration has it. `expires_at` has a time zone.

    Budgets are USD.
    """

    name: Annotated[
        str, msgspec.Meta(extra_json_schema={"minLength": 1, "maxLength": LONGEST_NAME, "pattern": r"^\S(.*\S)?$"})
    ]
    role: Role = Role.INFERENCE
    workspaces: tuple[str, ...] | None = None
    tiers: tuple[Tier, ...] | None = None
    endpoints: tuple[str, ...] | None = None
    networks: tuple[str, ...] | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    limits: LimitsView = LimitsView()
    budgets: BudgetsView = BudgetsView()


class Known(msgspec.Struct, frozen=True):
    """What an order is held against: names of keys that are not issued ones, and names and ids of endpoints."""

    key_names: frozenset[str]
    endpoints: frozenset[str]


def known_in(config: Config, generated: KeyConfig | None = None) -> Known:
    """What a configuration knows, and the key that a first start made."""
    names = {key.name for key in (*config.auth.keys, generated) if key is not None} | {ANONYMOUS}
    return Known(frozenset(names), frozenset(word for each in config.endpoints for word in (each.id, each.name)))


def granted(order: KeyOrder, known: Known, *, wall_s: float) -> Grant:
    """What the key may do beyond its role. Raises BadRequest that names the field to blame."""
    _check_name(order.name, known.key_names)
    if order.role is Role.ADMIN and order.workspaces is not None:
        raise BadRequest("An admin's key cannot be bound to workspaces.", param="workspaces")
    for field in ("workspaces", "tiers", "endpoints", "networks"):
        _check_entries(field, getattr(order, field))
    if not all(_WORKSPACE.fullmatch(name) for name in order.workspaces or ()):
        raise BadRequest("A workspace is 1 to 128 visible ASCII characters.", param="workspaces")
    unknown = [name for name in order.endpoints or () if name not in known.endpoints]
    if unknown:
        raise BadRequest(f"No endpoint has the name or id {_quoted(unknown)}.", param="endpoints")
    return Grant(
        workspaces=order.workspaces,
        tiers=order.tiers,
        endpoints=order.endpoints,
        networks=None if order.networks is None else tuple(map(_network, order.networks)),
        expires_at_s=_end(order.expires_at, wall_s),
        rates=_rates(order.limits),
        budgets=_budgets(order.budgets),
    )


def _check_name(name: str, taken: Collection[str]) -> None:
    if not 1 <= len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise BadRequest(
            f"A name is 1 to {LONGEST_NAME} printable characters without blanks around them.", param="name"
        )
    if name in taken:
        raise name_taken()


def name_taken() -> BadRequest:
    """Another key has the name that is asked for."""
    return BadRequest("Another key has this name.", param="name", code="name_taken", status=409)


def _check_entries(field: str, entries: tuple[str, ...] | None) -> None:
    if entries is None:
        return
    if not entries:
        raise BadRequest("An empty list would allow nothing; leave it out to allow everything.", param=field)
    if len(entries) > MOST_ENTRIES:
        raise BadRequest(f"At most {MOST_ENTRIES} entries.", param=field)
    if len(set(entries)) < len(entries):
        raise BadRequest("An entry stands there twice.", param=field)


def _network(text: str) -> str:
    try:
        return str(Networks((text,)))
    except ValueError:
        raise BadRequest(
            f"{_quoted([text])} is no network; write 10.0.0.0/8, 2001:db8::/32 or one address.", param="networks"
        ) from None


def _end(at: datetime | None, wall_s: float) -> float | None:
    if at is None:
        return None
    if at.timestamp() <= wall_s:
        raise BadRequest("This time is over already.", param="expiresAt")
    if at.year >= _LAST_YEAR:
        raise BadRequest("A key without an end needs no expiresAt.", param="expiresAt")
    return at.timestamp()


def _rates(limits: LimitsView) -> Rates:
    return Rates(
        requests_per_window=limits.requests_per_minute,
        tokens_per_minute=limits.tokens_per_minute,
        max_concurrent=limits.max_concurrent,
    )


def _budgets(budgets: BudgetsView) -> Budgets:
    return Budgets(
        daily_uusd=_uusd(budgets.daily),
        weekly_uusd=_uusd(budgets.weekly),
        monthly_uusd=_uusd(budgets.monthly),
        per_request_uusd=_uusd(budgets.per_request),
    )


def _uusd(usd: float | None) -> int | None:
    if usd is not None and not math.isfinite(usd):
        raise BadRequest("A budget is a number of USD.", param="budgets")
    return uusd(usd)


def _quoted(words: list[str]) -> str:
    """Some of the words, fit for a message."""
    shown = [repr(word[:LONGEST_NAME]) for word in words[:3]]
    return ", ".join(shown) + (" and others" if len(words) > len(shown) else "")
