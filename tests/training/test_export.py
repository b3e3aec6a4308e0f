"""What is shipped came from the rows its card names; runs only where OCTOROUTE_ROUTING_DATA names their folder."""

from pathlib import Path

import pytest

from octoroute_py.config.load import process_env
from octoroute_py.neural.shipped import shipped_path
from octoroute_py.neural.weights import load
from octoroute_py.training.dataset import read_rows
from octoroute_py.training.export import digest_of

FOLDER = process_env().get("OCTOROUTE_ROUTING_DATA")

pytestmark = [
    pytest.mark.labelled_rows,
    pytest.mark.skipif(not FOLDER, reason="OCTOROUTE_ROUTING_DATA names no folder"),
]


@pytest.fixture(scope="module")
def folder() -> Path:
    assert FOLDER is not None
    return Path(FOLDER)


@pytest.mark.parametrize("name", ["default", "linear"])
def test_the_card_names_the_rows_that_were_learned_from(name: str, folder: Path) -> None:
    rows = read_rows(folder / "train.jsonl.gz")
    card = load(shipped_path(name)).card
    assert card.rows == len(rows)
    assert card.data_digest == digest_of(rows)
