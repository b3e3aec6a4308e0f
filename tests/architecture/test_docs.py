"""What the documents say about the code is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.core.words import Tier
from tests.fakes.repository import ROOT, repository_files, rooms

FLAG = re.compile(r"(?<![\w-])--?[a-z][a-z-]*")


def documents() -> list[Path]:
    return [path for path in repository_files() if path.suffix == ".md"]


def documented_commands() -> dict[str, set[str]]:
    """Each command of the README's table with the flags shown there; "" is `octoroute` alone."""
    commands: dict[str, set[str]] = {}
    for row in re.findall(r"^\| `octoroute ?([^`]*)`", (ROOT / "README.md").read_text(), re.MULTILINE):
        name = re.match(r"\[?(\w*)", row)
        commands.setdefault(name[1] if name else "", set()).update(FLAG.findall(row))
    return commands


def anchors(path: Path) -> set[str]:
    """The anchors of a document's headings, as code hosts build them."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_room_stands_in_the_table_of_the_house() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    table = {
        name.removesuffix("/").removesuffix(".py") for name in re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE)
    }
    assert table == set(rooms())


def test_local_links_lead_somewhere() -> None:
    broken = []
    for document in documents():
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / document).read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            path = ROOT / document.parent / name if name else ROOT / document
            if not path.exists() or (anchor and anchor not in anchors(path)):
                broken.append(f"{document}: {target}")
    assert broken == []


def test_paths_named_in_the_readme_exist() -> None:
    named = re.findall(
        r"(?<![\w.-])(?:\./)?((?:scripts|docs|deploy|tests)/[\w./-]*\w)", (ROOT / "README.md").read_text()
    )
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_configurations_in_the_readme_are_valid() -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    whole = [block for block in blocks if "[[models." in block]
    assert len(whole) > 1
    parts = "".join(block for block in blocks if block not in whole)
    for block in whole:
        named = re.findall(r'env = "(\w+)"', block + parts)
        env = {name: f"okr-canary-{number:04}" for number, name in enumerate(named)}
        config = parse_config(block + parts, env=env)
        assert config.routing.default_tier is Tier.BALANCED
        assert config.auth.keys


@pytest.mark.parametrize("name", documented_commands())
def test_documented_commands_and_flags_exist(name: str) -> None:
    argv = [sys.executable, "-m", "octoroute_py", *([name] if name else []), "--help"]
    result = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
    assert documented_commands()[name] <= set(FLAG.findall(result.stdout))
