"""Rows as JSON and CSV: every field is there, and nothing in a cell is more than text."""

import csv
import io
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.manage.records import COLUMNS, as_csv, as_json
from octoroute_py.storage.history import Record
from tests.fakes.journal_rows import PLAIN

ROW = Record(**msgspec.structs.asdict(PLAIN), id=7)


def json_of(**changes: Any) -> dict[str, Any]:
    page = json.loads(as_json([msgspec.structs.replace(ROW, **changes)], next_=None))
    (record,) = page["requests"]
    assert isinstance(record, dict)
    return record


def cells_of(**changes: Any) -> dict[str, str]:
    (line,) = csv.DictReader(io.StringIO(as_csv([msgspec.structs.replace(ROW, **changes)]).decode(), newline=""))
    return line


def test_a_record_has_the_documented_fields() -> None:
    attempts = '[{"endpoint":"fast/small#2","status":502}]'
    told = json_of(
        routing_us=250_000,
        first_event_us=400_000,
        attempts=attempts,
        sends=2,
        agent_type="coder",
        cached_tokens=3,
        arms="x:a,y:b",
    )
    assert told == {
        "requestId": "r",
        "entry": "0",
        "timestamp": "2026-09-21T14:13:20.000Z",
        "status": "success",
        "httpStatus": 200,
        "error": None,
        "modelId": "fast/small#1",
        "tier": "fast",
        "decidedTier": "fast",
        "arms": ["x:a", "y:b"],
        "agentType": "coder",
        "workspaceId": "default",
        "keyId": "anonymous",
        "userId": None,
        "requestType": "chat",
        "tag": None,
        "strategy": "rule",
        "reason": "default_tier",
        "rule": None,
        "confidence": None,
        "stream": False,
        "latency": 750.0,
        "totalLatency": 1000.0,
        "timeToFirstEvent": 400.0,
        "usage": {
            "promptTokens": 10,
            "completionTokens": 5,
            "cachedTokens": 3,
            "totalTokens": 15,
            "cost": 0.0001,
            "estimated": False,
        },
        "cost": 0.0001,
        "baseline": 0.0004,
        "attempts": 2,
        "attemptDetails": [{"endpoint": "fast/small#2", "status": 502}],
    }


@pytest.mark.parametrize(
    ("surface", "asked", "told"),
    [
        ("chat", None, "chat"),
        ("completions", None, "completion"),
        ("embeddings", None, "embedding"),
        ("responses", None, "responses"),
        ("chat", "analysis", "analysis"),
    ],
)
def test_the_request_type_is_what_was_asked_for_else_the_operation(surface: str, asked: str | None, told: str) -> None:
    assert json_of(surface=surface, request_type=asked)["requestType"] == told


def test_a_request_that_no_endpoint_was_tried_for_has_no_model() -> None:
    told = json_of(endpoint="", tier="", status=429, error_code="rate_limit_exceeded")
    assert (told["modelId"], told["tier"], told["status"], told["error"]) == (
        None,
        None,
        "rate_limited",
        "rate_limit_exceeded",
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_a_cell_is_never_a_formula(text: str) -> None:
    assert cells_of(agent_type=text)["agentType"] == f"'{text}"


@given(text=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_comes_back_from_its_cell(text: str) -> None:
    assert cells_of(user_id=text)["userId"] in (text, f"'{text}")


def test_numbers_stay_numbers_and_nothing_is_an_empty_cell() -> None:
    told = cells_of(confidence=-0.5)
    assert (told["confidence"], told["cost"], told["error"]) == ("-0.5", "0.0001", "")


def test_the_csv_has_a_line_of_names_also_when_there_is_nothing_else() -> None:
    assert as_csv([]) == (",".join(COLUMNS) + "\r\n").encode()


def test_every_field_of_a_record_but_the_nested_ones_is_a_column() -> None:
    told = json_of()
    flat = {**told, **told["usage"]}
    assert set(COLUMNS) == set(flat) - {"usage", "attemptDetails"}


def test_numbers_and_truths_are_written_as_any_spreadsheet_reads_them() -> None:
    cells = cells_of(cost_uusd=7, stream=1, duration_us=1_500)
    assert (cells["cost"], cells["totalLatency"], cells["stream"], cells["estimated"]) == (
        "0.000007",
        "1.5",
        "true",
        "false",
    )
