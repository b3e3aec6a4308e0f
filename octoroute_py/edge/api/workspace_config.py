"""A workspace's configuration as JSON: read in both documented spellings, told in the first of them.

Money is USD, `maxLatency` milliseconds, `minSuccessRate` a share from 0 to 1. What stands as null is not given.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from octoroute_py.config.keeping import MOST_USD
from octoroute_py.config.problems import did_you_mean
from octoroute_py.core.allowance import Budgets, Rates, WorkspacePolicy
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.money import usd, uusd
from octoroute_py.edge.api.wire import decode

T = TypeVar("T")

Usd = Annotated[float, Meta(ge=0, le=MOST_USD)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=1, le=10**12)]
Words = Annotated[list[Annotated[str, Meta(max_length=500)]], Meta(max_length=1000)]


class BudgetLimits(Struct, forbid_unknown_fields=True, rename="camel"):
    """`budgetLimits`."""

    daily: Usd | None = None
    daily_limit: Usd | None = None
    weekly: Usd | None = None
    weekly_limit: Usd | None = None
    monthly: Usd | None = None
    monthly_limit: Usd | None = None
    per_request: Usd | None = None
    cost_per_request: Usd | None = None


class QualityRequirements(Struct, forbid_unknown_fields=True, rename="camel"):
    """`qualityRequirements`."""

    min_success_rate: Share | None = None
    max_latency: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    min_quality_score: Annotated[float, Meta(ge=0, le=1000)] | None = None
    require_human_review: bool | None = None


class RateLimits(Struct, forbid_unknown_fields=True, rename="camel"):
    """`rateLimits`."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    max_concurrent: Count | None = None


class WorkspaceConfig(Struct, forbid_unknown_fields=True, rename="camel"):
    """The whole body; `workspaceId` may be there if it is the path's."""

    workspace_id: str | None = None
    model_restrictions: Words | None = None
    restriction_mode: str | None = None
    budget_limits: BudgetLimits | None = None
    quality_requirements: QualityRequirements | None = None
    compliance_requirements: Words | None = None
    rate_limits: RateLimits | None = None


_PARTS: Mapping[str, type[Struct]] = {
    "budgetLimits": BudgetLimits,
    "qualityRequirements": QualityRequirements,
    "rateLimits": RateLimits,
}


def read_policy(body: bytes, workspace: str) -> WorkspacePolicy:
    """The policy that a body asks for. Raises BadRequest, with the field to blame as `param`."""
    _refuse_unknown(decode(body, object))
    given = decode(body, WorkspaceConfig)
    if given.workspace_id not in (None, workspace):
        raise BadRequest("The workspace in the body is another one than in the path.", param="workspaceId")
    quality = given.quality_requirements or QualityRequirements()
    return WorkspacePolicy(
        restrictions=_words(given.model_restrictions, "modelRestrictions"),
        deny=_denies(given),
        rates=_rates(given.rate_limits or RateLimits()),
        budgets=_budgets(given.budget_limits or BudgetLimits()),
        max_latency_ms=quality.max_latency,
        min_success_rate=quality.min_success_rate,
        min_quality_score=quality.min_quality_score,
        require_human_review=quality.require_human_review or False,
        compliance=_tags(_words(given.compliance_requirements, "complianceRequirements") or ()),
    )


class BudgetLimitsView(Struct, frozen=True, kw_only=True, rename="camel"):
    """The budgets there are, in USD."""

    daily: float | UnsetType
    weekly: float | UnsetType
    monthly: float | UnsetType
    per_request: float | UnsetType


class QualityView(Struct, frozen=True, kw_only=True, rename="camel"):
    """What is asked of models."""

    min_success_rate: float | UnsetType
    max_latency: float | UnsetType
    min_quality_score: float | UnsetType
    require_human_review: bool | UnsetType


class RateLimitsView(Struct, frozen=True, kw_only=True, rename="camel"):
    """The limits there are."""

    requests_per_minute: int | UnsetType
    tokens_per_minute: int | UnsetType
    max_concurrent: int | UnsetType


class PolicyView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A workspace's configuration; sent back it means the same. What is not there does not restrict."""

    model_restrictions: tuple[str, ...] | UnsetType
    restriction_mode: Literal["allow", "deny"] | UnsetType
    budget_limits: BudgetLimitsView
    quality_requirements: QualityView
    compliance_requirements: tuple[str, ...]
    rate_limits: RateLimitsView


def policy_view(policy: WorkspacePolicy) -> PolicyView:
    """The policy as it is told."""
    restricted = policy.restrictions is not None
    return PolicyView(
        model_restrictions=_told(policy.restrictions),
        restriction_mode=("deny" if policy.deny else "allow") if restricted else UNSET,
        budget_limits=BudgetLimitsView(
            daily=_told(usd(policy.budgets.daily_uusd)),
            weekly=_told(usd(policy.budgets.weekly_uusd)),
            monthly=_told(usd(policy.budgets.monthly_uusd)),
            per_request=_told(usd(policy.budgets.per_request_uusd)),
        ),
        quality_requirements=QualityView(
            min_success_rate=_told(policy.min_success_rate),
            max_latency=_told(policy.max_latency_ms),
            min_quality_score=_told(policy.min_quality_score),
            require_human_review=policy.require_human_review or UNSET,
        ),
        compliance_requirements=policy.compliance,
        rate_limits=RateLimitsView(
            requests_per_minute=_told(policy.rates.requests_per_window),
            tokens_per_minute=_told(policy.rates.tokens_per_minute),
            max_concurrent=_told(policy.rates.max_concurrent),
        ),
    )


def shown_policy(policy: WorkspacePolicy) -> dict[str, object]:
    """The policy as it is told, member by member."""
    shown: dict[str, object] = msgspec.to_builtins(policy_view(policy))
    return shown


def _refuse_unknown(body: object) -> None:
    if not isinstance(body, dict):
        raise BadRequest("The body must be an object.")
    _refuse_others(body, WorkspaceConfig, "")
    for name, shape in _PARTS.items():
        part = body.get(name)
        if isinstance(part, dict):
            _refuse_others(part, shape, f"{name}.")


def _refuse_others(body: Mapping[str, Any], shape: type[Struct], where: str) -> None:
    known = [field.encode_name for field in msgspec.structs.fields(shape)]
    for name in body:
        if name not in known:
            shown = "".join(char if char.isprintable() else "?" for char in name[:64])
            hint = _nearest(shown, known) or f"known are {', '.join(known)}."
            raise BadRequest(f"'{where}{shown}' is not known; {hint}", param=f"{where}{shown}")


def _nearest(word: str, known: list[str]) -> str | None:
    lower = {name.lower(): name for name in known}
    hint = did_you_mean(word, lower)
    return None if hint is None else next(hint.replace(low, name) for low, name in lower.items() if f'"{low}"' in hint)


def _words(given: list[str] | None, name: str) -> tuple[str, ...] | None:
    """The words without the blanks around them, each once."""
    if given is None:
        return None
    words = [word.strip() for word in given]
    for at, word in enumerate(words):
        if not word or not word.isprintable():
            raise BadRequest(f"'{name}' holds what is no visible text.", param=f"{name}[{at}]")
    return tuple(dict.fromkeys(words))


def _tags(words: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(word.lower() for word in words))


def _denies(given: WorkspaceConfig) -> bool:
    mode = given.restriction_mode
    if mode is None:
        return False
    if mode not in ("allow", "deny"):
        raise BadRequest("'restrictionMode' must be allow or deny.", param="restrictionMode")
    if given.model_restrictions is None:
        raise BadRequest("'restrictionMode' says nothing without 'modelRestrictions'.", param="restrictionMode")
    return mode == "deny"


def _rates(given: RateLimits) -> Rates:
    return Rates(
        requests_per_window=given.requests_per_minute,
        tokens_per_minute=given.tokens_per_minute,
        max_concurrent=given.max_concurrent,
    )


def _budgets(given: BudgetLimits) -> Budgets:
    return Budgets(
        daily_uusd=_one_of(daily=given.daily, dailyLimit=given.daily_limit),
        weekly_uusd=_one_of(weekly=given.weekly, weeklyLimit=given.weekly_limit),
        monthly_uusd=_one_of(monthly=given.monthly, monthlyLimit=given.monthly_limit),
        per_request_uusd=_one_of(perRequest=given.per_request, costPerRequest=given.cost_per_request),
    )


def _one_of(**spellings: float | None) -> int | None:
    """The one amount that is given, in micro-USD."""
    given = {name: amount for name, amount in spellings.items() if amount is not None}
    if len(given) > 1:
        first, second = given
        raise BadRequest(f"'{first}' and '{second}' mean the same; give one of them.", param=f"budgetLimits.{second}")
    return uusd(next(iter(given.values()), None))


def _told(value: T | None) -> T | UnsetType:
    return UNSET if value is None else value
