"""Why a past request went to this endpoint and no other, as far as its attempts tell it."""

from collections.abc import Iterator, Sequence
from typing import Final

from octoroute_py.config.schema import BalancerName
from octoroute_py.gateway.plan import Needs, Plan
from octoroute_py.gateway.receipt import CandidateFate, CandidateView, EndpointChoice
from octoroute_py.ledger.outcome import Attempt
from octoroute_py.tiers.eligibility import Misfit
from octoroute_py.tiers.endpoint import Endpoint

MOST_TOLD: Final = 100


def chosen_endpoint(
    plan: Plan, needs: Needs, attempts: Sequence[Attempt], balancer: BalancerName
) -> tuple[EndpointChoice, tuple[str, ...]]:
    """The candidates of the plan and what became of each, and the names among whom the first attempt was drawn.

    Pools are asked in their order, and in each the highest priority with somebody available: whoever came before the
    first attempt's endpoint was asked, and could not take it.
    """
    misfits = {endpoint.id: needs.misfit(endpoint.config) for endpoint in plan.endpoints()}
    able = any(found is None for found in misfits.values())  # where nobody fits, all were asked
    first = _first(plan, attempts)
    tried: dict[str, list[int]] = {}
    for number, attempt in enumerate(attempts, 1):
        tried.setdefault(attempt.endpoint_id, []).append(number)
    views = [
        _view(endpoint, place, first=first, misfit=misfits[endpoint.id] if able else None, tried=tried)
        for place, endpoint in _in_order(plan)
    ]
    drawn = [each for each in views if each.part in (CandidateFate.CHOSEN, CandidateFate.NOT_DRAWN)]
    choice = EndpointChoice(
        balancer=balancer.value,
        pool=None if first is None else first[0],
        priority=None if first is None else first[1].priority,
        drawn_among=tuple(each.endpoint for each in drawn),
        candidates=tuple(views[:MOST_TOLD]),
        more=max(0, len(views) - MOST_TOLD),
    )
    return choice, tuple(dict.fromkeys(each.name for each in drawn))


def _first(plan: Plan, attempts: Sequence[Attempt]) -> tuple[int, Endpoint] | None:
    """The pool, by its number, and the endpoint of the first attempt."""
    if attempts:
        for place, pool in enumerate(plan.pools):
            for endpoint in pool.endpoints:
                if endpoint.id == attempts[0].endpoint_id:
                    return place, endpoint
    return None


def _in_order(plan: Plan) -> Iterator[tuple[int, Endpoint]]:
    """Every endpoint once, where it would be asked first."""
    met: set[str] = set()
    for place, pool in enumerate(plan.pools):
        for endpoint in sorted(pool.endpoints, key=lambda each: -each.priority):
            if endpoint.id not in met:
                met.add(endpoint.id)
                yield place, endpoint


def _view(
    endpoint: Endpoint,
    place: int,
    *,
    first: tuple[int, Endpoint] | None,
    misfit: Misfit | None,
    tried: dict[str, list[int]],
) -> CandidateView:
    part, available = _part(endpoint, place, first=first, misfit=misfit)
    return CandidateView(
        endpoint=endpoint.id,
        name=endpoint.name,
        tier=endpoint.tier.value,
        pool=place,
        priority=endpoint.priority,
        weight=endpoint.weight,
        part=part,
        available=available,
        unfit=misfit,
        attempts=tuple(tried.get(endpoint.id, ())),
    )


def _part(
    endpoint: Endpoint, place: int, *, first: tuple[int, Endpoint] | None, misfit: Misfit | None
) -> tuple[CandidateFate, bool | None]:
    """What became of it at the first attempt, and whether it could have taken that."""
    if misfit is not None:
        return CandidateFate.UNFIT, None
    if first is None:
        return CandidateFate.NOT_REACHED, None
    chosen_from, chosen = first
    if endpoint.id == chosen.id:
        return CandidateFate.CHOSEN, True
    if place == chosen_from and endpoint.priority == chosen.priority:
        return CandidateFate.NOT_DRAWN, None
    before = (place, -endpoint.priority) < (chosen_from, -chosen.priority)
    return (CandidateFate.PASSED_OVER, False) if before else (CandidateFate.NOT_REACHED, None)
