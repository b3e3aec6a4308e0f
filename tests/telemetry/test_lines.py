import pytest

from octoroute_py.telemetry.lines import Stamp, escaped


def test_times_are_utc_with_milliseconds() -> None:
    stamp = Stamp()
    assert stamp.at(0.0) == "1970-01-01T00:00:00.000Z"
    assert stamp.at(1_769_847_300.0425) == "2026-01-31T08:15:00.042Z"
    assert stamp.at(1_769_847_300.9999) == "2026-01-31T08:15:00.999Z"
    assert stamp.at(1_769_847_301.5) == "2026-01-31T08:15:01.500Z"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain words, ümlauts and 日本", "plain words, ümlauts and 日本"),
        ("two\nlines\r", "two\\u000alines\\u000d"),
        ("\x1b[31mred\x7f\x9b", "\\u001b[31mred\\u007f\\u009b"),
        ("\u202egnirts\u2028", "\\u202egnirts\\u2028"),
        ("half \ud800", "half \\ud800"),
    ],
)
def test_nothing_in_a_line_can_move_the_cursor_or_end_the_line(text: str, shown: str) -> None:
    assert escaped(text) == shown
