"""What the sums of exposed requests say of an experiment."""

from typing import Any

import msgspec
import pytest

from octoroute_py.core.experiment import Arm, Experiment, ExperimentStatus, Metric
from octoroute_py.manage import experiment_results
from octoroute_py.manage.anytime import BLOCK, BURN_IN, FEWEST_CALLERS, Verdict
from octoroute_py.manage.experiment_results import ArmResult, ComparisonResult, Results, results_of
from octoroute_py.storage.exposures import Cell, Tally

ARMS = (Arm(name="usual"), Arm(name="new"))
TONE = Experiment(
    id="tone",
    name="Tone",
    arms=ARMS,
    status=ExperimentStatus.RUNNING,
    started_ms=1_800_000_000_000,
)


def tally(arms: str, *, requests: int = 1, left: int = 0, good: int | None = None, **sums: Any) -> Tally:
    """Successes of callers of their own, unless other values are given; a second and a thousandth of a dollar each."""
    good = requests - left if good is None else good
    stayed = requests - left
    known: dict[str, Any] = {
        "per_request": 0,
        "latency": good * 1000.0,
        "cost": requests * 1000.0,
        "callers": stayed,
        "values": stayed,
        "total": good,
        "squares": good,
        "count_squares": stayed,
        "products": good,
        "total_squares": good,
    }
    return Tally(arms=arms, requests=requests, left=left, good=good, **{**known, **sums})


def singles(count: int, mean: float, deviation: float) -> dict[str, Any]:
    """Values of as many callers, with this mean and spread."""
    total, squares = count * mean, count * (mean**2 + deviation**2)
    return {
        "callers": count,
        "values": count,
        "total": total,
        "squares": squares,
        "count_squares": count,
        "products": total,
        "total_squares": squares,
    }


def arm(found: Results, name: str) -> ArmResult:
    (one,) = (each for each in found.arms if each.name == name)
    return one


def only(found: Results) -> ComparisonResult:
    (one,) = found.comparisons
    return one


def blocks(count: int, *, usual: int, new: int) -> tuple[list[Tally], list[Cell]]:
    """Full blocks, half of each the control's, with so many good ones."""
    half = BLOCK // 2
    pair = (("tone:usual", usual), ("tone:new", new))
    return (
        [tally(arms, requests=count * half, good=count * good) for arms, good in pair],
        [Cell(block, arms, half, good) for block in range(count) for arms, good in pair],
    )


def test_requests_are_told_by_how_they_ended() -> None:
    tallies = [
        tally("tone:usual", requests=10, left=2, good=6),
        tally("tone:usual", requests=5, good=5, per_request=5),
        tally("next:canary,tone:new", requests=8, left=1, good=7),
        tally("tones:new", requests=90),
        tally("tone:gone", requests=90),
    ]
    found = results_of(TONE, tallies)
    usual, new = arm(found, "usual"), arm(found, "new")
    assert (usual.requests, usual.failures, usual.cancelled, usual.per_request) == (15, 2, 2, 5)
    assert usual.samples == 13
    assert usual.value == usual.success_rate == pytest.approx(11 / 13)
    assert (new.requests, new.failures, new.cancelled, new.value) == (8, 0, 1, 1.0)
    assert (usual.control, new.control) == (True, False)
    assert (usual.average_latency, usual.average_cost) == (1000.0, 0.001)
    assert (usual.callers, usual.effective_samples) == (13, 13.0)
    assert any("5 of 23 requests named no caller" in note for note in found.notes)


def test_success_is_compared_by_the_z_test_and_by_two_bets() -> None:
    found = results_of(TONE, *blocks(40, usual=15, new=8))
    one = only(found)
    assert (one.arm, one.control, one.test) == ("new", "usual", "two_proportion_z")
    assert one.effect == pytest.approx((8 - 15) / 16)
    assert one.relative_effect == pytest.approx((8 - 15) / 15)
    assert one.p_value is not None
    assert one.p_value < 1e-6
    assert one.effect is not None
    assert one.interval is not None
    assert one.interval.low < one.effect < one.interval.high < 0
    assert (one.anytime.verdict, one.anytime.threshold) == (Verdict.WORSE, 20.0)
    assert one.anytime.interval is not None
    assert one.anytime.interval.low < one.interval.low
    assert only(results_of(TONE, *blocks(40, usual=8, new=15))).anytime.verdict is Verdict.BETTER
    assert only(results_of(TONE, *blocks(40, usual=12, new=12))).anytime.verdict is Verdict.UNDECIDED


def test_success_is_decided_only_when_both_bets_say_so() -> None:
    tallies, cells = blocks(40, usual=15, new=8)
    of_few = [each._replace(callers=FEWEST_CALLERS - 1) for each in tallies]
    assert only(results_of(TONE, of_few, cells)).anytime.verdict is Verdict.UNDECIDED
    assert only(results_of(TONE, tallies, [])).anytime.verdict is Verdict.UNDECIDED
    part = [cell._replace(requests=cell.requests - 1, good=min(cell.good, 7)) for cell in cells]  # no block is full
    assert only(results_of(TONE, tallies, part)).anytime.verdict is Verdict.UNDECIDED


def test_a_block_is_full_with_requests_of_another_experiment_in_it() -> None:
    tallies, cells = blocks(40, usual=15, new=8)
    others = [Cell(cell.block, "TONE:new", 1, 1) for cell in cells if cell.arms == "tone:new"]
    fewer = [cell._replace(requests=15) if cell.arms == "tone:usual" else cell for cell in cells]
    assert only(results_of(TONE, tallies, [*fewer, *others])).anytime.verdict is Verdict.WORSE


def test_several_arms_share_the_chance_of_a_false_alarm() -> None:
    experiment = msgspec.structs.replace(TONE, arms=(*ARMS, Arm(name="third"), Arm(name="fourth"), Arm(name="fifth")))
    found = results_of(experiment, *blocks(8, usual=14, new=10))
    assert [each.arm for each in found.comparisons] == ["new", "third", "fourth", "fifth"]
    assert {each.anytime.threshold for each in found.comparisons} == {80.0}
    e_value = found.comparisons[0].anytime.e_value
    assert e_value is not None
    assert 20 < e_value < 80
    assert found.comparisons[0].anytime.verdict is Verdict.UNDECIDED
    assert only(results_of(TONE, *blocks(8, usual=14, new=10))).anytime.verdict is Verdict.WORSE


@pytest.mark.parametrize(
    ("metric", "usual", "new", "verdict", "unit", "scale"),
    [
        (Metric.LATENCY, 900.0, 700.0, Verdict.BETTER, "ms", 1.0),
        (Metric.LATENCY, 900.0, 1100.0, Verdict.WORSE, "ms", 1.0),
        (Metric.COST, 900.0, 1100.0, Verdict.WORSE, "USD", 1e-6),
        (Metric.QUALITY, 0.5, 0.8, Verdict.BETTER, "score", 1.0),
        (Metric.QUALITY, 0.5, 0.5, Verdict.UNDECIDED, "score", 1.0),
    ],
)
def test_means_are_compared_by_welch_and_by_a_bound_for_all_times(
    metric: Metric, usual: float, new: float, verdict: Verdict, unit: str, scale: float
) -> None:
    experiment = msgspec.structs.replace(TONE, metric=metric)
    tallies = [
        tally("tone:usual", requests=1000, **singles(1000, usual, usual / 2)),
        tally("tone:new", requests=1000, **singles(1000, new, usual / 2)),
    ]
    found = results_of(experiment, tallies)
    one = only(found)
    assert (found.unit, one.test) == (unit, "welch_t")
    assert arm(found, "usual").value == pytest.approx(usual * scale)
    assert arm(found, "new").samples == 1000
    assert one.effect == pytest.approx((new - usual) * scale)
    assert one.anytime.verdict is verdict
    assert one.effect is not None
    assert one.interval is not None
    assert one.anytime.interval is not None
    assert one.anytime.interval.low < one.interval.low < one.effect < one.interval.high < one.anytime.interval.high
    assert (one.anytime.interval.low <= 0 <= one.anytime.interval.high) == (verdict is Verdict.UNDECIDED)


def test_callers_that_are_unlike_are_worth_fewer_requests() -> None:
    half: dict[str, Any] = {"callers": 50, "values": 500, "total": 250.0, "squares": 250.0}
    unlike = {**half, "count_squares": 5000, "products": 2500.0, "total_squares": 2500.0}  # always, or never
    found = results_of(TONE, [tally("tone:usual", requests=500, good=250, **unlike)])
    usual = arm(found, "usual")
    assert (usual.callers, usual.samples) == (50, 500)
    assert usual.effective_samples == pytest.approx(49, rel=0.01)
    assert usual.interval is not None
    assert usual.interval.high - usual.interval.low > 0.25
    assert any("unlike" in note for note in found.notes)
    alike = results_of(TONE, [tally("tone:usual", requests=500, good=250)])
    assert not any("unlike" in note for note in alike.notes)


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
    tallies = [tally("tone:usual", **singles(500, 1.0, 0.5)), tally("tone:new", **singles(BURN_IN - 1, 2.0, 0.5))]
    found = results_of(experiment, tallies)
    assert only(found).anytime.e_value is None
    assert any(f"needs {BURN_IN} values" in note for note in found.notes)


def test_without_scipy_means_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(experiment_results, "student_t", lambda: None)
    experiment = msgspec.structs.replace(TONE, metric=Metric.COST)
    assert any("octoroute-py[stats]" in note for note in results_of(experiment, [tally("tone:usual")]).notes)
    assert not any("scipy" in note for note in results_of(TONE, [tally("tone:usual")]).notes)
