import msgspec
import numpy as np
import pytest

from octoroute_py.core.words import TIERS
from octoroute_py.neural.calibrate import fit_calibration, losses_of, smallest_success
from octoroute_py.neural.decide import choose
from octoroute_py.training.evaluate import ALPHAS, evaluate
from octoroute_py.training.metrics import auc, recovery
from octoroute_py.training.report import BEATS, NO_BETTER, Report, as_json
from tests.fakes.evidence import calibrated, evidence_of, knowing_nothing
from tests.fakes.outcomes import drawn


def test_the_report_covers_all_rows_each_kind_of_labels_and_each_source(report: Report) -> None:
    assert report.rows == report.all.rows == 1_500
    assert sum(group.rows for group in report.groups) == 1_500
    assert [group.name for group in report.sources] == ["chat", "maths"]
    assert [dial.alpha for dial in report.all.dials] == list(ALPHAS)
    assert report.calibrated_on == 3_000


def test_its_figures_are_those_of_the_metrics(report: Report) -> None:
    raw, outcomes = drawn(np.random.default_rng(5), rows=1_500)
    curve = recovery(raw[:, 3], outcomes[:, 0], outcomes[:, 2])
    assert report.all.apgr.value == curve.apgr()
    assert (report.all.cpt50, report.all.cpt80) == (curve.cpt(0.5), curve.cpt(0.8))
    assert report.all.apgr.low < report.all.apgr.value < report.all.apgr.high
    p = calibrated().probabilities(raw)
    assert report.all.auc_right.fast == auc(p[:, 0], outcomes[:, 0] > 0)
    assert report.all.auc_gain == auc(raw[:, 3], outcomes[:, 2] > outcomes[:, 0])
    length = recovery(np.arange(1_500.0), outcomes[:, 0], outcomes[:, 2]).apgr()
    assert report.all.apgr_length == length
    assert report.all.apgr_linear is not None
    assert length < report.all.apgr_linear < report.all.apgr.value


def test_the_realised_risk_is_that_of_the_serving_policy(report: Report) -> None:
    raw, outcomes = drawn(np.random.default_rng(5), rows=1_500)
    calibration, losses = calibrated(), losses_of(outcomes)
    for dial in report.all.dials:
        told = calibration.dial(dial.alpha)
        made = [choose(calibration.score(row), dial=told).leaning for row in raw.tolist()]
        lost = [losses[n, TIERS.index(tier)] for n, tier in enumerate(made) if tier is not TIERS[2]]
        assert dial.risk == pytest.approx(sum(lost) / len(raw))
        assert dial.risk == pytest.approx(dial.alpha, abs=0.02)
        assert dial.shares.fast == made.count(TIERS[0]) / len(raw)
        assert dial.cost == pytest.approx(np.mean([(1.0, 4.0, 20.0)[TIERS.index(tier)] for tier in made]))


def test_a_scorer_that_knows_something_is_reported_to_be_better(report: Report) -> None:
    assert report.verdict == BEATS
    assert all(dial.lead.low > 0 for dial in report.all.dials)


def test_a_random_scorer_is_reported_as_no_better_in_95_of_100_runs() -> None:
    said = 0
    for run in range(100):
        rng = np.random.default_rng(run)
        calibration = fit_calibration(*knowing_nothing(rng, rows=500))
        rows = evidence_of(*knowing_nothing(rng, rows=300))
        said += evaluate(rows, calibration, artifact="random", data="drawn", seed=run, draws=300).verdict == NO_BETTER
    assert said >= 95


def test_the_sets_are_held_against_the_smallest_success(report: Report) -> None:
    raw, outcomes = drawn(np.random.default_rng(5), rows=1_500)
    calibration = calibrated()
    sets = [calibration.score(row).labels for row in raw.tolist()]
    inside = [TIERS[smallest] in held for smallest, held in zip(smallest_success(outcomes), sets, strict=True)]
    assert report.all.covered == pytest.approx(np.mean(inside))
    assert report.all.covered == pytest.approx(0.9, abs=0.03)
    assert report.all.certain == pytest.approx(np.mean([len(held) == 1 for held in sets]))


def test_prompts_of_another_kind_are_told(report: Report) -> None:
    raw, outcomes = drawn(np.random.default_rng(6), rows=600, shift=6.0)
    shifted = evaluate(evidence_of(raw, outcomes), calibrated(), artifact="a", data="shifted")
    assert shifted.all.in_distribution < 0.05
    assert shifted.all.dials[1].abstained > 0.95
    assert report.all.in_distribution > 0.95
    assert report.all.dials[1].abstained < 0.05


def test_rows_without_a_label_of_balanced_leave_its_figures_out(report: Report) -> None:
    (without,) = [group for group in report.groups if group.right.balanced is None]
    assert without.ece.balanced is None
    assert without.auc_right.balanced is None
    assert without.ece.fast is not None


def test_the_curve_runs_from_all_deep_down_to_cheap(report: Report) -> None:
    costs = [cost for cost, _ in report.all.curve]
    assert costs == sorted(costs, reverse=True)
    assert costs[0] == 20.0
    assert report.all.curve[0][1] == pytest.approx(report.all.right.deep)
    assert costs[-1] < 4.0


def test_the_json_holds_every_figure_and_nothing_that_is_not_a_number(report: Report) -> None:
    read = msgspec.json.decode(as_json(report))
    assert read["verdict"] == BEATS
    assert read["groups"][0]["dials"][1]["lead"]["low"] == report.groups[0].dials[1].lead.low
    assert msgspec.json.decode(as_json(report), type=Report) == report


def test_an_evaluation_without_rows_is_refused() -> None:
    raw, outcomes = drawn(np.random.default_rng(7), rows=1)
    with pytest.raises(ValueError, match="no row"):
        evaluate(evidence_of(raw[:0], outcomes[:0]), calibrated(), artifact="a", data="b")
