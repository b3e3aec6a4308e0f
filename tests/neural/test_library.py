"""The package's face: the names of the library, and what importing them costs those who do not use them."""

import subprocess
import sys

import pytest

import octoroute_py.neural as library
from tests.fakes.repository import ROOT

OF_THE_CONTRACT = (
    "Candidate", "FastGRNN", "Router", "RouterConfig", "RoutingDecision", "RoutingRequest", "RoutingResponse",
    "Storage",
)  # fmt: skip


def test_every_name_it_lists_is_there_and_those_of_the_contract_are_among_them() -> None:
    assert set(OF_THE_CONTRACT) <= set(library.__all__)
    for name in library.__all__:
        assert getattr(library, name).__name__ == name


def test_a_name_it_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Ruoter"):
        _ = library.Ruoter


def test_every_error_of_the_router_is_a_router_error() -> None:
    errors = [name for name in library.__all__ if isinstance(getattr(library, name), type)]
    found = [getattr(library, name) for name in errors if issubclass(getattr(library, name), Exception)]
    assert len(found) > 6
    assert all(issubclass(each, library.RouterError) for each in found)


@pytest.mark.parametrize(
    ("statement", "loaded"),
    [
        ("import octoroute_py.neural", []),
        ("import octoroute_py.neural.process", []),
        ("from octoroute_py.neural import Candidate, RouterConfig", ["numpy"]),
        ("from octoroute_py.neural import Router; Router(compiled=False)", ["numpy", "safetensors"]),
    ],
)
def test_what_is_not_used_is_not_loaded(statement: str, loaded: list[str]) -> None:
    heavy = "{'alembic', 'numba', 'numpy', 'safetensors', 'sqlalchemy'}"
    script = f"import sys; {statement}; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == loaded, done.stderr
