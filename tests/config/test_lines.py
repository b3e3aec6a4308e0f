"""The line of every place in a TOML text."""

from collections.abc import Iterator

import tomli
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.lines import locate
from octoroute_py.config.problems import Where

TEXT = '''\
# a comment = 1
top = """
[not.a.table]
""""
"quoted key" = 'x # [y]'
[a]          # comment
b.c = 1
list = [
  1,   # one ]
  { x = 2, y = [ "]", '}' ] },
  [
    3 ]
]
[[a.rows]]
name = "first"
[a.rows.sub]
deep = 1979-05-27 07:32:00
[[a.rows]]
name = "second"
[[a.rows.inner]]
z = 1
'''


def test_every_place_has_its_line() -> None:
    lines = locate(TEXT)
    assert lines[("top",)] == 2
    assert lines[("quoted key",)] == 5
    assert lines[("a",)] == 6
    assert lines[("a", "b")] == lines[("a", "b", "c")] == 7
    assert lines[("a", "list")] == 8
    assert lines[("a", "list", 0)] == 9
    assert lines[("a", "list", 1, "x")] == lines[("a", "list", 1, "y", 1)] == 10
    assert lines[("a", "list", 2)] == 11
    assert lines[("a", "list", 2, 0)] == 12
    assert lines[("a", "rows", 0)] == 14
    assert lines[("a", "rows", 0, "name")] == 15
    assert lines[("a", "rows", 0, "sub", "deep")] == 17
    assert lines[("a", "rows", 1)] == 18
    assert lines[("a", "rows", 1, "inner", 0, "z")] == 21


def places(value: object, where: Where = ()) -> Iterator[Where]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*where, key)
            yield from places(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield (*where, index)
            yield from places(item, (*where, index))


def test_no_place_of_the_document_is_missing() -> None:
    assert set(places(tomli.loads(TEXT))) <= locate(TEXT).keys()


pieces = st.sampled_from(
    [
        "[a]",
        "[[a.b]]",
        "[",
        "]",
        "{",
        "}",
        "=",
        ",",
        ".",
        "x",
        '"k"',
        "'k'",
        '"""',
        "'''",
        "\\",
        "#",
        "\n",
        " ",
        "1",
        "é",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(pieces, max_size=40).map("".join)))
def test_any_text_is_walked_without_harm_and_valid_text_completely(text: str) -> None:
    lines = locate(text)
    try:
        document = tomli.loads(text)
    except ValueError:
        return
    assert all(1 <= line <= text.count("\n") + 1 for line in lines.values())
    explicit = {place for place in places(document) if not any(place == other[: len(place)] for other in lines)}
    assert not explicit


def test_nesting_beyond_reason_is_walked_without_harm() -> None:
    assert locate("a = " + "[" * 50_000)[("a",)] == 1
