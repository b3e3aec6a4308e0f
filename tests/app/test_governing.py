"""What operators set over the API, as a part of the application."""

from pathlib import Path

from octoroute_py.app.governing import Governing
from octoroute_py.core.catalog import Model, Provider
from octoroute_py.core.registry import Kind
from octoroute_py.storage.db import Database

BELIEVED_S = 1_700_000_000.0


async def test_documents_are_dated_by_the_clock_of_the_journal(tmp_path: Path) -> None:
    # what was measured of a deployment that has ended is read from the rows up to its last change
    database = Database.open("sqlite:///registry.db", base_dir=tmp_path)
    governing = Governing(database, on_change=lambda registry: None, wall=lambda: BELIEVED_S)
    model = Model(id="m", name="m", provider=Provider.CUSTOM)
    try:
        kept = await governing.documents.change(
            lambda desk: desk.create(Kind.MODEL, "m", model, action="model.create"), by="test"
        )
        assert kept.updated_ms == BELIEVED_S * 1000
    finally:
        governing.close()
        database.close()
