"""W3C trace context: what counts, what does not, and who is sampled."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.trace import Trace
from octoroute_py.telemetry.trace_context import LONGEST_STATE, Sampler, parse_parent, parse_state

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{SPAN}-01"
WIRE = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-0[01]")


def opened(*headers: tuple[str, str], ratio: float = 1.0) -> Trace:
    return Sampler(ratio).open([(name.encode(), value.encode("latin-1")) for name, value in headers])


def test_the_callers_trace_goes_on_with_a_span_of_our_own() -> None:
    trace = opened(("host", "x"), ("traceparent", GOOD), ("tracestate", "congo=t61rcWkgMzE"))
    assert (trace.hex_id, trace.parent_id) == (TRACE, int(SPAN, 16))
    assert (trace.sampled, trace.state) == (True, "congo=t61rcWkgMzE")
    assert len({trace.span_id, trace.routing_id, trace.parent_id, 0}) == 4
    assert trace.headers(0xABC) == (
        (b"traceparent", f"00-{TRACE}-0000000000000abc-01".encode()),
        (b"tracestate", b"congo=t61rcWkgMzE"),
    )


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "garbage",
        GOOD.upper(),
        GOOD.replace(TRACE, "0" * 32),
        GOOD.replace(SPAN, "0" * 16),
        GOOD + "-",
        GOOD + "-extra",
        GOOD + "0",
        GOOD[:-1],
        GOOD + "\n",
        "ff" + GOOD[2:],
        "0" + GOOD,
        GOOD.replace("-", "_"),
        GOOD.replace("4b", "4g", 1),
        "cc" + GOOD[2:] + "x",
    ],
)
def test_what_is_no_traceparent_begins_a_new_trace_without_the_callers_state(bad: str) -> None:
    assert parse_parent(bad.encode()) is None
    trace = opened(("traceparent", bad), ("tracestate", "a=b"))
    assert trace.hex_id != TRACE
    assert (trace.parent_id, trace.state) == (0, "")


def test_of_later_versions_the_fields_are_read_that_every_version_has() -> None:
    expected = (int(TRACE, 16), int(SPAN, 16), True)
    assert parse_parent(f"cc{GOOD[2:]}".encode()) == expected
    assert parse_parent(f"cc{GOOD[2:]}-what-the-future-brings".encode()) == expected


def test_two_traceparents_are_none() -> None:
    assert opened(("traceparent", GOOD), ("traceparent", GOOD)).parent_id == 0


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
def test_the_callers_word_on_sampling_holds_whatever_the_ratio(flags: str, ratio: float, sampled: bool) -> None:
    trace = opened(("traceparent", GOOD[:-2] + flags), ratio=ratio)
    assert trace.sampled is sampled
    assert trace.headers(1)[0][1][-2:] == (b"01" if sampled else b"00")


@given(st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1), st.integers(0, 255))
def test_every_sound_traceparent_is_read_and_written_back(trace_id: int, span_id: int, flags: int) -> None:
    found = parse_parent(b"00-%032x-%016x-%02x" % (trace_id, span_id, flags))
    assert found == (trace_id, span_id, bool(flags & 1))
    trace = Trace(trace_id=trace_id, span_id=5, routing_id=6, sampled=bool(flags & 1))
    assert parse_parent(trace.headers(span_id)[0][1]) == found


@given(st.one_of(st.binary(max_size=80), st.text(string.hexdigits + "-", min_size=50, max_size=60).map(str.encode)))
def test_whatever_comes_in_what_goes_out_is_sound(value: bytes) -> None:
    trace = Sampler(0.5).open([(b"traceparent", value), (b"tracestate", value)])
    fields = dict(trace.headers(trace.span_id))
    assert WIRE.fullmatch(fields[b"traceparent"])
    assert b"\r" not in b"".join(fields.values())
    assert b"\n" not in b"".join(fields.values())


@pytest.mark.parametrize(
    ("given_", "kept"),
    [
        (["a=1"], "a=1"),
        (["a=1,b=2", "c=3"], "a=1,b=2,c=3"),
        (["a=1 ,\t b=2,,"], "a=1,b=2"),
        (["t@v=x/y*z", "a=b c"], "t@v=x/y*z,a=b c"),
        (["a=1,a=2"], ""),
        (["A=1"], ""),
        (["a"], ""),
        (["a=b=c"], ""),
        (["a=é"], ""),
        (["a=b\nc"], ""),
        ([""], ""),
        ([",".join(f"k{n}=v" for n in range(32))], ",".join(f"k{n}=v" for n in range(32))),
        ([",".join(f"k{n}=v" for n in range(33))], ""),
        (["a=" + "x" * 200 + ",b=" + "x" * 200 + ",c=" + "x" * 200], ""),
    ],
)
def test_a_tracestate_is_passed_on_whole_or_not_at_all(given_: list[str], kept: str) -> None:
    assert parse_state([value.encode("latin-1") for value in given_]) == kept
    assert len(kept) <= LONGEST_STATE


@pytest.mark.parametrize("ratio", [0.0, 0.01, 0.5, 1.0])
def test_of_new_traces_the_ratio_is_sampled(ratio: float) -> None:
    sampler = Sampler(ratio)
    count = sum(sampler.open([]).sampled for _ in range(4000))
    assert abs(count / 4000 - ratio) < 0.05
    if ratio in (0.0, 1.0):
        assert count == 4000 * ratio


def test_the_same_trace_is_judged_alike_by_whoever_goes_by_the_ratio() -> None:
    sdk = pytest.importorskip("opentelemetry.sdk.trace.sampling")
    theirs, ours = sdk.TraceIdRatioBased(0.3), Sampler(0.3)
    for _ in range(200):
        trace = ours.open([])
        decision = theirs.should_sample(None, trace.trace_id, "x").decision
        assert (decision is sdk.Decision.RECORD_AND_SAMPLE) is trace.sampled


def test_ids_are_fresh_every_time() -> None:
    traces = [opened() for _ in range(100)]
    assert len({trace.trace_id for trace in traces}) == 100
    assert len({each for trace in traces for each in (trace.span_id, trace.routing_id)}) == 200
