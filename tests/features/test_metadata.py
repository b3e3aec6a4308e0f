import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.features.metadata import as_text, read_metadata


def read(text: str) -> dict[str, str]:
    return read_metadata(msgspec.Raw(text.encode("utf-8", "surrogatepass")))


def test_texts_booleans_and_numbers_are_texts_and_nothing_else_is_seen() -> None:
    given = '{"a": "x", "b": true, "c": false, "d": 5, "e": -0.5, "f": null, "g": [1], "h": {"i": 1}, "j": ""}'
    assert read(given) == {"a": "x", "b": "true", "c": "false", "d": "5", "e": "-0.5", "j": ""}


ODD = ("null", "5", '"x"', "[]", "{", "{}", "[" * 30_000, '{"a": ' * 9_000, f'{{"a": {"9" * 5_000}}}')


@pytest.mark.parametrize("text", [*ODD, '{"a":[[[[[[[[[[[]]]]]]]]]]]}'], ids=lambda text: text[:20])
def test_what_is_no_object_with_texts_holds_nothing(text: str) -> None:
    assert read(text) == {}


def test_without_metadata_there_is_nothing() -> None:
    assert read_metadata(None) == {}


def test_half_a_surrogate_pair_does_not_hide_the_others() -> None:
    assert read(r'{"a": "\ud800", "b": "x"}')["b"] == "x"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5, "5"),
        (5.0, "5"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (1e300, "1e+300"),
        (2.0**60, "1.152921504606847e+18"),
        (True, "true"),
        (False, "false"),
        ("5.0", "5.0"),
        ("True", "True"),
    ],
)
def test_values_have_one_spelling(value: str | bool | int | float, text: str) -> None:
    assert as_text(value) == text


def test_much_of_it_is_not_read() -> None:
    many = {str(number): number for number in range(1000)}
    assert read(msgspec.json.encode(many).decode()) == {str(number): str(number) for number in range(256)}
    assert read(msgspec.json.encode({"a": "b", "c": "x" * 65_536}).decode()) == {}


@given(st.dictionaries(st.text(max_size=3), st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False), max_size=3))
def test_a_number_is_the_same_text_however_it_came(numbers: dict[str, float]) -> None:
    found = read_metadata(msgspec.Raw(msgspec.json.encode(numbers)))
    finite = {name: number for name, number in numbers.items() if abs(number) < float("inf")}
    assert {name: found[name] for name in finite} == {name: as_text(number) for name, number in finite.items()}
