"""The process that routes: frames in, frames out, whatever is in them."""

import io
import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from octoroute_py.neural.candidate import RouterConfig
from octoroute_py.neural.frame import HEAD, LENGTH, read_head
from octoroute_py.neural.wire import Reply
from octoroute_py.neural.worker import serve


def replies_to(*bodies: bytes, config: RouterConfig | None = None, cut: int = 0) -> list[Reply]:
    """What it writes until its input ends; `cut` bytes of the last frame are missing."""
    given = b"".join(LENGTH.pack(len(body)) + body for body in bodies)
    written = io.BytesIO()
    serve(io.BytesIO(given[: len(given) - cut]), written, config or RouterConfig())
    found, data = [], written.getvalue()
    while data:
        (length,) = LENGTH.unpack_from(data)
        frame, data = data[LENGTH.size : LENGTH.size + length], data[LENGTH.size + length :]
        status, retry_after_s, ranked = read_head(frame)
        found.append(Reply(status, frame[HEAD.size :], retry_after_s, ranked))
    return found


def question(**more: object) -> bytes:
    return msgspec.json.encode({"queryEmbedding": [1.0], "candidates": [{"id": "a", "embedding": [1.0]}], **more})


def test_every_frame_is_answered_in_turn() -> None:
    found = replies_to(question(), b"{", question())
    assert [each.status for each in found] == [200, 400, 200]


def test_an_answer_tells_what_it_took_and_an_error_has_nothing_to_tell() -> None:
    candidates = [{"id": each, "embedding": [1.0]} for each in "abc"]
    good, bad, none = replies_to(question(candidates=candidates), b"{", question(candidates=candidates, topK=1))
    leading = json.loads(good.body)["decisions"][0]
    assert good.ranked is not None
    assert good.ranked.lightweight is leading["useLightweight"]
    assert good.ranked.confidence == pytest.approx(leading["confidence"], abs=1e-6)
    assert good.ranked.uncertainty == pytest.approx(leading["uncertainty"], abs=1e-6)
    assert good.ranked.candidates == 3
    assert 0 < good.ranked.inference_s + good.ranked.feature_s < 60
    assert bad.ranked is None
    assert none.ranked is not None
    assert none.ranked.candidates == 3


def test_a_frame_that_is_cut_off_ends_it() -> None:
    assert [each.status for each in replies_to(question(), question(), cut=3)] == [200]


def test_deep_nesting_is_answered_and_does_not_end_it() -> None:
    deep = b'{"x":' * 900 + b"1" + b"}" * 900
    body = b'{"queryEmbedding":[1],"metadata":%b,"candidates":[{"id":"a","embedding":[1],"metadata":%b}]}'
    body %= (deep, deep)
    deeper = body.replace(b'{"x":' * 900, b'{"x":' * 900 * 50)
    found = replies_to(body, deeper, question())
    assert found[0].status in {200, 500}
    assert found[1].status == 400
    assert found[2].status == 200


def test_it_logs_as_the_gateway_does(tmp_path: Path) -> None:
    database = tmp_path / "candidates.db"
    frame = LENGTH.pack(len(question())) + question()
    argv = [sys.executable, "-c", "from octoroute_py.neural.worker import main; main()", str(database), "json", "info"]
    with subprocess.Popen(argv, stdin=-1, stdout=-1, stderr=-1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(frame)
        process.stdin.flush()
        (length,) = LENGTH.unpack(process.stdout.read(LENGTH.size))
        assert b"routingId" in process.stdout.read(length)
        with closing(sqlite3.connect(database, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            answered, said = process.communicate(frame, timeout=60)
    assert b"decisions" in answered
    (line,) = [json.loads(each) for each in said.splitlines()]
    assert (line["level"], line["event"]) == ("warning", "routing not noted")


def test_a_model_that_is_missing_is_told_and_tried_again() -> None:
    found = replies_to(question(), question(), config=RouterConfig(model_path="nothing.safetensors"))
    assert [each.status for each in found] == [503, 503]
    assert msgspec.json.decode(found[0].body)["code"] == "router_unavailable"
