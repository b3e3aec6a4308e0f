"""What decides where a request goes and what it costs cannot be said in another way than the gateway reads it."""

import json

import pytest

from octoroute_py.config.schema import EndpointConfig, TokenLimitField
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Surface, Tier
from octoroute_py.transport.openai import Patched, parse_body, patch


def endpoint(*, max_tokens: int | None = None, field: TokenLimitField = TokenLimitField.MAX_TOKENS) -> EndpointConfig:
    return EndpointConfig(
        id="fast/q#1",
        tier=Tier.FAST,
        name="q",
        model="q",
        base_url="http://127.0.0.1:1/v1",
        max_tokens=max_tokens,
        token_limit_field=field,
    )


def chat(more: bytes) -> bytes:
    return b'{"model":"auto","messages":[{"role":"user","content":"hi"}],' + more + b"}"


def refused(body: bytes) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_body(body, Surface.CHAT)
    return caught.value


@pytest.mark.parametrize(
    "name",
    [
        "Model",
        "MAX_TOKENS",
        "max_to\u212aens",
        "N",
        "Best_Of",
        "me\u017f\u017fages",
        "Background",
        "N_predict",
        "Octoroute",
    ],
)
def test_a_name_that_other_servers_take_for_one_that_is_read_is_refused(name: str) -> None:
    assert refused(chat(json.dumps(name, ensure_ascii=False).encode() + b":1")).param == name
    assert refused(chat(json.dumps(name).encode() + b' : 1, "temperature" : 0.5')).param == name


def test_other_names_may_be_spelled_as_anybody_likes() -> None:
    assert "Temperature" in parse_body(chat(b'"Temperature":1,"maxTokens":5'), Surface.CHAT).fields


def sent(more: bytes, to: EndpointConfig, *, at_most: int | None = None) -> Patched:
    return patch(parse_body(chat(more), Surface.CHAT), endpoint=to, surface=Surface.CHAT, at_most=at_most)


def capped(more: bytes, to: EndpointConfig) -> Patched:
    return sent(more, to, at_most=100)


@pytest.mark.parametrize("field", TokenLimitField)
@pytest.mark.parametrize("given_as", TokenLimitField)
def test_the_limit_of_a_request_with_a_budget_has_the_name_that_the_endpoint_knows(
    field: TokenLimitField, given_as: TokenLimitField
) -> None:
    for most, value in ((None, 7), (5, 5)):
        body = json.loads(capped(b'"%b":7' % given_as.value.encode(), endpoint(field=field, max_tokens=most)).body)
        assert {name: body.get(name) for name in TokenLimitField} == {
            name: value if name is field else None for name in TokenLimitField
        }


def test_a_limit_under_both_names_stays_under_both() -> None:
    body = json.loads(capped(b'"max_tokens":7,"max_completion_tokens":9', endpoint()).body)
    assert (body["max_tokens"], body["max_completion_tokens"]) == (7, 9)


def test_nothing_overrides_the_limit_of_an_endpoint_or_a_budget() -> None:
    more = b'"max_tokens":7,"n_predict":-1'
    for limited in (capped(more, endpoint()), sent(more, endpoint(max_tokens=10))):
        assert "n_predict" not in json.loads(limited.body)
        assert limited.warning is not None
        assert limited.warning.startswith("n_predict left out")
    assert json.loads(sent(more, endpoint()).body)["n_predict"] == -1
