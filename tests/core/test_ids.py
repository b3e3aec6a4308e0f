import re

from octoroute_py.core.ids import new_request_id, safe_request_id


def test_ids_are_32_hex_digits_and_no_two_alike() -> None:
    ids = [new_request_id() for _ in range(10_000)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", id) and safe_request_id(id.encode()) == id for id in ids)


def test_later_ids_sort_behind_earlier_ones() -> None:
    """The journal's index grows at its end: ids that fell anywhere would touch a page each."""
    first = new_request_id(now=lambda: 1_790_000_000.001)
    second = new_request_id(now=lambda: 1_790_000_000.002)
    assert first < second
    assert int(first[:12], 16) == 1_790_000_000_001
    assert first[12:] != second[12:]
