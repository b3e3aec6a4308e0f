"""The body goes upstream as the client spelled it, or it is refused with a 400 that names the field."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.config.schema import EndpointConfig, TokenLimitField
from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Surface, Tier
from octoroute_py.transport.openai import (
    Envelope,
    Patched,
    parse_body,
    patch,
    upstream_path,
)

MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'


def endpoint(
    *,
    max_tokens: int | None = None,
    temperature: float | None = None,
    field: TokenLimitField = TokenLimitField.MAX_TOKENS,
    include_usage: bool = True,
) -> EndpointConfig:
    return EndpointConfig(
        id="fast/q#1",
        tier=Tier.FAST,
        name="q",
        model="up/stream é",
        base_url="http://127.0.0.1:1/v1",
        max_tokens=max_tokens,
        temperature=temperature,
        token_limit_field=field,
        include_usage=include_usage,
    )


def chat(more: bytes = b"") -> bytes:
    return b'{"model":"auto",' + MESSAGES + (b"," + more if more else b"") + b"}"


def parse(body: bytes, surface: Surface = Surface.CHAT) -> Envelope:
    return parse_body(body, surface)


def patched(body: bytes, to: EndpointConfig | None = None, surface: Surface = Surface.CHAT) -> Patched:
    return patch(parse_body(body, surface), endpoint=to or endpoint(), surface=surface)


def refused(body: bytes, surface: Surface = Surface.CHAT) -> BadRequest:
    with pytest.raises(BadRequest) as caught:
        parse_body(body, surface)
    assert caught.value.status == 400
    json.loads(caught.value.body())
    return caught.value


# --- reading ---------------------------------------------------------------------------------------------------------


def test_the_envelope_holds_what_the_gateway_reads() -> None:
    envelope = parse(
        chat(
            b'"stream":true,"n":2,"max_tokens":5,"max_completion_tokens":9,"stream_options":{"include_usage":true},'
            b'"octoroute":{"importance":"high"}'
        )
    )
    assert (envelope.model, envelope.stream, envelope.n, envelope.choices) == ("auto", True, 2, 2)
    assert envelope.token_limit == 9
    assert envelope.include_usage_asked
    assert envelope.octoroute == {"importance": "high"}


def test_nulls_count_as_unset() -> None:
    envelope = parse(chat(b'"stream":null,"n":null,"max_tokens":null,"stream_options":null'))
    assert (envelope.stream, envelope.n, envelope.token_limit, envelope.include_usage_asked) == (False, 1, None, False)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"[]",
        b'"text"',
        b"null",
        b"1",
        b"{",
        b"{bad}",
        chat() + b"x",
        chat()[:-1] + b",}",
        chat(b'"a":NaN'),
        chat(b'"a":Infinity'),
        chat(b'"a":01'),
        chat(b'"a":"\x01"'),
        chat(b'"a":"\\ud800"'),
        chat(b'"a":"\xff"'),
        chat(b'"\xff":1'),
        chat().decode().encode("utf-16"),
        chat().decode().encode("utf-16-le"),
        b"\xef\xbb\xbf" + chat(),
        b"[" * 100_000,
        chat(b'"a":' + b"[" * 100_000 + b"]" * 100_000),
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_json_object_is_a_400(body: bytes) -> None:
    refused(body)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{" + MESSAGES + b"}", "model"),
        (b'{"model":5,' + MESSAGES + b"}", "model"),
        (b'{"model":null,' + MESSAGES + b"}", "model"),
        (b'{"model":"",' + MESSAGES + b"}", "model"),
        (b'{"model":" \\t",' + MESSAGES + b"}", "model"),
        (b'{"model":"auto"}', "messages"),
        (b'{"model":"auto","messages":null}', "messages"),
        (b'{"model":"auto","messages":"hi"}', "messages"),
        (b'{"model":"auto","messages":{}}', "messages"),
        (b'{"model":"auto","messages":[]}', "messages"),
        (b'{"model":"auto","messages":["hi"]}', "messages"),
        (b'{"model":"auto","messages":[{},null]}', "messages"),
        (b'{"model":"auto","messages":[' + b",".join([b"{}"] * 10_001) + b"]}", "messages"),
        (chat(b'"stream":"true"'), "stream"),
        (chat(b'"stream":1'), "stream"),
        (chat(b'"stream":{}'), "stream"),
        (chat(b'"stream_options":[]'), "stream_options"),
        (chat(b'"stream_options":{"include_usage":"yes"}'), "stream_options"),
        (chat(b'"octoroute":null'), "octoroute"),
        (chat(b'"octoroute":"high"'), "octoroute"),
        (chat(b'"octoroute":{"tag":"' + b"x" * 5000 + b'"}'), "octoroute"),
        (chat(b'"octoroute":{"a":1e999}'), "octoroute"),
        (chat(b'"temperature":1e999'), "temperature"),
        (chat(b'"seed":' + b"9" * 5000), "seed"),
        (chat(b'"seed":-1E+400'), "seed"),
        *[(chat(b'"n":' + value), "n") for value in (b"0", b"129", b"-1", b"1.0", b"true", b'"1"', b"9" * 5000)],
        *[
            (chat(b'"%b":%b' % (name, value)), name.decode())
            for name in (b"max_tokens", b"max_completion_tokens", b"max_output_tokens")
            for value in (
                b"true",
                b"-1",
                b"0",
                b"1e18",
                b"1e3",
                b"4294967296",
                b'"5"',
                b"[]",
                b"1.5",
                b"1e999",
                b"9" * 5000,
            )
        ],
    ],
)
def test_a_wrong_field_is_a_400_that_names_it(body: bytes, param: str) -> None:
    assert refused(body).param == param


def test_a_nul_in_a_field_name_is_refused() -> None:
    refused(chat(b'"a\\u0000b":1'))


@pytest.mark.parametrize(
    ("surface", "body", "param"),
    [
        (Surface.COMPLETIONS, b'{"model":"m"}', "prompt"),
        (Surface.COMPLETIONS, b'{"model":"m","prompt":null}', "prompt"),
        (Surface.COMPLETIONS, b'{"model":"m","prompt":5}', "prompt"),
        (Surface.EMBEDDINGS, b'{"model":"m"}', "input"),
        (Surface.EMBEDDINGS, b'{"model":"m","input":{}}', "input"),
        (Surface.RESPONSES, b'{"model":"m","input":5}', "input"),
        (Surface.RESPONSES, b'{"model":"m","input":"x","max_output_tokens":0}', "max_output_tokens"),
    ],
)
def test_each_surface_wants_its_own_prompt(surface: Surface, body: bytes, param: str) -> None:
    assert refused(body, surface).param == param


def test_what_a_surface_allows() -> None:
    assert parse(b'{"model":"m","prompt":"x","max_tokens":0}', Surface.COMPLETIONS).token_limit == 0
    assert parse(b'{"model":"m","input":[1,2]}', Surface.EMBEDDINGS).model == "m"
    assert parse(b'{"model":"m","previous_response_id":"r"}', Surface.RESPONSES).model == "m"
    assert parse(chat(b'"max_tokens":4294967295')).token_limit == 2**32 - 1


@pytest.mark.parametrize(
    ("prompt", "choices"),
    [
        (b'"a"', 2),
        (b'["a"]', 2),
        (b'["a, [b]","c\\"","d"]', 6),
        (b"[1,2,3]", 2),
        (b"[]", 2),
        (b"[[1,2],[3]]", 4),
        (b'[ "a" , "b" ]', 4),
    ],
)
def test_a_completion_has_n_choices_for_every_prompt(prompt: bytes, choices: int) -> None:
    assert parse(b'{"model":"m","n":2,"prompt":' + prompt + b"}", Surface.COMPLETIONS).choices == choices


# --- repeated names and nesting --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"auto",' + MESSAGES + b',"model":"deep"}',
        b'{"model":"auto",' + MESSAGES + b',"model":"auto"}',
        b'{"model":"auto",' + MESSAGES + b',"\\u006dodel":"deep"}',
        b'{"\\u006dodel":"auto",' + MESSAGES + b',"model":"deep"}',
        b'{ "model" : "auto" , "model" : "auto" , ' + MESSAGES + b"}",
        b'{"model":1,"model":"au",' + MESSAGES + b"}",
        b'{"model":"auto","model":"auto","x":" ",' + MESSAGES + b"}",
    ],
)
def test_a_field_given_twice_is_refused(body: bytes) -> None:
    assert refused(body).param == "model"


@pytest.mark.parametrize(
    "body",
    [
        b'\n{ "model" :\t"auto" ,\r\n ' + MESSAGES + b' , "a" : [ 1 , {"model":1} ] }\n',
        b'{"\\u006dodel":"auto",' + MESSAGES + b"}",
        b'{"model":"auto","\xc3\xa9":1,"a\\"b":2,' + MESSAGES + b"}",
        b'{"model":"auto","messages":[{"role":"user","content":"\\"model\\":\\"x\\",\\"model\\""}]}',
    ],
)
def test_spacing_and_escapes_do_not_look_like_repetition(body: bytes) -> None:
    assert parse(body).model == "auto"


spaces = st.sampled_from([b"", b"", b" ", b"\n\t", b"\r\n"])
names = st.sampled_from(["model", "messages", "a", "b", "é", 'q"', "\\", "stream_options"])


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(names, st.booleans(), st.sampled_from([b'"x"', b"1", b"{}", b'"1,\\"a\\":1"', b" [1, 2] "]), spaces),
        max_size=6,
    )
)
def test_repetition_is_found_exactly_when_it_is_there(members: list[tuple[str, bool, bytes, bytes]]) -> None:
    def spell(name: str, escaped: bool) -> bytes:
        return (
            b'"' + "".join(f"\\u{ord(c):04x}" for c in name).encode() + b'"' if escaped else json.dumps(name).encode()
        )

    head = [b'"model":"m"', MESSAGES]
    rest = [gap + spell(name, esc) + gap + b":" + value + gap for name, esc, value, gap in members]
    body = b"{" + b",".join(head + rest) + b"}"
    given_names = ["model", "messages"] + [name for name, *_ in members]
    if len(set(given_names)) < len(given_names):
        assert "more than once" in refused(body).client_message
    elif any(name == "stream_options" and value != b"{}" for name, _, value, _ in members):
        refused(body)
    else:
        assert list(parse(body).fields) == given_names


def nested(levels: int, kind: str) -> bytes:
    opener, closer = {"array": (b"[", b"]"), "object": (b'{"a":', b"}"), "both": (b'[{"a":', b"}]")}[kind]
    count = levels // 2 if kind == "both" else levels
    return opener * count + b"1" + closer * count


@pytest.mark.parametrize("kind", ["array", "object", "both"])
def test_nesting_is_allowed_to_64_levels_and_no_further(kind: str) -> None:
    parse(chat(b'"x":' + nested(62, kind)))
    assert refused(chat(b'"x":' + nested(66, kind))).param == "x"


@pytest.mark.parametrize(
    "message",
    [
        b'{"role":"user","content":[%b]}',
        b'{"role":%b,"content":"a"}',
        b'{"role":"user","content":"[[[[","x":%b}',
        b'{"content":%b,"content":"short"}',
        b'{},{},{},{},{},{},{},{},{},{},{},{},{"x":%b}',
        b'{"tool_calls":[{"x":%b}]}',
    ],
)
def test_deep_nesting_cannot_hide_in_a_message(message: bytes) -> None:
    body = b'{"model":"m","messages":[%b]}'
    assert refused(body % (message % nested(66, "array"))).param == "messages"
    assert refused(body % b",".join([b"{}"] * 500 + [message % nested(66, "array")])).param == "messages"
    parse(body % (message % nested(40, "array")))


def test_brackets_inside_strings_are_no_nesting() -> None:
    text = json.dumps("[{" * 500 + '"\\' * 50 + "[" * 200).encode()
    parse(b'{"model":"m","messages":[{"role":"user","content":' + text + b',"x":[' + text + b"]}]}")
    parse(chat(b'"x":{"y":' + text + b"}"))


@pytest.mark.parametrize("filler", [b'""', b"[]", b'{"a":{}}'])
def test_a_body_of_too_many_values_is_refused_without_being_built(filler: bytes) -> None:
    many = b",".join([filler] * 600_000 + [b"[]"] * 100)
    assert "too many values" in refused(chat(b'"x":[' + many + b"]")).client_message


def test_a_field_name_too_long_is_refused_however_the_rest_is_spelled() -> None:
    name = b'"' + b"a" * 9_000_000 + b'"'
    for body in (
        chat(name + b":1"),
        chat(b" " + name + b" : 1, " + name + b":2"),
        chat(b'"' + b"\\u0061" * 1_025 + b'":1'),
    ):
        assert "field name is longer than 1024" in refused(body).client_message
    assert "a" * 1_024 in parse(chat(b'"' + b"a" * 1_024 + b'" : 1')).fields


@pytest.mark.parametrize("count", [30_000, 900_000])
@pytest.mark.parametrize("end", [b"", b"]", b'"', b"}{"])
def test_a_body_of_too_many_fields_is_refused_before_it_is_parsed(count: int, end: bytes) -> None:
    many = b",".join([b'"%d":0' % at for at in range(count)])
    # What is broken at the end would be told of if the fields had been read first.
    message = refused(chat(many)[:-1] + end).client_message
    assert "more than 1000 fields" in message or "too many values" in message


def test_colons_in_texts_and_below_the_top_are_no_fields() -> None:
    code = json.dumps("def f(a: int) -> dict: return {'a': \"b: c\\\\\"}\n" * 20_000).encode()
    tool = b'{"type":"function","function":{"name":"f","parameters":{"type":"object","x":{"a":1,"b":[{}]}}}}'
    body = chat(b'"user":' + code + b',"tools":[' + b",".join([tool] * 10_000) + b"]")
    assert list(parse(body).fields) == ["model", "messages", "user", "tools"]


def test_millions_of_messages_are_refused_without_being_built() -> None:
    body = b'{"model":"m","messages":[' + b",".join([b"{}"] * 1_000_000) + b"]}"
    assert refused(body).param == "messages"


def test_a_long_text_full_of_braces_is_no_crowd_of_messages() -> None:
    parse(b'{"model":"m","messages":[{"role":"user","content":"' + b"{}" * 400_000 + b'"}]}')


def test_a_body_of_too_many_fields_is_refused() -> None:
    refused(chat(b",".join(b'"f%d":1' % i for i in range(2000))))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
def test_no_bytes_bring_anything_but_an_envelope_or_a_400(noise: bytes) -> None:
    for body in (noise, chat(b'"x":' + noise), b'{"model":' + noise + b"," + MESSAGES + b"}"):
        for surface in Surface:
            with suppress(BadRequest):
                parse_body(body, surface)


# --- patching --------------------------------------------------------------------------------------------------------


def test_only_the_model_changes_and_the_order_stays() -> None:
    body = b'{"a":1.0e-2,"model":"auto","b":"\\u0041\\/","messages":[ {"role":"user" , "content":null} ],"c":null}'
    result = patched(body)
    assert result.body == body.replace(b'"auto"', '"up/stream é"'.encode())
    assert (result.withhold_usage, result.warning) == (False, None)


def test_routing_hints_never_leave() -> None:
    assert b"octoroute" not in patched(chat(b'"octoroute":{"importance":"high"}')).body


def test_dangerous_fields_are_forwarded_like_any_other() -> None:
    more = b'"api_base":"http://evil","base_url":"x","api_key":"k","extra_headers":{"a":"b"},"metadata":{"c":1}'
    assert more in patched(chat(more)).body


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
def test_a_token_limit_above_the_endpoints_is_lowered_and_told(name: str) -> None:
    result = patched(chat(b'"%b":9000' % name.encode()), endpoint(max_tokens=100))
    value = json.loads(result.body)
    assert value[name] == 100
    assert sum("tokens" in key for key in value) == 1
    assert result.warning == f"{name} lowered from 9000 to 100"


def test_a_token_limit_within_the_endpoints_keeps_its_spelling() -> None:
    result = patched(chat(b'"max_tokens":100'), endpoint(max_tokens=100))
    assert result.body.endswith(b'"max_tokens":100}')
    assert result.warning is None


def test_the_longest_warning_is_short_ascii() -> None:
    body = chat(b'"max_tokens":4294967295,"max_completion_tokens":4294967295,"max_output_tokens":4294967295')
    warning = patched(body, endpoint(max_tokens=1)).warning
    assert warning is not None
    assert warning.isascii()
    assert len(warning) <= 500


@pytest.mark.parametrize(
    ("surface", "field", "expected"),
    [
        (Surface.CHAT, TokenLimitField.MAX_TOKENS, {"max_tokens": 64, "temperature": 0.5}),
        (Surface.CHAT, TokenLimitField.MAX_COMPLETION_TOKENS, {"max_completion_tokens": 64, "temperature": 0.5}),
        (Surface.COMPLETIONS, TokenLimitField.MAX_COMPLETION_TOKENS, {"max_tokens": 64, "temperature": 0.5}),
        (Surface.RESPONSES, TokenLimitField.MAX_TOKENS, {"max_output_tokens": 64, "temperature": 0.5}),
        (Surface.EMBEDDINGS, TokenLimitField.MAX_TOKENS, {}),
    ],
)
def test_the_endpoints_defaults_are_added_where_the_client_said_nothing(
    surface: Surface, field: TokenLimitField, expected: dict[str, Any]
) -> None:
    body = b'{"model":"m","messages":[{}],"prompt":"p","input":"i"}'
    value = json.loads(patched(body, endpoint(max_tokens=64, temperature=0.5, field=field), surface).body)
    assert {key: value[key] for key in value if key not in ("model", "messages", "prompt", "input")} == expected


@pytest.mark.parametrize("more", [b'"max_tokens":5', b'"max_completion_tokens":5', b'"max_tokens":null'])
def test_no_default_is_added_beside_what_the_client_said(more: bytes) -> None:
    more += b',"temperature":1.50'
    to = endpoint(max_tokens=64, temperature=0.5, field=TokenLimitField.MAX_COMPLETION_TOKENS)
    assert patched(chat(more), to).body.endswith(more + b"}")


@pytest.mark.parametrize(
    ("more", "options"),
    [
        (b"", b'{"include_usage":true}'),
        (b',"stream_options":null', b'{"include_usage":true}'),
        (b',"stream_options":{}', b'{"include_usage":true}'),
        (b',"stream_options":{"include_usage":false}', b'{"include_usage":true}'),
        (b',"stream_options":{"x": 1.0e-2,"y":"\\u0041"}', b'{"x":1.0e-2,"y":"\\u0041","include_usage":true}'),
    ],
)
@pytest.mark.parametrize("surface", [Surface.CHAT, Surface.COMPLETIONS])
def test_usage_is_asked_for_on_streams_and_withheld(more: bytes, options: bytes, surface: Surface) -> None:
    result = patched(chat(b'"prompt":"p","stream":true' + more), surface=surface)
    assert result.withhold_usage
    assert result.body.endswith(b'"stream_options":' + options + b"}")


def test_usage_is_not_asked_for_where_it_must_not_be() -> None:
    asked = chat(b'"stream":true,"stream_options":{ "include_usage" : true }')
    assert patched(asked).body.endswith(b'"stream_options":{ "include_usage" : true }}')
    assert not patched(asked).withhold_usage
    for result in (
        patched(chat(b'"stream":true'), endpoint(include_usage=False)),
        patched(chat()),
        patched(b'{"model":"m","input":"i","stream":true}', surface=Surface.RESPONSES),
        patched(b'{"model":"m","input":"i","stream":true}', surface=Surface.EMBEDDINGS),
    ):
        assert not result.withhold_usage
        assert b"stream_options" not in result.body


odd_numbers = st.sampled_from([b"1.0e-2", b"1E5", b"-0", b"-0.0", b"1e+2", b"123456789012345678901234567890", b"0.10"])
odd_texts = st.sampled_from([rb'"\u0041"', rb'"\/"', rb'"\ud83d\ude00"', '"é漢\u2028"'.encode(), rb'"\"model\":\"x\""'])
spelled = st.recursive(
    odd_numbers | odd_texts | st.sampled_from([b"null", b"true", b"false", b"[ ]", b"{ }"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: b"[ " + b" ,".join(items) + b"]")
        | st.lists(inner, max_size=3).map(
            lambda items: b"{" + b", ".join(b'"k%d" : %b' % pair for pair in enumerate(items)) + b" }"
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.lists(spelled, max_size=5), st.booleans(), st.booleans())
def test_every_other_value_goes_upstream_as_it_was_spelled(values: list[bytes], stream: bool, spaced: bool) -> None:
    colon, comma = (b" : ", b" , ") if spaced else (b":", b",")
    members = [b'"f%d"%b%b' % (at, colon, value) for at, value in enumerate(values)]
    members += [b'"model"%b"auto"' % colon, MESSAGES, b'"stream"%b%b' % (colon, b"true" if stream else b"false")]
    body = b"{" + comma.join(members) + b"}"
    result = patched(body, endpoint(max_tokens=7, temperature=0.25)).body
    for at, value in enumerate(values):
        assert b'"f%d":%b,' % (at, value) in result
    expected = json.loads(body) | {"model": "up/stream é", "temperature": 0.25, "max_tokens": 7}
    if stream:
        expected["stream_options"] = {"include_usage": True}
    assert json.loads(result) == expected
    assert list(json.loads(result))[: len(members)] == list(json.loads(body))


def test_the_upstream_paths() -> None:
    assert [upstream_path(surface) for surface in Surface] == [
        "/chat/completions",
        "/completions",
        "/embeddings",
        "/responses",
    ]


# --- what decides about the price ------------------------------------------------------------------------------------


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
    assert "Temperature" in parse(chat(b'"Temperature":1,"maxTokens":5')).fields


def capped(more: bytes, to: EndpointConfig, surface: Surface = Surface.CHAT) -> Patched:
    return patch(parse_body(chat(more), surface), endpoint=to, surface=surface, at_most=100)


@pytest.mark.parametrize("field", TokenLimitField)
@pytest.mark.parametrize("given_as", TokenLimitField)
def test_the_limit_of_a_request_with_a_budget_has_the_name_that_the_endpoint_knows(
    field: TokenLimitField, given_as: TokenLimitField
) -> None:
    for most, sent in ((None, 7), (5, 5)):
        body = json.loads(capped(b'"%b":7' % given_as.value.encode(), endpoint(field=field, max_tokens=most)).body)
        assert {name: body.get(name) for name in TokenLimitField} == {
            name: sent if name is field else None for name in TokenLimitField
        }


def test_a_limit_under_both_names_stays_under_both() -> None:
    body = json.loads(capped(b'"max_tokens":7,"max_completion_tokens":9', endpoint()).body)
    assert (body["max_tokens"], body["max_completion_tokens"]) == (7, 9)


def test_nothing_overrides_the_limit_of_an_endpoint_or_a_budget() -> None:
    more = b'"max_tokens":7,"n_predict":-1'
    for limited in (capped(more, endpoint()), patched(chat(more), endpoint(max_tokens=10))):
        assert "n_predict" not in json.loads(limited.body)
        assert limited.warning is not None
        assert limited.warning.startswith("n_predict left out")
    assert json.loads(patched(chat(more)).body)["n_predict"] == -1
