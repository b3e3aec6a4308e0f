"""Events are cut where the SSE rules say, and no byte is lost or changed."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octoroute_py.transport.sse import Block, SseSplitter


def payloads_by_the_book(stream: bytes) -> list[tuple[bytes, bytes | None]]:
    """(data, event) of every complete event, one byte at a time and with no cleverness at all."""
    lines: list[bytes] = []
    line = bytearray()
    at = 3 if stream.startswith(b"\xef\xbb\xbf") else 0
    while at < len(stream):
        byte = stream[at]
        at += 1
        if byte not in b"\r\n":
            line.append(byte)
            continue
        if byte == 13 and stream[at : at + 1] == b"\n":
            at += 1
        lines.append(bytes(line))
        line.clear()
    found: list[tuple[bytes, bytes | None]] = []
    data: list[bytes] = []
    event: bytes | None = None
    for whole in lines:
        if whole == b"":
            if data:
                found.append((b"\n".join(data), event))
            data, event = [], None
            continue
        name, _, value = whole.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if name == b"data":
            data.append(value)
        elif name == b"event":
            event = value
    return found


def feed_all(splitter: SseSplitter, chunks: list[bytes]) -> list[Block]:
    """The events of a stream that ends after these chunks."""
    return [block for chunk in chunks for block in splitter.feed(chunk)] + splitter.end()


def with_data(blocks: list[Block]) -> list[tuple[bytes, bytes | None]]:
    return [(block.data, block.event) for block in blocks if block.data is not None]


line_end = st.sampled_from([b"\n", b"\r\n", b"\r"])
letters = st.sampled_from(list('ab{}":, \u2028\u2029\x85\x0b\x0cé漢😀\ufeff[]')) | st.characters(codec="utf-8")
text = st.text(alphabet=letters, max_size=20).map(lambda it: it.replace("\r", "").replace("\n", "").encode())
field = st.builds(
    lambda name, gap, value: name + gap + value,
    st.sampled_from([b"data", b"data", b"data", b"event", b"id", b"", b"\xef\xbb\xbfdata", b"datax"]),
    st.sampled_from([b":", b": ", b":  ", b""]),
    text,
)
line = st.builds(lambda body, end: body + end, field | st.just(b""), line_end)
one_style = st.builds(
    lambda end, lines: b"".join(body + end for body in lines), line_end, st.lists(field | st.just(b""), max_size=12)
)
streams = st.builds(
    lambda bom, body, tail: bom + body + tail,
    st.sampled_from([b"", b"", b"\xef\xbb\xbf"]),
    st.lists(line, max_size=16).map(b"".join) | one_style,
    field | st.just(b""),
)


def cut(stream: bytes, points: list[int]) -> list[bytes]:
    places = sorted({point % (len(stream) + 1) for point in points} | {0, len(stream)})
    return [stream[a:b] for a, b in pairwise(places)]


@settings(max_examples=400, deadline=None)
@given(streams, st.lists(st.integers(0, 1000), max_size=30))
def test_any_cutting_of_any_stream_gives_the_same_payloads_and_every_byte(stream: bytes, points: list[int]) -> None:
    splitter = SseSplitter()
    blocks = feed_all(splitter, cut(stream, points))
    assert b"".join(block.raw for block in blocks) + bytes(splitter.held) == stream
    assert with_data(blocks) == payloads_by_the_book(stream)


@settings(max_examples=100, deadline=None)
@given(streams)
def test_byte_by_byte_is_the_same_as_at_once(stream: bytes) -> None:
    splitter = SseSplitter()
    blocks = feed_all(splitter, [stream[i : i + 1] for i in range(len(stream))])
    assert b"".join(block.raw for block in blocks) + bytes(splitter.held) == stream
    assert with_data(blocks) == with_data(feed_all(SseSplitter(), [stream]))


@pytest.mark.parametrize("odd", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\x1e"])
def test_only_cr_and_lf_end_a_line(odd: str) -> None:
    payload = json.dumps({"text": f"a{odd}b"}, ensure_ascii=False).encode()
    (block,) = SseSplitter().feed(b"data: " + payload + b"\n\n")
    assert block.data == payload


def test_a_crlf_cut_between_its_bytes_is_one_line_end() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\r") == []
    assert splitter.feed(b"\ndata: b\r") == []
    assert splitter.feed(b"\n\r") == []
    (first, second) = splitter.feed(b"\ndata: c\r\n\r\n")
    assert (first.raw, first.data) == (b"data: a\r\ndata: b\r\n\r\n", b"a\nb")
    assert second.data == b"c"


def test_an_event_whose_blank_line_is_a_lone_cr_comes_with_the_next_byte_or_the_end() -> None:
    splitter = SseSplitter()
    assert splitter.feed(b"data: a\n\r") == []
    assert [block.raw for block in splitter.feed(b"d")] == [b"data: a\n\r"]
    assert splitter.feed(b"ata: b\n\r") == []
    assert [block.raw for block in splitter.end()] == [b"data: b\n\r"]


def test_an_event_is_delivered_as_soon_as_its_blank_line_is_known() -> None:
    assert [block.data for block in SseSplitter().feed(b"data: [DONE]\r\r")] == [b"[DONE]"]


def test_comments_and_blank_lines_have_no_data() -> None:
    blocks = SseSplitter().feed(b": ping\n\n\ndata:x\n\n")
    assert b"".join(block.raw for block in blocks) == b": ping\n\n\ndata:x\n\n"
    assert [block.data for block in blocks if block.data is not None] == [b"x"]
    assert blocks[-1].raw == b"data:x\n\n"


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("idle", [b"", b":", b"d", b": data", b"id: 1", b"event: ping", b"datax: 1"])
def test_a_read_of_nothing_but_idle_events_is_a_block_or_two(idle: bytes, end: bytes) -> None:
    read = (idle + end * (2 if idle else 1)) * 5_000
    splitter = SseSplitter()
    blocks = splitter.feed(b"data: a" + end * 2 + read + b"data: b" + end * 2) + splitter.end()
    assert [block.data for block in blocks if block.data is not None] == [b"a", b"b"]
    assert b"".join(block.raw for block in blocks) == b"data: a" + end * 2 + read + b"data: b" + end * 2
    assert len(blocks) == 3


def test_a_run_of_idle_events_above_the_cap_is_cut_and_not_refused() -> None:
    splitter = SseSplitter(max_event_bytes=100)
    read = b":\n\n" * 500 + b"\n" * 500
    blocks = splitter.feed(read + b"data: a\n\n")
    assert not splitter.too_large
    assert b"".join(block.raw for block in blocks) == read + b"data: a\n\n"
    assert max(len(block.raw) for block in blocks) <= 100


def test_a_byte_order_mark_is_skipped_at_the_start_only() -> None:
    blocks = SseSplitter().feed(b"\xef\xbb\xbfdata: a\n\n\xef\xbb\xbfdata: b\n\n")
    assert [block.data for block in blocks] == [b"a", None]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_an_event_above_the_cap_is_not_kept_and_those_before_it_are_delivered(end: bytes) -> None:
    splitter = SseSplitter(max_event_bytes=100)
    blocks = splitter.feed(b"data: a" + end * 2 + b"data: " + b"x" * 200)
    assert [block.data for block in blocks] == [b"a"]
    assert splitter.too_large
    assert len(splitter.held) == 0
    assert splitter.feed(b"data: b" + end * 2) == []


def test_a_dripped_line_without_an_end_is_cut_at_the_cap() -> None:
    splitter = SseSplitter(max_event_bytes=1000)
    for _ in range(1000):
        splitter.feed(b"x")
    assert not splitter.too_large
    splitter.feed(b"x")
    assert splitter.too_large
