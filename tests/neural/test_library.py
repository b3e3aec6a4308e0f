"""The package's face: the names of the library, and what importing them costs those who do not use them."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import octoroute_py.neural as library
from octoroute_py.neural.candidate_file import load_net, shipped
from octoroute_py.neural.router import Router
from octoroute_py.neural.wire import answer
from octoroute_py.training.candidate_default import LONG
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


DOCUMENT = ROOT / "docs/tiny-dancer.md"


def test_the_documents_example_runs_as_it_stands(tmp_path: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{example}"],
        cwd=tmp_path, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"billing-faq (light|heavy) 0\.\d+ [01]\.\d+", first), done.stderr
    assert second.startswith("Statistics(total_routes=1, ")
    assert (tmp_path / "candidates.db").exists()


def test_the_documents_answer_is_the_one_that_its_request_gets() -> None:
    text = DOCUMENT.read_text()
    (request,) = re.findall(r"-d '(\{.*?\})'\n```", text, re.DOTALL)
    (shown,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    found = json.loads(answer(Router(compiled=False), request.encode()).body)
    expected = json.loads(shown)
    assert set(found) == set(expected)
    (decision,), (told,) = found["decisions"], expected["decisions"]
    assert (decision["candidateId"], decision["useLightweight"]) == (told["candidateId"], told["useLightweight"])
    for name in ("confidence", "uncertainty"):
        assert decision[name] == pytest.approx(told[name], abs=5e-4)


def test_the_documents_figures_are_those_of_the_shipped_model() -> None:
    text = DOCUMENT.read_text()
    figures = json.loads(load_net(shipped()).notes["figures"])
    rows = {
        "network": "**network**",
        "network, each candidate alone": "the same network, each candidate alone",
        "logistic regression": "logistic regression on the signals",
        "the world's own truth": "the world's own truth (nothing can be better)",
        f"network, sets of up to {LONG}": f"network, sets of up to {LONG} candidates",
    }
    for name, shown in rows.items():
        row = re.search(rf"^\| {re.escape(shown)} \| \**([\d.]+)\** \| \**([\d.]+)\** \|$", text, re.MULTILINE)
        assert row is not None, name
        assert (float(row[1]), float(row[2])) == (figures[name]["log_loss"], figures[name]["auc"]), name
    assert f"no network | – | {figures['weighted sum']['auc']:g} |" in text
    percents = {name: f"{100 * share:.1f} %" for name, share in figures["defaults"].items()}
    told = re.findall(r"[\d.]+ %", text.partition("With the default thresholds")[2].partition("\n")[0])
    assert told[:4] == [percents[name] for name in ("light", "right", "always", "heavy_let_through")]
