"""Levels of single rooms: names of a closed list, words as in log_level."""

import pytest

from octoroute_py.config.load import parse_config
from octoroute_py.config.problems import InvalidConfig
from octoroute_py.config.schema import LogLevel
from tests.fakes.configs import MINIMAL


def test_rooms_may_have_levels_of_their_own() -> None:
    text = '[observability]\nlog_levels = { "octoroute.manage" = "WARN", "octoroute.edge" = "debug" }'
    found = dict(parse_config(MINIMAL + text).observability.log_levels)
    assert found == {"octoroute.edge": LogLevel.DEBUG, "octoroute.manage": LogLevel.WARNING}
    assert parse_config(MINIMAL).observability.log_levels == ()


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ('{ "octoroute.ledgr" = "debug" }', "octoroute.ledger"),
        ('{ "octoroute.edge" = "loud" }', "one of"),
        ('{ "octoroute.edge" = 10 }', "must be a string"),
        ('"debug"', "must be a table"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(levels: str, told: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(MINIMAL + f"[observability]\nlog_levels = {levels}")
    (problem,) = caught.value.problems
    assert problem.path.startswith("observability.log_levels")
    assert told in f"{problem.message} {problem.hint}"
