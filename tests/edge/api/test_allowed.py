"""An error about a field tells what may stand there."""

import pytest

from octoroute_py.core.errors import BadRequest
from octoroute_py.edge.api.allowed import allowed
from octoroute_py.edge.api.rules import RuleOrder
from octoroute_py.edge.api.wire import decode

RULE = b'{"name": "x", "targets": [{"modelId": "fast"}], %s}'


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        (
            b'"conditions": {"requestType": ["chats"]}',
            "conditions.requestType[0]",
            "one of completion, chat, embedding",
        ),
        (b'"conditions": {"timeOfDay": {"start": "8", "end": "9"}}', "conditions.timeOfDay.start", "from 00:00 to 23"),
        (b'"id": "a b"', "id", "Expected `str`: Letters, digits and . _ : @ + -."),
    ],
)
def test_a_value_that_may_not_stand_there_is_answered_with_those_that_may(body: bytes, field: str, words: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode(RULE % body, RuleOrder)
    assert caught.value.param == field
    assert words in caught.value.client_message
    assert "regex" not in caught.value.client_message


@pytest.mark.parametrize("place", ["", "nothing", "name.further", "conditions.customConditions.headers[...]"])
def test_nothing_is_said_of_a_place_that_has_no_words(place: str) -> None:
    assert allowed(RuleOrder, place) is None


def test_what_the_decoder_says_well_itself_stays() -> None:
    with pytest.raises(BadRequest, match="Expected `int`, got `float`"):
        decode(RULE % b'"priority": 1.5', RuleOrder)
