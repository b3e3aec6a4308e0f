"""What tokens cost, in exact integers: prices are pico-USD a token, sums are rounded to micro-USD once.

USD per million tokens is micro-USD per token. Six more places are kept, which is more than any provider's price has.
"""

from collections.abc import Iterable
from typing import Final

from octoroute_py.config.schema import Config, EndpointConfig
from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Tier

_PICO_IN_MICRO: Final = 1_000_000
_HALF_MICRO: Final = _PICO_IN_MICRO // 2
_DEEP: Final = Tier.DEEP  # reading a member of an enum costs more than the rest of a price


def has_prices(endpoint: EndpointConfig) -> bool:
    """Whether it is known what the endpoint's tokens cost; a price of 0 is one too."""
    return endpoint.input_cost_per_mtok is not None or endpoint.output_cost_per_mtok is not None


def cost_uusd(endpoint: EndpointConfig, usage: Usage) -> int:
    """The price of one attempt, rounded half up; 0 for an endpoint without prices.

    Cached tokens cost the cached price where there is one, else as much as the others.
    """
    dear, out = endpoint.input_cost_per_mtok, endpoint.output_cost_per_mtok
    if dear is None and out is None:
        return 0
    pico = usage.prompt * _pico(dear) + usage.completion * _pico(out)
    cheap = endpoint.cached_input_cost_per_mtok
    if usage.cached and cheap is not None and dear is not None:
        pico += min(usage.cached, usage.prompt) * (_pico(cheap) - _pico(dear))
    return (pico + _HALF_MICRO) // _PICO_IN_MICRO


def reserve_uusd(endpoint: EndpointConfig, prompt_tokens: int, output_tokens: int) -> int:
    """The most that an attempt of so many tokens can cost, rounded up, whatever part of its prompt is cached."""
    pico = prompt_tokens * _prompt_pico(endpoint) + output_tokens * _pico(endpoint.output_cost_per_mtok)
    return -(-pico // _PICO_IN_MICRO)


def dearest(endpoints: Iterable[EndpointConfig]) -> tuple[EndpointConfig, ...]:
    """Few endpoints, of which one needs the largest reserve of all, whatever the prompt and the limit asked for."""
    return _outermost(endpoints, 1)


def cheapest(endpoints: Iterable[EndpointConfig]) -> tuple[EndpointConfig, ...]:
    """Few endpoints, of which one needs the smallest reserve of all, whatever the prompt and the limit asked for."""
    return _outermost(endpoints, -1)


def _outermost(endpoints: Iterable[EndpointConfig], sign: int) -> tuple[EndpointConfig, ...]:
    """Those that no other surpasses in both prices and in its limit, in the direction of `sign`.

    Without a limit the tier has one: those of another tier are compared with none, nor are they with limited ones.
    """
    kept: dict[tuple[Tier, bool], dict[tuple[int, int, int], EndpointConfig]] = {}
    for each in endpoints:
        group = kept.setdefault((each.tier, each.max_tokens is None), {})
        group[sign * _prompt_pico(each), sign * _pico(each.output_cost_per_mtok), sign * (each.max_tokens or 0)] = each
    found: list[EndpointConfig] = []
    for group in kept.values():
        outer: list[tuple[int, int, int]] = []
        for one in sorted(group, reverse=True):  # whoever surpasses another comes before it
            if not any(all(a >= b for a, b in zip(other, one, strict=True)) for other in outer):
                outer.append(one)
                found.append(group[one])
    return tuple(found)


def baseline_price(config: Config) -> EndpointConfig | None:
    """The endpoint whose prices "all deep" means: of those in deep with prices the highest priority, first in the file.

    None when no deep endpoint has prices.
    """
    priced = [endpoint for endpoint in config.endpoints if endpoint.tier is Tier.DEEP and has_prices(endpoint)]
    return max(priced, key=lambda endpoint: endpoint.priority, default=None)


def baseline_uusd(usage: Usage, *, tier: Tier, paid_uusd: int, deep: EndpointConfig | None) -> int:
    """What an answer of so many tokens would have cost in deep: at the prices of `deep`, 0 without such an endpoint.

    One that did come from deep costs there what was paid for it.
    """
    if tier is _DEEP:
        return paid_uusd
    return 0 if deep is None else cost_uusd(deep, usage)


def _cached_price(endpoint: EndpointConfig) -> float:
    """The cached price where it is used at all: an endpoint without an input price charges for no prompt."""
    return 0.0 if endpoint.input_cost_per_mtok is None else endpoint.cached_input_cost_per_mtok or 0.0


def _prompt_pico(endpoint: EndpointConfig) -> int:
    """The most that a token of a prompt can cost."""
    return _pico(max(endpoint.input_cost_per_mtok or 0.0, _cached_price(endpoint)))


def _pico(usd_per_mtok: float | None) -> int:
    return round(usd_per_mtok * 1e6) if usd_per_mtok else 0
