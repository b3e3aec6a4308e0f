"""The log of content: masked, bounded, a line a side, from a thread that never holds anybody up."""

import io
import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.config.schema import LogFormat
from octoroute_py.telemetry import content as module
from octoroute_py.telemetry.content import MOST_BYTES, Content, ContentLog, at_most, window, without_edge
from octoroute_py.telemetry.scrub import Scrubber
from octoroute_py.telemetry.sink import Sink

SECRET = "upstream-key-4711"


def written(*contents: Content, fmt: LogFormat = LogFormat.JSON) -> list[str]:
    stream = io.BytesIO()
    sink = Sink(stream)
    log = ContentLog(sink, fmt=fmt, scrubber=Scrubber([SECRET]), now=lambda: 1.0)
    for each in contents:
        log.take(each)
    log.close()
    sink.close()
    return stream.getvalue().decode().splitlines()


def content(prompt: str, answer: str = "", *, size: int = 10) -> Content:
    return Content("req-1", lambda: prompt, lambda: answer, size)


def test_each_side_has_a_line_of_its_own() -> None:
    prompt, answer = map(json.loads, written(content("user: I am a@example.com", "Hello, a@example.com and b@x.io")))
    assert prompt == {
        "time": "1970-01-01T00:00:01.000Z",
        "level": "info",
        "event": "content",
        "request_id": "req-1",
        "side": "prompt",
        "text": "user: I am [email]",
        "masked": {"email": 1},
    }
    assert (answer["side"], answer["text"], answer["masked"]) == ("answer", "Hello, [email] and [email]", {"email": 2})


def test_text_lines_are_one_line_each_whatever_is_said() -> None:
    (line,) = written(content("user: two\nlines \x1b[2J \u2028"), fmt=LogFormat.TEXT)
    assert line.startswith("1970-01-01T00:00:01.000Z info    content request_id=req-1 side=prompt text=")
    assert "\x1b" not in line
    assert "\u2028" not in line


def test_known_secrets_are_scrubbed_like_everywhere() -> None:
    (line,) = written(content(f"my key is {SECRET}"))
    assert SECRET not in line
    assert "***" in line


def test_an_answer_without_text_has_no_line() -> None:
    assert len(written(content("user: hi", ""))) == 1


def test_of_a_prompt_the_end_is_kept_and_of_an_answer_the_start() -> None:
    text = " ".join(f"w{number}" for number in range(9_000))
    prompt, answer = map(json.loads, written(content(text, text)))
    assert prompt["text"].endswith("w8999")
    assert answer["text"].startswith("w0 w1 ")
    for line in (prompt, answer):
        assert line["cut"] is True
        assert MOST_BYTES - 8 <= len(line["text"].encode()) <= MOST_BYTES


@pytest.mark.parametrize("what", ["anna@example.com", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", SECRET])
def test_a_cut_leaves_no_part_of_what_would_have_been_masked(what: str) -> None:
    for shift in range(40):
        text = "x" * shift + " " + f"{what}, " * 2_000
        for line in map(json.loads, written(content(text, text))):
            rest = line["text"].replace("[email]", "").replace("[card]", "").replace("[iban]", "").replace("***", "")
            kept = set(rest) - set("x ,[]emailcardibn*")
            assert not kept, (shift, line["text"][:60], line["text"][-60:])


def test_what_cannot_be_read_is_no_text() -> None:
    def broken() -> str:
        raise ValueError("no text here")

    lines = written(Content("a", broken, lambda: "fine", 1), content("after"))
    assert [json.loads(line)["text"] for line in lines] == ["fine", "after"]


def test_whoever_brings_more_than_can_wait_is_left_out_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING", 2)
    go, began = threading.Event(), threading.Event()

    def slow() -> str:
        began.set()
        assert go.wait(20)
        return "first"

    stream = io.BytesIO()
    sink = Sink(stream)
    log = ContentLog(sink, fmt=LogFormat.JSON, scrubber=Scrubber(), now=lambda: 1.0)
    log.take(Content("slow", slow, str, 1))
    assert began.wait(20)
    for number in range(5):
        log.take(content(f"waits {number}"))
    go.set()
    log.close()
    sink.close()
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["text"] for line in lines if line["event"] == "content"] == ["first", "waits 0", "waits 1"]
    assert [line["requests"] for line in lines if line["event"] == "content left out"] == [3]


def test_large_requests_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 100)
    assert len(written(content("one alone is taken", size=1_000))) == 1


@given(st.text(), st.booleans(), st.integers(min_value=0, max_value=9_000))
def test_bounds_hold_for_any_text(text: str, newest: bool, times: int) -> None:
    text = (text * times)[:60_000]
    kept = at_most(without_edge(window(text, newest=newest), newest=newest), newest=newest)
    assert len(kept.encode()) <= MOST_BYTES
    assert kept.encode("utf-8", "replace").decode() in text.encode("utf-8", "replace").decode()
