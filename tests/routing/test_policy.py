from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octoroute_py.core.errors import BadRequest
from octoroute_py.core.words import Importance, TaskType
from octoroute_py.routing.policy import HEADERS, Hints, read_hints


def test_no_hints() -> None:
    assert read_hints({"content-type": "application/json"}, {}) == Hints()


def test_every_hint_as_a_header() -> None:
    hints = read_hints(
        {
            "x-octoroute-importance": "high",
            "x-octoroute-task-type": "code",
            "x-octoroute-agent-type": "planner",
            "x-octoroute-workspace": "shop",
            "x-octoroute-user-tier": "gold",
            "x-octoroute-tag": " my tag ",
            "x-octoroute-max-quality-loss": "0.1",
            "x-octoroute-privacy": "local-only",
            "x-octoroute-session": "s-1",
            "x-request-timeout": "2.5",
        },
        {},
    )
    assert hints == Hints(
        importance=Importance.HIGH,
        task_type=TaskType.CODE,
        agent_type="planner",
        workspace="shop",
        user_tier="gold",
        tag="my tag",
        max_quality_loss=0.1,
        local_only=True,
        session="s-1",
        timeout_s=2.5,
    )


def test_every_hint_in_the_body() -> None:
    hints = read_hints(
        {},
        {
            "importance": "low",
            "task_type": "deep_analysis",
            "agent_type": "プランナー",
            "workspace": "w",
            "user_tier": "free",
            "tag": "t",
            "privacy": "local-only",
            "session": "s",
            "timeout": 3,
        },
    )
    assert hints == Hints(
        importance=Importance.LOW,
        task_type=TaskType.DEEP_ANALYSIS,
        agent_type="プランナー",
        workspace="w",
        user_tier="free",
        tag="t",
        local_only=True,
        session="s",
        timeout_s=3.0,
    )


def test_the_header_wins_over_the_body() -> None:
    assert read_hints({"x-octoroute-importance": "high"}, {"importance": "low"}).importance is Importance.HIGH
    assert read_hints({"x-request-timeout": "1"}, {"timeout": 9}).timeout_s == 1.0


def test_a_wrong_value_is_told_even_where_the_header_wins() -> None:
    with pytest.raises(BadRequest) as caught:
        read_hints({"x-octoroute-importance": "high"}, {"importance": "urgent"})
    assert caught.value.param == "octoroute.importance"


def test_null_in_the_body_is_no_hint() -> None:
    assert read_hints({}, dict.fromkeys(HEADERS)) == Hints()


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("X-Octoroute-Importance", "HIGH"),
        ("X-Octoroute-Importance", ""),
        ("X-Octoroute-Task-Type", "poetry"),
        ("X-Octoroute-Privacy", "Local-Only"),
        ("X-Octoroute-Privacy", "none"),
        ("X-Octoroute-Privacy", "local-only, local-only"),
        ("X-Octoroute-Privacy", ""),
        ("X-Octoroute-Agent-Type", "a" * 129),
        ("X-Octoroute-Workspace", "a\x7fb"),
        ("X-Octoroute-Tag", " "),
        ("X-Octoroute-Session", "a\tb"),
        ("X-Request-Timeout", "0"),
        ("X-Request-Timeout", "-1"),
        ("X-Request-Timeout", "1e3"),
        ("X-Request-Timeout", "inf"),
        ("X-Request-Timeout", "nan"),
        ("X-Request-Timeout", "1s"),
        ("X-Request-Timeout", "."),
        ("X-Request-Timeout", "٣"),
        ("X-Request-Timeout", "9" * 400),
    ],
)
def test_a_wrong_header_is_named(header: str, value: str) -> None:
    with pytest.raises(BadRequest, match=header) as caught:
        read_hints({header.lower(): value}, {})
    assert (caught.value.status, caught.value.param) == (400, header)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("importance", "urgent"),
        ("importance", 1),
        ("task_type", ["code"]),
        ("privacy", True),
        ("privacy", False),
        ("privacy", "cloud"),
        ("tag", ""),
        ("tag", 5),
        ("session", "x" * 129),
        ("timeout", 0),
        ("timeout", -2.0),
        ("timeout", True),
        ("timeout", "soon"),
        ("timeout", float("nan")),
        ("timeout", {}),
    ],
)
def test_a_wrong_member_of_the_body_is_named(name: str, value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        read_hints({}, {name: value})
    assert (caught.value.status, caught.value.param) == (400, f"octoroute.{name}")


@pytest.mark.parametrize(("text", "seconds"), [("30", 30.0), ("0.5", 0.5), (".5", 0.5), ("5.", 5.0)])
def test_a_timeout_is_decimal_seconds(text: str, seconds: float) -> None:
    assert read_hints({"x-request-timeout": text}, {}).timeout_s == seconds
    assert read_hints({}, {"timeout": text}).timeout_s == seconds


def test_a_timeout_beyond_any_number_is_only_a_long_one() -> None:
    timeout_s = read_hints({}, {"timeout": 10**400}).timeout_s
    assert timeout_s is not None
    assert timeout_s > 1e9


def test_unknown_names_are_told_with_the_likely_one() -> None:
    with pytest.raises(BadRequest, match=r"octoroute\.importence is not known\. Did you mean importance\?") as caught:
        read_hints({}, {"importence": "high"})
    assert caught.value.param == "octoroute.importence"
    with pytest.raises(BadRequest, match="Known are importance"):
        read_hints({}, {"q" * 100_000: None})


@given(
    st.dictionaries(st.sampled_from([header.lower() for header in HEADERS.values()]), st.text(), max_size=4),
    st.dictionaries(
        st.sampled_from(list(HEADERS)),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.integers()),
        max_size=4,
    ),
)
def test_whatever_is_sent_is_read_or_refused(headers: dict[str, str], members: dict[str, Any]) -> None:
    try:
        hints = read_hints(headers, members)
    except BadRequest:
        return
    wished = "x-octoroute-privacy" in headers or members.get("privacy") is not None
    assert hints.local_only is wished


@pytest.mark.parametrize("value", [0, 1, 0.25, "0", "1.0", ".5"])
def test_the_dial_is_a_number_from_0_to_1(value: object) -> None:
    hints = read_hints({}, {"max_quality_loss": value})
    assert hints.max_quality_loss == float(value)  # type: ignore[arg-type]  # each of them can be a float
    if isinstance(value, str):
        assert read_hints({"x-octoroute-max-quality-loss": value}, {}) == hints


@pytest.mark.parametrize("value", [-0.1, 1.01, "2", "", "0,1", "nan", "-1", True, [], 10**400])
def test_a_dial_that_is_no_share_is_refused(value: object) -> None:
    with pytest.raises(BadRequest) as caught:
        read_hints({}, {"max_quality_loss": value})
    assert caught.value.param == "octoroute.max_quality_loss"
