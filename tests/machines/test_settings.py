"""File, kept settings and settings for now against a plain model, in any order of edits, reloads and changes."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from octoroute_py.app.in_force import Layers
from octoroute_py.app.reloading import patched
from octoroute_py.config.load import parse_config
from octoroute_py.config.overlay import overlaid, read_patch
from octoroute_py.config.schema import Config
from octoroute_py.core.settings import NO_SETTINGS
from octoroute_py.edge.admin.config import Shown, shown_settings
from tests.fakes.configs import MINIMAL

BASE = parse_config(MINIMAL)
IDS = [each.id for each in BASE.endpoints]
VALUES = {
    "max_quality_loss": st.sampled_from([0.0, 0.25, 1.0]),
    "circuit_breaker_threshold": st.integers(1, 4),
    "strategy": st.sampled_from(["rule", "llm", "hybrid"]),
    "default_tier": st.sampled_from(["fast", "deep"]),
    "weights": st.dictionaries(st.sampled_from(IDS), st.sampled_from([0.5, 2.0, 7.0]), min_size=1),
}
FILES = st.fixed_dictionaries({}, optional=VALUES)
CHANGES = st.fixed_dictionaries(
    {},
    optional={name: values | st.none() for name, values in VALUES.items() if name != "weights"}
    | {"weights": st.none() | st.dictionaries(st.sampled_from(IDS), st.none() | st.sampled_from([0.5, 2.0, 7.0]))},
)
Flat = dict[str, object]


def flat(values: Flat) -> Flat:
    """One name for each value, also for each weight."""
    found = {name: value for name, value in values.items() if name != "weights"}
    weights = values.get("weights", {})
    if weights is None:
        return {**found, **dict.fromkeys(f"weight {id_}" for id_ in IDS)}
    assert isinstance(weights, dict)
    return found | {f"weight {id_}": weight for id_, weight in weights.items()}


def told(shown: Shown) -> Flat:
    """The same of what is in force."""
    found: Flat = {name: getattr(shown, name) for name in VALUES if name != "weights"}
    return found | {f"weight {id_}": weight for id_, weight in shown.weights.items()}


class SettingsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers(file=BASE)
        self.on_disk: Config = BASE
        self.kept: Flat = {}
        self.now: Flat = {}

    @rule(values=FILES)
    def edit(self, values: Flat) -> None:
        self.on_disk = overlaid(BASE, values)

    @rule()
    def reload(self) -> None:
        self.layers = Layers(file=self.on_disk, kept=self.layers.kept)
        self.now = {}

    @rule()
    def restart(self) -> None:
        self.reload()

    @rule(values=CHANGES, persist=st.booleans())
    def change(self, values: Flat, persist: bool) -> None:
        self.layers = patched(self.layers, read_patch(self.layers.file, values), persist=persist)
        for name, value in flat(values).items():
            self.now.pop(name, None)
            layer = self.kept if persist else self.now
            layer.pop(name, None)
            if value is not None:
                layer[name] = value

    @invariant()
    def each_value_is_that_of_the_uppermost_layer_that_has_it(self) -> None:
        of_file = told(shown_settings(self.layers.file))
        assert told(shown_settings(self.layers.whole())) == {**of_file, **self.kept, **self.now}
        assert set(self.layers.runtime.names()) == {_name(name) for name in self.now}
        assert (self.layers.kept == NO_SETTINGS) is (self.kept == {})


def _name(name: str) -> str:
    return f'weights["{name.removeprefix("weight ")}"]' if name.startswith("weight ") else name


SettingsMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=15, deadline=None)
TestSettings = SettingsMachine.TestCase
