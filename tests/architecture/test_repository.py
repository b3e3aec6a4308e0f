"""The repository holds what it should, and nothing that belongs to one machine or one registry."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.repository import PACKAGE, ROOT, product_modules, repository_files

LOCKS = ("requirements.lock", "requirements-dev.lock", "requirements-build.lock", "requirements-image.lock")
TOP_LEVEL = {
    "pyproject.toml", "config.example.toml", "README.md", "octoroute_py", "tests", "scripts", "docker-compose.yml",
    "Dockerfile", "CHANGELOG.md", "LICENSE", "docs", "deploy", ".ci",
    *LOCKS,
    ".dockerignore", ".env.example", ".gitignore",
}  # fmt: skip
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|farm|root|home/\w+)/")
REGISTRY = re.compile(r"pypi\.(?:org|python)|pythonhosted\.|npmjs\.|crates\.io|--(?:extra-)?index-url")
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|NotImplementedError)\b|not implemented yet", re.IGNORECASE)


def lines_with(pattern: re.Pattern[str], paths: list[Path]) -> list[str]:
    """`path:line: text` of every line that matches, over the files that are text."""
    found = []
    for path in paths:
        try:
            text = (ROOT / path).read_text()
        except UnicodeDecodeError:
            continue
        found += [f"{path}:{n}: {line.strip()}" for n, line in enumerate(text.splitlines(), 1) if pattern.search(line)]
    return found


def lock_of(name: str) -> dict[str, list[str]]:
    """Each pinned package of a lock file (`name==version`) with its hashes."""
    packages: dict[str, list[str]] = {}
    for line in (ROOT / name).read_text().splitlines():
        if found := re.match(r"([a-z0-9][a-z0-9.-]*)==(\S+)", line):
            packages[f"{found[1]}=={found[2]}"] = []
        elif found := re.fullmatch(r"    --hash=sha256:([0-9a-f]{64})( \\)?", line):
            packages[list(packages)[-1]].append(found[1])
        else:
            pytest.fail(f"{name}: neither a pinned package nor a hash: {line!r}")
    return packages


def names_in(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", requirement)[0].lower() for requirement in requirements} - {"octoroute-py"}


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_the_top_level_is_complete_and_holds_nothing_else() -> None:
    assert {path.parts[0] for path in repository_files()} == TOP_LEVEL


def test_no_file_names_a_path_of_one_machine() -> None:
    assert lines_with(MACHINE_PATH, repository_files()) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(REGISTRY, repository_files()) == []


def test_the_product_holds_nothing_unfinished() -> None:
    assert lines_with(UNFINISHED, product_modules()) == []


def test_scripts_can_be_run() -> None:
    scripts = [path for path in repository_files() if path.parts[0] in {"scripts", ".ci"} and not path.suffix]
    assert len(scripts) >= 6
    for path in scripts:
        assert os.access(ROOT / path, os.X_OK), path
        lines = (ROOT / path).read_text().splitlines()
        assert lines[0] == "#!/usr/bin/env bash", path
        assert lines[1].startswith("# "), f"{path} does not say what it does"
        assert any(re.fullmatch(r"set -e?uo pipefail", line) for line in lines), path


def test_every_locked_package_is_pinned_by_hash() -> None:
    for name in LOCKS:
        assert [package for package, hashes in lock_of(name).items() if not hashes] == [], name


def test_the_locks_cover_what_the_project_asks_for(pyproject: dict[str, Any]) -> None:
    base, dev, build, image = ({package.split("==")[0] for package in lock_of(name)} for name in LOCKS)
    project = pyproject["project"]
    assert names_in(project["dependencies"]) <= base
    assert names_in([line for extra in project["optional-dependencies"].values() for line in extra]) <= dev
    served = {*project["optional-dependencies"]} - {"dev", "plots"}
    assert names_in([line for extra in served for line in project["optional-dependencies"][extra]]) <= image
    assert names_in(pyproject["build-system"]["requires"] + pyproject["dependency-groups"]["build"]) <= build


def test_tests_run_on_the_versions_that_are_shipped() -> None:
    base, dev, build, image = (set(lock_of(name)) for name in LOCKS)
    assert base <= image <= dev
    assert {package for package in build if package.split("==")[0] in {line.split("==")[0] for line in dev}} <= dev


def test_the_wheel_holds_the_package_and_nothing_else(tmp_path: Path, pyproject: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
    (wheel,) = tmp_path.iterdir()
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        (metadata,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        fields = Parser().parsestr(archive.read(metadata).decode())
    package = {path for path in repository_files() if path.parts[0] == PACKAGE.name}
    assert names == {path.as_posix() for path in package}
    assert not any(name.endswith(".pth") for name in names)
    assert names_in(fields.get_all("Requires-Dist", [])) >= names_in(pyproject["project"]["dependencies"])
