"""What operators set over the API over the values of the configuration file, each until they take it back."""

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec


class Settings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Values that lie over those of the file; None leaves the file's. Named as in `/admin/config`.

    `weights` are by the id of an endpoint. What may stand here is checked where the file is (`config.overlay`).
    """

    confidence_threshold: float | None = None
    max_uncertainty: float | None = None
    max_quality_loss: float | None = None
    enable_circuit_breaker: bool | None = None
    circuit_breaker_threshold: int | None = None
    strategy: str | None = None
    default_tier: str | None = None
    tier_fallback: str | None = None
    balancer: str | None = None
    weights: Mapping[str, float] = {}

    def plain(self) -> dict[str, object]:
        """The values that are set, by name; `weights` are in a dict of their own."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name)) not in (None, {})}

    def names(self) -> Iterator[str]:
        """Every value that is set, a weight as `weights["<id>"]`."""
        for name in self.plain():
            if name == "weights":
                yield from (f'weights["{id_}"]' for id_ in self.weights)
            else:
                yield name

    def over(self, lower: "Settings") -> "Settings":
        """These values, and where there are none those of `lower`."""
        weights = {**lower.weights, **self.weights}
        return msgspec.structs.replace(lower, **{**self.plain(), "weights": weights})


NO_SETTINGS: Final = Settings()


class SettingsPatch(msgspec.Struct, frozen=True, kw_only=True):
    """A change of settings: those `given` take the place of what was there, and the `dropped` ones are taken away.

    `dropped_weights` are endpoint ids; "weights" in `dropped` means all of them.
    """

    given: Settings = NO_SETTINGS
    dropped: frozenset[str] = frozenset()
    dropped_weights: frozenset[str] = frozenset()

    def applied(self, to: Settings) -> Settings:
        """What the settings are after it."""
        return self.given.over(self.taken_from(to))

    def taken_from(self, settings: Settings) -> Settings:
        """The settings without any that it is about."""
        about = {*self.dropped, *(name for name in self.given.plain() if name != "weights")}
        weights = {
            id_: weight
            for id_, weight in settings.weights.items()
            if "weights" not in about and id_ not in self.dropped_weights and id_ not in self.given.weights
        }
        kept = {name: value for name, value in settings.plain().items() if name not in about and name != "weights"}
        return Settings(**kept, weights=weights)  # type: ignore[arg-type]  # they come from the same fields
