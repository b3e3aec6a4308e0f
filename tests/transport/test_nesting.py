from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.transport.nesting import has_more_openers


@given(text=st.text(alphabet='{}[]"a', max_size=40).map(str.encode), limit=st.integers(0, 20))
def test_openers_are_counted_up_to_the_limit(text: bytes, limit: int) -> None:
    assert has_more_openers(text, limit=limit) == (text.count(b"{") + text.count(b"[") > limit)
