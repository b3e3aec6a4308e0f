"""What the sums of exposed requests say of an experiment."""

from typing import Any

import msgspec
import pytest

from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus, Metric
from octoroute_py.manage import experiment_results
from octoroute_py.manage.anytime import BLOCK, BURN_IN, Verdict
from octoroute_py.manage.experiment_results import ArmResult, ComparisonResult, Results, results_of
from octoroute_py.storage.exposures import Cell

ARMS = (Arm(name="usual"), Arm(name="new"))
TONE = Experiment(
    id="tone",
    name="Tone",
    arms=ARMS,
    status=ExperimentStatus.RUNNING,
    started_ms=1_800_000_000_000,
)


def cell(
    arms: str, *, block: int = 0, requests: int = 1, left: int = 0, good: int | None = None, **sums: float
) -> Cell:
    """Sums; each good request takes one second and each costs a thousandth of a dollar unless said otherwise."""
    good = requests - left if good is None else good
    known: dict[str, Any] = {
        "latency": good * 1000.0,
        "latency_squares": good * 1e6,
        "cost": requests * 1000.0,
        "cost_squares": requests * 1e6,
        "scores": 0,
        "score": 0.0,
        "score_squares": 0.0,
    }
    return Cell(block, arms, requests, left, good, **{**known, **sums})


def arm(found: Results, name: str) -> ArmResult:
    (one,) = (each for each in found.arms if each.name == name)
    return one


def only(found: Results) -> ComparisonResult:
    (one,) = found.comparisons
    return one


def blocks(count: int, *, usual: int, new: int, first: int = 0) -> list[Cell]:
    """Full blocks, half of each the control's, with so many good ones."""
    half = BLOCK // 2
    return [
        each
        for block in range(first, first + count)
        for each in (
            cell("tone:usual", block=block, requests=half, good=usual),
            cell("tone:new", block=block, requests=half, good=new),
        )
    ]


def test_requests_are_told_by_how_they_ended() -> None:
    cells = [
        cell("tone:usual", requests=10, left=2, good=6),
        cell("tone:usual~", requests=5, good=5),
        cell("next:canary,tone:new", requests=8, left=1, good=7),
        cell("tones:new", requests=90),
        cell("tone:gone", requests=90),
    ]
    found = results_of(TONE, cells)
    usual, new = arm(found, "usual"), arm(found, "new")
    assert (usual.requests, usual.failures, usual.cancelled, usual.per_request) == (15, 2, 2, 5)
    assert usual.samples == 13
    assert usual.value == usual.success_rate == pytest.approx(11 / 13)
    assert (new.requests, new.failures, new.cancelled, new.value) == (8, 0, 1, 1.0)
    assert (usual.control, new.control) == (True, False)
    assert (usual.average_latency, usual.average_cost, usual.average_quality) == (1000.0, 0.001, None)
    assert any("5 of 23 requests named no caller" in note for note in found.notes)


def test_success_is_compared_by_the_z_test_and_by_blocks() -> None:
    found = results_of(TONE, blocks(40, usual=15, new=8))
    one = only(found)
    assert (one.arm, one.control, one.test, one.anytime.method) == (
        "new",
        "usual",
        "two_proportion_z",
        "conditional_e_process",
    )
    assert one.effect == pytest.approx((8 - 15) / 16)
    assert one.relative_effect == pytest.approx((8 - 15) / 15)
    assert one.p_value is not None
    assert one.p_value < 1e-6
    assert one.effect is not None
    assert one.interval is not None
    assert one.interval.low < one.effect < one.interval.high < 0
    assert (one.anytime.verdict, one.anytime.threshold) == (Verdict.WORSE, 20.0)
    assert only(results_of(TONE, blocks(40, usual=8, new=15))).anytime.verdict is Verdict.BETTER
    assert only(results_of(TONE, blocks(40, usual=12, new=12))).anytime.verdict is Verdict.UNDECIDED


def test_a_block_that_is_not_full_waits() -> None:
    full, part = blocks(1, usual=16, new=0), [cell("tone:new", block=1, requests=BLOCK - 1, good=0)]
    assert only(results_of(TONE, full)).anytime.e_value == only(results_of(TONE, full + part)).anytime.e_value
    found = results_of(TONE, part)
    assert (only(found).anytime.verdict, only(found).anytime.e_value) == (Verdict.UNDECIDED, 1.0)
    assert any(f"needs {BLOCK} requests" in note for note in found.notes)


def test_several_arms_share_the_chance_of_a_false_alarm() -> None:
    experiment = msgspec.structs.replace(TONE, arms=(*ARMS, Arm(name="third"), Arm(name="fourth"), Arm(name="fifth")))
    found = results_of(experiment, blocks(5, usual=14, new=10))
    assert [each.arm for each in found.comparisons] == ["new", "third", "fourth", "fifth"]
    assert {each.anytime.threshold for each in found.comparisons} == {80.0}
    e_value = found.comparisons[0].anytime.e_value
    assert e_value is not None
    assert 20 < e_value < 80
    assert found.comparisons[0].anytime.verdict is Verdict.UNDECIDED
    assert only(results_of(TONE, blocks(5, usual=14, new=10))).anytime.verdict is Verdict.WORSE


def spread(total: int, mean: float, deviation: float, name: str) -> dict[str, Any]:
    """Sums of numbers with this mean and spread."""
    return {name: total * mean, f"{name}_squares": total * (mean**2 + deviation**2)}


@pytest.mark.parametrize(
    ("metric", "name", "usual", "new", "verdict", "unit", "scale"),
    [
        (Metric.LATENCY, "latency", 900.0, 700.0, Verdict.BETTER, "ms", 1.0),
        (Metric.LATENCY, "latency", 900.0, 1100.0, Verdict.WORSE, "ms", 1.0),
        (Metric.COST, "cost", 900.0, 1100.0, Verdict.WORSE, "USD", 1e-6),
        (Metric.QUALITY, "score", 0.5, 0.8, Verdict.BETTER, "score", 1.0),
        (Metric.QUALITY, "score", 0.5, 0.5, Verdict.UNDECIDED, "score", 1.0),
    ],
)
def test_means_are_compared_by_welch_and_by_a_bound_for_all_times(
    metric: Metric, name: str, usual: float, new: float, verdict: Verdict, unit: str, scale: float
) -> None:
    experiment = msgspec.structs.replace(TONE, metric=metric)
    cells = [
        cell("tone:usual", requests=1000, **{"scores": 1000, **spread(1000, usual, usual / 2, name)}),
        cell("tone:new", requests=1000, **{"scores": 1000, **spread(1000, new, usual / 2, name)}),
    ]
    found = results_of(experiment, cells)
    one = only(found)
    assert (found.unit, one.test, one.anytime.method) == (unit, "welch_t", "asymptotic_confidence_sequence")
    assert arm(found, "usual").value == pytest.approx(usual * scale)
    assert arm(found, "new").samples == 1000
    assert one.effect == pytest.approx((new - usual) * scale)
    assert one.anytime.verdict is verdict
    assert one.effect is not None
    assert one.interval is not None
    assert one.anytime.interval is not None
    assert one.anytime.interval.low < one.interval.low < one.effect < one.interval.high < one.anytime.interval.high
    assert (one.anytime.interval.low <= 0 <= one.anytime.interval.high) == (verdict is Verdict.UNDECIDED)


def test_latency_is_that_of_good_answers_and_quality_that_of_judged_ones() -> None:
    cells = [cell("tone:usual", requests=10, left=3, good=4, scores=2, score=1.5, score_squares=1.25)]
    assert arm(results_of(msgspec.structs.replace(TONE, metric=Metric.LATENCY), cells), "usual").samples == 4
    assert arm(results_of(msgspec.structs.replace(TONE, metric=Metric.COST), cells), "usual").samples == 10
    quality = arm(results_of(msgspec.structs.replace(TONE, metric=Metric.QUALITY), cells), "usual")
    assert (quality.samples, quality.value) == (2, 0.75)


@pytest.mark.parametrize("metric", list(Metric))
def test_what_nobody_took_part_in_shows_nothing(metric: Metric) -> None:
    found = results_of(msgspec.structs.replace(TONE, metric=metric), ())
    one = only(found)
    assert (one.effect, one.relative_effect, one.interval, one.p_value) == (None, None, None, None)
    assert one.anytime.verdict is Verdict.UNDECIDED
    assert arm(found, "new").value is None
    assert found.notes == ["No request has taken part yet."]


def test_means_wait_for_enough_numbers() -> None:
    experiment = msgspec.structs.replace(TONE, metric=Metric.COST)
    cells = [cell("tone:usual", requests=500), cell("tone:new", requests=BURN_IN - 1)]
    found = results_of(experiment, cells)
    assert only(found).anytime.e_value is None
    assert any(f"needs {BURN_IN} values" in note for note in found.notes)


def test_without_scipy_means_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_results, "student_t", lambda: None)
    experiment = msgspec.structs.replace(TONE, metric=Metric.COST)
    assert any("octoroute-py[stats]" in note for note in results_of(experiment, [cell("tone:usual")]).notes)
    assert not any("scipy" in note for note in results_of(TONE, [cell("tone:usual")]).notes)
