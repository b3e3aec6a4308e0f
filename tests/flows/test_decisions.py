"""A dry run tells what happens to the same request, in random worlds; scripts/registry/decisions.py asks for more."""

from pathlib import Path

from tests.fakes.decisions import compare


async def test_dry_runs_and_live_requests_come_to_the_same(tmp_path: Path) -> None:
    found = await compare(requests=300, seed=5, folder=tmp_path)
    assert found.wrong == []
    assert found.requests == 300
    assert min(found.by[each] for each in ("rule", "client", "strategy")) > 0
    assert len(found.rules) > 10
