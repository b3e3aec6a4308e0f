"""A buffered answer is judged by its bytes: good, with what it used, or malformed, or an error in disguise."""

import pytest

from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Surface
from octoroute_py.transport.answers import BufferedFacts, read_answer
from octoroute_py.transport.faults import Fault, FaultKind

ANSWER = (
    b'{"choices":[{"index":0,"message":{"role":"assistant","content":"h\\u00e9"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":1}}}'
)


@pytest.mark.parametrize(
    "kind", [None, b"", b"application/json", b"Application/JSON; charset=utf-8", b"application/problem+json"]
)
def test_a_good_answer_tells_its_usage_and_text(kind: bytes | None) -> None:
    facts = read_answer(ANSWER, kind, Surface.CHAT)
    assert isinstance(facts, BufferedFacts)
    assert facts.usage == Usage(prompt=3, completion=4, cached=1)
    assert facts.text() == "hé"


def test_a_responses_answer_tells_its_usage() -> None:
    body = b'{"output":[],"error":{"code":"x"},"usage":{"input_tokens":3,"output_tokens":4}}'
    facts = read_answer(body, b"application/json", Surface.RESPONSES)
    assert isinstance(facts, BufferedFacts)
    assert facts.usage == Usage(prompt=3, completion=4)
    assert facts.text() is None


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", None),
        (b"", b"application/json"),
        (b"[]", b"application/json"),
        (b"null", b"application/json"),
        (b"{bad", b"application/json"),
        (b'{"a":"\xff"}', b"application/json"),
        (b'{"a":' + b"[" * 100_000, b"application/json"),
        (b"<html></html>", b"text/html"),
        (ANSWER, b"text/html"),
        (b"data: {}\n\n", b"text/event-stream"),
        (b"data: {}\n\n", None),
    ],
)
def test_what_is_no_json_answer_is_malformed(body: bytes, kind: bytes | None) -> None:
    fault = read_answer(body, kind, Surface.CHAT)
    assert isinstance(fault, Fault)
    assert fault.kind is FaultKind.MALFORMED


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"error":{"message":"x","code":429}}', FaultKind.RATE_LIMITED),
        (b'{"error":{"message":"x"}}', FaultKind.SERVER_ERROR),
        (b'{"error":"boom"}', FaultKind.SERVER_ERROR),
        (b'{"object":"error","message":"x","code":404}', FaultKind.REJECTED),
    ],
)
def test_an_error_alone_inside_a_200_counts_as_its_status(body: bytes, kind: FaultKind) -> None:
    fault = read_answer(body, b"application/json", Surface.CHAT)
    assert isinstance(fault, Fault)
    assert fault.kind is kind


@pytest.mark.parametrize(
    ("body", "usage"),
    [
        (b"{}", None),
        (b'{"choices":[],"error":null}', None),
        (b'{"choices":5,"usage":"none"}', None),
        (b'{"choices":[{"message":{"content":[1]}}],"usage":{"prompt_tokens":"3","completion_tokens":4}}', Usage(0, 4)),
        (b'{"choices":[{"message":"x"}],"usage":{"prompt_tokens":1e999}}', None),
    ],
)
def test_odd_fields_do_not_spoil_an_answer(body: bytes, usage: Usage | None) -> None:
    facts = read_answer(body, b"application/json", Surface.CHAT)
    assert isinstance(facts, BufferedFacts)
    assert facts.usage == usage
    assert facts.text() is None


def test_usage_of_an_odd_shape_is_read_when_it_is_small_only() -> None:
    for count, usage in ((10, Usage(prompt=3)), (100_000, None)):
        odd = b'{"prompt_tokens":3,"completion_tokens":"x","more":[1' + b",1" * count + b"]}"
        facts = read_answer(b'{"choices":[],"usage":' + odd + b"}", None, Surface.CHAT)
        assert isinstance(facts, BufferedFacts)
        assert facts.usage == usage


def test_only_a_string_is_the_text_of_an_answer() -> None:
    for content, text in ((b'"a\\n"', "a\n"), (b"[1,1]", None), (b"null", None), (b"7", None)):
        facts = read_answer(b'{"choices":[{"message":{"content": ' + content + b"}}]}", None, Surface.CHAT)
        assert isinstance(facts, BufferedFacts)
        assert facts.text() == text
