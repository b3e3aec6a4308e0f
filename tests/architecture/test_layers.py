"""Rooms import only what the house allows; the contracts stand in pyproject.toml."""

import subprocess
import sys
import tomllib
from pathlib import Path

from tests.fakes.repository import ROOT, rooms


def test_every_import_contract_is_kept() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_room_has_its_layer() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    placed = {room.strip(" ()") for layer in layers for room in layer.split("|")}
    assert set(rooms()) <= placed
