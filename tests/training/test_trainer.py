"""Training: what is learned, what is kept, and that it can be repeated to the byte."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from octoroute_py.neural.artifact import Artifact, Kind
from octoroute_py.neural.weights import load, save, to_bytes
from octoroute_py.training.compress import Form, compressed, quality_of, recalibrated
from octoroute_py.training.dataset import Row, read_rows
from octoroute_py.training.metrics import auc, recovery
from octoroute_py.training.raw import raw_scores
from octoroute_py.training.targets import GAIN_WEIGHT, Distillation, outcomes_of, targets_of
from octoroute_py.training.trainer import Moment, Options, Trained, train
from tests.fakes.labelled import TOPICS, drawn_lines, write_lines

QUICK = Options(epochs=3, dimensions=8)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read_rows(write_lines(tmp_path_factory.mktemp("rows") / "train.jsonl", drawn_lines(600, tags=True)))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read_rows(write_lines(tmp_path_factory.mktemp("rows") / "cal.jsonl", drawn_lines(400, seed=1, tags=True)))


@pytest.fixture(scope="module")
def trained(rows: list[Row], others: list[Row]) -> Trained:
    return train(rows, others, options=QUICK)


def untagged(rows: list[Row]) -> list[Row]:
    return [msgspec.structs.replace(row, prompt=msgspec.structs.replace(row.prompt, tag=None)) for row in rows]


def test_most_of_what_the_topic_decides_is_learned(trained: Trained, others: list[Row]) -> None:
    """Knowing each prompt's topic is the best that can be done in the made-up world."""
    quality = quality_of(trained.artifact, untagged(others))
    assert quality.apgr is not None
    assert quality.auc_fast is not None
    chances = np.array([TOPICS[row.subject][1] for row in others])
    outcomes = outcomes_of(others)
    best = recovery(chances[:, 2] - chances[:, 0], outcomes[:, 0], outcomes[:, 2]).apgr()
    assert quality.apgr - 0.5 > 0.75 * (best - 0.5)
    assert quality.auc_fast - 0.5 > 0.75 * (auc(chances[:, 0], outcomes[:, 0] > 0.5) - 0.5)
    assert quality.size_bytes < 300_000


def test_the_same_rows_and_seed_give_the_same_bytes(trained: Trained, rows: list[Row], others: list[Row]) -> None:
    assert to_bytes(train(rows, others, options=QUICK).artifact) == to_bytes(trained.artifact)
    other = train(rows, others, options=msgspec.structs.replace(QUICK, seed=1))
    assert to_bytes(other.artifact) != to_bytes(trained.artifact)


def test_a_trained_artifact_survives_its_file(trained: Trained, others: list[Row], tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save(recalibrated(trained.artifact, others), path)
    prompts = [row.prompt for row in others]
    np.testing.assert_array_equal(raw_scores(load(path), prompts), raw_scores(trained.artifact, prompts))


def test_what_was_trained_is_what_is_served(trained: Trained, others: list[Row]) -> None:
    """The loss that training saw on the validation rows is the loss of the served outputs, but for rounding."""
    outputs = raw_scores(trained.artifact, [row.prompt for row in others])[:, :5]
    targets = targets_of(others)
    logits = outputs[:, :3]
    entropy = (np.logaddexp(0, logits) - targets.values[:, :3] * logits) * targets.known[:, :3]
    missed = GAIN_WEIGHT * (outputs[:, 3:] - targets.values[:, 3:]) ** 2 * targets.known[:, 3:]
    served = (entropy.sum() + missed.sum()) / len(others)
    best = min(epoch.validation_loss for epoch in trained.epochs if epoch.validation_loss is not None)
    assert served == pytest.approx(best, abs=2e-3)


def test_the_best_epoch_is_kept(rows: list[Row], others: list[Row]) -> None:
    spoilt = msgspec.structs.replace(QUICK, epochs=2, rate=0.5, clip=100.0)
    result = train(rows, others, options=spoilt)
    losses = [epoch.validation_loss for epoch in result.epochs if epoch.validation_loss is not None]
    assert len(losses) == 2
    outputs = raw_scores(result.artifact, [row.prompt for row in others])[:, :5]
    targets = targets_of(others)
    logits = outputs[:, :3]
    entropy = (np.logaddexp(0, logits) - targets.values[:, :3] * logits) * targets.known[:, :3]
    missed = GAIN_WEIGHT * (outputs[:, 3:] - targets.values[:, 3:]) ** 2 * targets.known[:, 3:]
    assert (entropy.sum() + missed.sum()) / len(others) == pytest.approx(min(losses), rel=0.05)


def test_progress_is_told_batch_by_batch(rows: list[Row], others: list[Row]) -> None:
    told: list[Moment] = []
    result = train(rows, others, options=msgspec.structs.replace(QUICK, epochs=2), watch=told.append)
    total = told[-1].total
    batches = [moment.done for moment in told if moment.validation_loss is None]
    assert batches == list(range(1, total + 1))
    assert [moment.epoch for moment in result.epochs] == [1, 2]
    assert all(moment.apgr is not None and 0 < moment.apgr < 1.2 for moment in result.epochs)


def test_tags_are_learned_and_unknown_ones_add_nothing(trained: Trained, others: list[Row]) -> None:
    assert trained.artifact.card.tags == ("cells", "courts", "proofs", "rivers")

    def gain(tag: str | None) -> float:
        prompts = [msgspec.structs.replace(row.prompt, tag=tag) for row in others[:50]]
        return float(raw_scores(trained.artifact, prompts)[:, 3].mean())

    assert gain("proofs") > gain(None) > gain("rivers")
    assert gain("never heard of") == gain(None)


def test_scalars_that_never_varied_in_training_change_nothing(trained: Trained, others: list[Row]) -> None:
    prompts = [row.prompt for row in others[:20]]
    chatty = [msgspec.structs.replace(each, turns=9, tools=7, images=3, system_chars=9_999) for each in prompts]
    np.testing.assert_array_equal(raw_scores(trained.artifact, chatty), raw_scores(trained.artifact, prompts))


def test_prompts_of_another_kind_look_strange(trained: Trained, others: list[Row]) -> None:
    usual = raw_scores(trained.artifact, [row.prompt for row in others])
    foreign = [
        msgspec.structs.replace(row.prompt, text="Ελληνικά ζητώ 漢字かな交じり文 \\frac{a}{b} " * 20) for row in others
    ]
    strange = raw_scores(trained.artifact, foreign)
    assert strange[:, 5].min() > usual[:, 5].max()
    assert np.median(strange[:, 6]) > np.quantile(usual[:, 6], 0.95)


def test_ranks_and_sparsity_shape_what_is_trained(rows: list[Row], others: list[Row]) -> None:
    thin = train(rows, others, options=msgspec.structs.replace(QUICK, rank_w=3, rank_u=2)).artifact
    assert thin.cell is not None
    assert np.linalg.matrix_rank(thin.cell.u.dense(), tol=1e-4) == 2
    sparse = train(rows, others, options=msgspec.structs.replace(QUICK, sparsity=0.8)).artifact
    assert sparse.cell is not None
    assert np.mean(sparse.cell.u.dense() == 0) == pytest.approx(0.8, abs=0.01)
    for artifact in (thin, sparse):
        quality = quality_of(artifact, untagged(others))
        assert quality.apgr is not None
        assert quality.apgr > 0.65


def test_a_student_learns_from_a_teacher_alone(trained: Trained, rows: list[Row], others: list[Row]) -> None:
    taught = raw_scores(trained.artifact, [row.prompt for row in rows])[:, :5].astype(np.float32)
    alone = msgspec.structs.replace(QUICK, distillation=Distillation(share=1.0, temperature=2.0), seed=5)
    student = train(rows, others, options=alone, taught=taught).artifact
    prompts = [row.prompt for row in others]
    teacher, pupil = (raw_scores(artifact, prompts)[:, 0] for artifact in (trained.artifact, student))
    assert np.corrcoef(teacher, pupil)[0, 1] > 0.8


@pytest.fixture(scope="module")
def linear(rows: list[Row], others: list[Row]) -> Artifact:
    return train(rows, others, options=msgspec.structs.replace(QUICK, kind=Kind.LINEAR)).artifact


def test_the_linear_baseline_learns_on_the_same_features(linear: Artifact, others: list[Row]) -> None:
    assert linear.cell is None
    quality = quality_of(linear, untagged(others))
    assert quality.apgr is not None
    assert quality.apgr > 0.6
    assert quality.size_bytes < 120_000


@pytest.mark.parametrize(("form", "share"), [(Form(bits=4), 0.6), (Form(sparsity=0.85), 0.45), (Form(rank=6), 0.55)])
def test_compressing_changes_the_file_and_the_numbers(
    trained: Trained, others: list[Row], form: Form, share: float
) -> None:
    before, after = trained.artifact, compressed(trained.artifact, form)
    sizes = [len(to_bytes(artifact)) for artifact in (before, after)]
    assert sizes[1] < share * sizes[0]
    prompts = [row.prompt for row in others]
    apart = np.abs(raw_scores(after, prompts)[:, 3] - raw_scores(before, prompts)[:, 3])
    assert 1e-5 < apart.mean() < 0.2
    assert after.calibration is None


def test_a_rank_that_saves_nothing_is_refused(trained: Trained) -> None:
    with pytest.raises(ValueError, match="from 1 to 15"):
        compressed(trained.artifact, Form(rank=16))
