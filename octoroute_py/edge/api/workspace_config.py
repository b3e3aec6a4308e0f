"""A workspace's configuration as JSON: read in both documented spellings, told in the first of them.

Money is USD, `maxLatency` milliseconds, `minSuccessRate` a share from 0 to 1. What stands as null is not given.
"""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from octoroute_py.config.problems import did_you_mean
from octoroute_py.core.allowance import Budgets, Rates, WorkspacePolicy
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.money import usd, uusd
from octoroute_py.edge.api.wire import decode

Usd = Annotated[float, Meta(ge=0, le=1e9)]
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


def shown_policy(policy: WorkspacePolicy) -> dict[str, object]:
    """The policy as it is told; sent back it means the same."""
    shown: dict[str, object] = {}
    if policy.restrictions is not None:
        shown["modelRestrictions"] = list(policy.restrictions)
        shown["restrictionMode"] = "deny" if policy.deny else "allow"
    shown["budgetLimits"] = _given(
        daily=usd(policy.budgets.daily_uusd),
        weekly=usd(policy.budgets.weekly_uusd),
        monthly=usd(policy.budgets.monthly_uusd),
        perRequest=usd(policy.budgets.per_request_uusd),
    )
    shown["qualityRequirements"] = _given(
        minSuccessRate=policy.min_success_rate,
        maxLatency=policy.max_latency_ms,
        minQualityScore=policy.min_quality_score,
        requireHumanReview=policy.require_human_review or None,
    )
    shown["complianceRequirements"] = list(policy.compliance)
    shown["rateLimits"] = _given(
        requestsPerMinute=policy.rates.requests_per_window,
        tokensPerMinute=policy.rates.tokens_per_minute,
        maxConcurrent=policy.rates.max_concurrent,
    )
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


def _given(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}
