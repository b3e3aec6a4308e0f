"""An artifact that cannot be used is told in one line, before anything is served (contract §1, §2)."""

from pathlib import Path

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.schema import Config, ShippedArtifact, StrategyName
from octoroute_py.core.errors import ConfigError
from octoroute_py.routing.artifact import artifact_path, load_neural
from tests.fakes.configs import MINIMAL

UNSCORED = [StrategyName.RULE, StrategyName.LLM, StrategyName.TOOL]


def config(strategy: str, artifact: str, *, folder: Path = Path("/nowhere")) -> Config:
    text = MINIMAL.replace('"rule"', f'"{strategy}"') + f'[routing.neural]\nartifact = "{artifact}"\n'
    return parse_config(text, path=folder / "config.toml")


@pytest.mark.parametrize("strategy", UNSCORED)
def test_strategies_without_a_scorer_load_nothing(strategy: StrategyName) -> None:
    assert load_neural(config(strategy, "missing.safetensors")) is None


@pytest.mark.parametrize("strategy", ["neural", "hybrid"])
def test_a_missing_artifact_is_a_problem_of_the_configuration(strategy: str) -> None:
    with pytest.raises(ConfigError, match=r"^routing\.neural\.artifact: /nowhere/own\.safetensors: ") as caught:
        load_neural(config(strategy, "own.safetensors"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\x80\x04N.", b"{}" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_broken_artifact_is_one_too(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "own.safetensors").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^routing\.neural\.artifact: "):
        load_neural(config("neural", "own.safetensors", folder=tmp_path))


def test_a_name_is_a_shipped_artifact_and_anything_else_a_file_beside_the_configuration() -> None:
    assert config("neural", "linear").routing.neural.artifact is ShippedArtifact.LINEAR
    assert config("neural", "default").routing.neural.artifact is ShippedArtifact.DEFAULT
    assert parse_config(MINIMAL).routing.neural.artifact is ShippedArtifact.DEFAULT
    assert config("neural", "./linear").routing.neural.artifact == Path("/nowhere/linear")
    assert artifact_path(ShippedArtifact.LINEAR).name == "linear.safetensors"
