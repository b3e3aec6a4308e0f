"""What a stream shows of itself as it passes: commit point, usage, completeness, faults."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.core.usage import Usage
from octoroute_py.core.words import Surface
from octoroute_py.transport.faults import FaultKind
from octoroute_py.transport.heard import MOST_CHARS, Heard
from octoroute_py.transport.stream_scan import StreamScan

USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 2}}


def data(value: object, end: bytes = b"\n") -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + end * 2


def chunk(text: str = "hi", *, index: int = 0, finish: str | None = None, **extra: object) -> bytes:
    return data(
        {
            "id": "c",
            "object": "chat.completion.chunk",
            "choices": [{"index": index, "delta": {"content": text}, "finish_reason": finish}],
            **extra,
        }
    )


DONE = b"data: [DONE]\n\n"
USAGE_EVENT = data({"object": "chat.completion.chunk", "choices": [], "usage": USAGE})


def chat(*, choices: int = 1, withhold_usage: bool = False) -> StreamScan:
    return StreamScan(Surface.CHAT, choices=choices, withhold_usage=withhold_usage)


def test_events_pass_byte_for_byte_and_the_first_one_commits() -> None:
    scan = chat()
    assert not chat().started
    first, second = chunk("a"), chunk("b")
    assert scan.feed(first) == first
    assert scan.started
    assert scan.feed(second) == second
    assert scan.feed(DONE) == DONE
    assert (scan.done, scan.complete, scan.events, scan.fault) == (True, True, 3, None)


def test_the_bytes_of_a_withheld_event_and_of_done_are_whole_wherever_a_crlf_is_cut() -> None:
    scan = chat(withhold_usage=True)
    first = chunk().replace(b"\n", b"\r\n")
    usage, done = USAGE_EVENT.replace(b"\n", b"\r\n"), DONE.replace(b"\n", b"\r\n")
    stream = first + usage + done
    assert b"".join(scan.feed(stream[at : at + 1]) for at in range(len(stream))) == first + done
    assert (scan.done, scan.usage) == (True, Usage(prompt=7, completion=3, cached=2))


def test_the_end_of_the_stream_completes_an_event_whose_last_byte_is_a_lone_cr() -> None:
    scan = chat()
    last = DONE[:-1] + b"\r"
    assert scan.feed(chunk() + last) == chunk()
    assert scan.events == 1
    assert scan.end() == last
    assert (scan.done, scan.events) == (True, 2)
    assert scan.end() == b""


def test_a_partial_event_is_held_back() -> None:
    scan = chat()
    event = chunk("漢字")
    for at in range(len(event) - 1):
        assert scan.feed(event[at : at + 1]) == b""
    assert scan.held == len(event) - 1
    assert not scan.started
    assert scan.feed(event[-1:]) == event
    assert scan.held == 0


def test_nothing_after_done_is_passed_on() -> None:
    scan = chat()
    assert scan.feed(chunk() + DONE + chunk("late")) == chunk() + DONE
    assert scan.feed(chunk("later")) == b""
    again = chat()
    again.feed(chunk())
    assert again.feed(chunk() + DONE + chunk("late")) == chunk() + DONE


def test_complete_without_done_is_every_choice_finished() -> None:
    scan = chat(choices=2)
    complete: list[bool] = []
    for index in (1, 1, 0):
        scan.feed(chunk(finish="stop", index=index))
        complete.append(scan.complete)
    assert complete == [False, False, True]
    assert not scan.done


@pytest.mark.parametrize("finish", [None, ""])
def test_no_finish_reason_is_not_complete(finish: str | None) -> None:
    scan = chat()
    scan.feed(chunk(finish=finish))
    assert not scan.complete


def test_the_usage_event_we_asked_for_is_withheld_and_read() -> None:
    scan = chat(withhold_usage=True)
    stream = [chunk("a"), chunk(finish="stop"), USAGE_EVENT, DONE]
    assert b"".join(scan.feed(part) for part in stream) == b"".join([chunk("a"), chunk(finish="stop"), DONE])
    assert scan.usage == Usage(prompt=7, completion=3, cached=2)


def test_the_usage_event_is_withheld_inside_one_read_too() -> None:
    scan = chat(withhold_usage=True)
    scan.feed(chunk("a"))
    assert scan.feed(chunk("b") + USAGE_EVENT + DONE) == chunk("b") + DONE


def test_only_one_usage_event_is_withheld() -> None:
    scan = chat(withhold_usage=True)
    assert scan.feed(chunk() + USAGE_EVENT + USAGE_EVENT) == chunk() + USAGE_EVENT


@pytest.mark.parametrize(
    "event",
    [
        chunk("a", usage=USAGE),  # running counts beside content
        data({"choices": [], "usage": None}),
        data({"choices": [], "prompt_filter_results": []}),
        data({"usage": USAGE}),
    ],
)
def test_anything_but_the_usage_event_is_passed_on(event: bytes) -> None:
    assert chat(withhold_usage=True).feed(event) == event


def test_a_client_that_asked_gets_its_usage_event() -> None:
    assert chat().feed(USAGE_EVENT) == USAGE_EVENT


def test_a_withheld_usage_event_counts_as_the_start() -> None:
    scan = chat(withhold_usage=True)
    assert scan.feed(USAGE_EVENT) == b""
    assert scan.started


def test_the_last_usage_wins_and_null_does_not_erase_it() -> None:
    scan = chat()
    scan.feed(chunk(usage={"prompt_tokens": 1, "completion_tokens": 1}))
    scan.feed(chunk(usage={"prompt_tokens": 1, "completion_tokens": 9}))
    scan.feed(chunk(usage=None))
    assert scan.usage == Usage(prompt=1, completion=9)


def test_comments_wait_for_the_answer_they_belong_to() -> None:
    scan = chat()
    assert scan.feed(b": warming up\n\n") == b""
    assert scan.held == len(b": warming up\n\n")
    assert scan.feed(chunk()) == b": warming up\n\n" + chunk()
    assert scan.feed(b": ping\n\n") == b": ping\n\n"
    assert scan.events == 1


def test_endless_comments_are_no_answer() -> None:
    scan = chat()
    for _ in range(20):
        assert scan.feed(b": " + b"x" * 60_000 + b"\n\n") == b""
    assert scan.fault is not None
    assert scan.fault.kind is FaultKind.MALFORMED
    assert scan.held == 0


@pytest.mark.parametrize(
    "payload",
    [b"{bad", b"<html>", b"[]", b'"text"', b"1", b"null", b"", b'{"a":"\xff"}', b'{"a":' * 5000, b'{"a":NaN}', b"DONE"],
)
@pytest.mark.parametrize("before", [b"", chunk("good")])
def test_an_event_that_is_no_json_object_ends_the_stream_after_the_good_events(payload: bytes, before: bytes) -> None:
    scan = chat()
    assert scan.feed(before + b"data: " + payload + b"\n\n" + chunk("late")) == before
    assert scan.fault is not None
    assert scan.fault.kind is FaultKind.MALFORMED
    assert scan.started is bool(before)
    assert scan.feed(chunk()) == b""


@pytest.mark.parametrize(
    ("event", "kind", "status"),
    [
        (data({"error": {"message": "boom", "type": "server_error", "code": None}}), FaultKind.SERVER_ERROR, 500),
        (data({"error": {"message": "slow down", "code": "rate_limit_exceeded"}}), FaultKind.RATE_LIMITED, 429),
        (data({"error": "boom"}), FaultKind.SERVER_ERROR, 500),
        (data({"object": "error", "message": "bad", "type": "BadRequestError", "code": 400}), FaultKind.REJECTED, 400),
        (
            b"event: error\n" + data({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}),
            FaultKind.UNAVAILABLE,
            529,
        ),
        (data({"error": {"message": "x", "code": 502}, "choices": [{"delta": {}}]}), FaultKind.SERVER_ERROR, 502),
    ],
)
@pytest.mark.parametrize("before", [b"", chunk("good")])
def test_an_error_inside_a_200_is_a_fault(event: bytes, kind: FaultKind, status: int, before: bytes) -> None:
    scan = chat()
    if before:
        assert scan.feed(before) == before
    assert scan.feed(event) == b""
    assert scan.fault is not None
    assert (scan.fault.kind, scan.fault.status) == (kind, status)
    assert not scan.complete


def test_an_empty_error_field_is_no_error() -> None:
    event = chunk(error=None)
    assert chat().feed(event) == event


def test_an_event_above_the_cap_is_a_fault_after_the_good_events() -> None:
    scan = chat()
    assert scan.feed(chunk() + b"data: {" + b" " * (1024 * 1024 + 10)) == chunk()
    assert scan.fault is not None
    assert scan.fault.kind is FaultKind.MALFORMED
    assert scan.held == 0


def test_a_whole_event_above_the_cap_is_a_fault_after_the_commit_too() -> None:
    scan = chat()
    scan.feed(chunk())
    assert scan.feed(chunk("x" * (1024 * 1024 + 10))) == b""
    assert scan.fault is not None


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": "none"},
        {"choices": [1, None, {"finish_reason": 3, "index": "0"}]},
        {"usage": {"prompt_tokens": "many"}},
        {"usage": [1]},
        {"object": 5},
        {"error": False},
        {"choices": {"a": 1}, "usage": {"prompt_tokens": -1, "completion_tokens": 10**30}},
        {},
    ],
)
def test_a_field_of_an_unexpected_type_does_not_stop_the_stream(odd: dict[str, object]) -> None:
    scan = chat()
    assert scan.feed(data(odd)) == data(odd)
    assert scan.started
    assert scan.fault is None


def test_what_can_be_read_of_an_odd_event_is_read() -> None:
    scan = chat()
    scan.feed(data({"object": 1, "choices": [{"finish_reason": "stop"}], "usage": {"prompt_tokens": 5.0}}))
    assert scan.complete
    assert scan.usage == Usage(prompt=5)


def responses_event(kind: str, **fields: object) -> bytes:
    return f"event: {kind}\n".encode() + data({"type": kind, **fields})


@pytest.mark.parametrize("last", ["response.completed", "response.incomplete", "response.failed"])
def test_a_responses_stream_ends_with_its_terminal_event(last: str) -> None:
    scan = StreamScan(Surface.RESPONSES, withhold_usage=False)
    first = responses_event("response.created", response={"usage": None, "error": None})
    usage = {"input_tokens": 4, "output_tokens": 6, "input_tokens_details": {"cached_tokens": 1}}
    final = responses_event(last, response={"usage": usage})
    assert scan.feed(first) == first
    assert not scan.complete
    assert scan.feed(final + DONE) == final
    assert (scan.done, scan.complete, scan.usage) == (True, True, Usage(prompt=4, completion=6, cached=1))


def test_a_responses_error_event_is_a_fault() -> None:
    scan = StreamScan(Surface.RESPONSES, withhold_usage=False)
    assert scan.feed(responses_event("error", code="rate_limit_exceeded", message="slow")) == b""
    assert scan.fault is not None
    assert scan.fault.kind is FaultKind.RATE_LIMITED


pieces = st.lists(
    st.sampled_from(
        [
            chunk("a"),
            chunk("b\u2028漢"),
            chunk(usage=USAGE),
            USAGE_EVENT,
            b": ping\n\n",
            b"\n",
            chunk("cr").replace(b"\n", b"\r\n"),
            b'data: {"choices":\ndata: []}\n\n',
            DONE,
            data({"error": {"message": "x"}}),
            b"data: {bad\n\n",
        ]
    ),
    max_size=10,
).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(pieces, st.lists(st.integers(0, 5000), max_size=20), st.booleans())
def test_how_the_bytes_arrive_changes_nothing(stream: bytes, points: list[int], withhold: bool) -> None:
    at_once, in_parts = chat(withhold_usage=withhold), chat(withhold_usage=withhold)
    expected = at_once.feed(stream)
    places = sorted({point % (len(stream) + 1) for point in points} | {0, len(stream)})
    got = b"".join(in_parts.feed(stream[a:b]) for a, b in pairwise(places))
    assert got == expected
    for name in ("started", "done", "complete", "usage", "events", "fault"):
        assert getattr(in_parts, name) == getattr(at_once, name), name


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.sampled_from([b"", b"data: ", b"data: {"]))
def test_hostile_bytes_never_raise(noise: bytes, before: bytes) -> None:
    for surface in (Surface.CHAT, Surface.RESPONSES):
        scan = StreamScan(surface, withhold_usage=True)
        scan.feed(before + noise + b"\n\n")
        scan.feed(noise)


# --- the running count -----------------------------------------------------------------------------------------------


def counted(*events: bytes, surface: Surface = Surface.CHAT) -> int:
    scan = StreamScan(surface, choices=2, withhold_usage=False)
    for event in events:
        scan.feed(event)
    assert scan.fault is None
    return scan.delivered_tokens


def delta(**fields: object) -> bytes:
    return data({"choices": [{"index": 0, "delta": fields, "finish_reason": None}]})


CALL = {"index": 0, "function": {"name": "at", "arguments": "{}"}}


@pytest.mark.parametrize(
    "said",
    [
        {"content": "Hi"},
        {"content": None, "reasoning_content": "Hm"},
        {"reasoning": "Hm"},
        {"reasoning": "Hm", "reasoning_content": "Hm"},
        {"content": "", "refusal": "No"},
        {"tool_calls": [CALL]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "x"}}]},
        {"content": ["Hi"]},
        {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}]},
        {"content": None, "tool_calls": [{"function": {"name": "look", "arguments": {"text": "x"}}}]},
    ],
)
def test_an_event_with_something_said_is_a_token(said: dict[str, object]) -> None:
    assert counted(delta(**said)) == 1
    assert counted(delta(**said), delta(**said)) == 2


@pytest.mark.parametrize(
    "event",
    [
        delta(role="assistant", content=""),
        delta(content=None, tool_calls=None),
        delta(content=[], tool_calls=[{"function": None}]),
        data({"choices": []}),
        data({"choices": [{"index": 0, "delta": None, "finish_reason": "stop"}]}),
        data({"choices": [{"index": 0}], "created": 1}),
        b": comment\n\n",
        USAGE_EVENT,
    ],
)
def test_an_event_with_nothing_said_is_none(event: bytes) -> None:
    assert counted(event) == 0


def test_long_events_count_by_their_characters() -> None:
    assert counted(delta(content="x" * 400), delta(content="y" * 41)) == 110
    assert counted(delta(tool_calls=[{"function": {"name": "abcd", "arguments": "x" * 36}}])) == 10
    assert counted(delta(content=["x" * 400])) == 100


def test_every_choice_of_an_event_counts() -> None:
    both = data({"choices": [{"index": at, "delta": {"content": "Hi"}} for at in range(2)]})
    assert counted(both, chunk("a", index=1)) == 3


def test_completions_count_their_text() -> None:
    events = [data({"choices": [{"index": 0, "text": text, "finish_reason": None}]}) for text in ("Hi", "", "x" * 80)]
    assert counted(*events, surface=Surface.COMPLETIONS) == 20


def test_responses_count_every_delta_that_is_no_sound() -> None:
    def event(kind: str, **fields: object) -> bytes:
        return data({"type": kind, **fields})

    said = [
        event("response.output_text.delta", delta="Hi"),
        event("response.reasoning_text.delta", delta="Hm"),
        event("response.function_call_arguments.delta", delta="{}"),
        event("response.odd.delta", delta={"text": "Hi"}),
    ]
    unsaid = [
        event("response.created", response={"usage": None}),
        event("response.output_audio.delta", delta="x" * 400),
        event("response.output_text.done", text="x" * 400),
        event("response.output_text.delta", delta=""),
    ]
    assert counted(*said, *unsaid, surface=Surface.RESPONSES) == 4


@given(st.lists(st.text(max_size=30), max_size=20), st.integers(1, 40))
def test_the_count_is_the_same_however_the_stream_is_cut(texts: list[str], size: int) -> None:
    stream = b"".join(map(chunk, texts))
    scan = chat()
    for at in range(0, len(stream), size):
        scan.feed(stream[at : at + size])
    assert scan.delivered_tokens == max(sum(map(bool, texts)), sum(map(len, texts)) // 4)


def test_a_usage_told_on_the_way_covers_what_came_before_it() -> None:
    scan = chat()
    scan.feed(chunk("a", usage=USAGE))
    assert (scan.usage, scan.usage_is_last) == (Usage(7, 3, 2), True)
    scan.feed(chunk("b"))
    assert (scan.usage, scan.usage_is_last) == (Usage(7, 3, 2), False)
    scan.feed(chunk("", finish="stop"))
    scan.feed(USAGE_EVENT)
    assert scan.usage_is_last


@pytest.mark.parametrize(
    ("surface", "events"),
    [
        (
            Surface.CHAT,
            [
                b'{"choices":[{"delta":{"content":"He"}}]}',
                b'{"choices":[{"delta":{"content":["l"]}}]}',
                b'{"choices":[{"delta":{"reasoning":"lo"},"finish_reason":"stop"}]}',
            ],
        ),
        (Surface.COMPLETIONS, [b'{"choices":[{"text":"Hel"}]}', b'{"choices":[{"text":"lo"}]}']),
        (
            Surface.RESPONSES,
            [
                b'{"type":"response.output_text.delta","delta":"Hello"}',
                b'{"type":"response.audio.delta","delta":"AAAA"}',
            ],
        ),
    ],
)
def test_what_is_said_is_kept_where_that_is_wanted(surface: Surface, events: list[bytes]) -> None:
    kept = StreamScan(surface, withhold_usage=False)
    kept.heard = Heard()
    for event in events:
        kept.feed(b"data: %b\n\n" % event)
    assert kept.fault is None
    assert kept.heard.text() == "Hello"


def test_of_a_long_stream_no_more_is_kept_than_may_be() -> None:
    heard = Heard()
    for _ in range(3):
        heard.add("x" * (MOST_CHARS // 2 - 1))
    assert len(heard.text()) == MOST_CHARS
    assert heard.cut
