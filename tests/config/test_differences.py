"""What a reload changed is told by dotted paths, never by values."""

import pytest

from octoroute_py.config.differences import changed_paths
from octoroute_py.config.load import parse_config
from tests.fakes.configs import MINIMAL

FILE = parse_config(MINIMAL)


@pytest.mark.parametrize(
    ("more", "paths"),
    [
        ("", ()),
        ("[server]\nport = 4000\n", ("server.port",)),
        ("[limits]\nrequests_per_minute = 3\n", ("limits",)),
        ("[routing.router_timeouts]\nfast = 1\n", ("routing.router_timeouts.fast",)),
        ('[[routing.rules]]\nname = "a"\ntier = "deep"\n', ("routing.rules",)),
        ("[admin]\nport = 4001\n", ("admin",)),
        ('[redis]\nurl = "redis://127.0.0.1/0"\n', ("redis.url",)),
        ("[retry]\nmax_total = 9\n[health]\nenabled = false\n", ("retry.max_total", "health.enabled")),
    ],
)
def test_a_table_is_told_by_its_place(more: str, paths: tuple[str, ...]) -> None:
    assert changed_paths(FILE, parse_config(MINIMAL + more)) == paths


def test_endpoints_are_told_by_their_ids() -> None:
    other = MINIMAL.replace('name = "middle"', 'name = "centre"').replace(
        'name = "large"', 'name = "large"\nweight = 2'
    )
    assert changed_paths(FILE, parse_config(other)) == (
        'models["balanced/middle#1"] (gone)',
        'models["deep/large#1"].weight',
        'models["balanced/centre#1"] (new)',
    )
