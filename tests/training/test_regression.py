"""The regression behind the outcome directions: it is a ridge regression, and foretells rows it has not seen."""

import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.lexicon import BUCKETS
from octoroute_py.features.vector import Matrix
from octoroute_py.training.regression import Regression, regress
from octoroute_py.training.sparse import TfIdf, tf_idf
from octoroute_py.training.targets import Targets

ROWS = 240
FOLDS = np.arange(ROWS, dtype=np.int64) % 3
SCALARS = np.zeros((ROWS, 32), dtype=np.float32)
NO_TAGS = np.zeros(ROWS, dtype=np.int64)
TOPICS = np.arange(ROWS) // 2 % 2


def prompts() -> TfIdf:
    """Prompts of two topics, each with words of its own."""
    rng = np.random.default_rng(0)
    words = np.concatenate([rng.integers(0, 15, 12) + 15 * topic for topic in TOPICS]).astype(np.int32)
    return tf_idf(Matrix(words, np.arange(ROWS + 1, dtype=np.int64) * 12, SCALARS))


def outcomes(*, laddered: NDArray[np.bool_], fast: NDArray[np.number]) -> Targets:
    """Fast as given, deep always right; balanced like fast, where it is known."""
    ones = np.ones(ROWS)
    values = np.stack((fast, fast, ones, 1 - fast, 1 - fast), axis=1).astype(np.float32)
    known = np.ones((ROWS, 5), dtype=np.float32)
    known[:, 1] = known[:, 4] = laddered
    return Targets(values * known, known)


def by_topic(regression: Regression, output: int, rows: NDArray[np.bool_]) -> tuple[float, float]:
    """What is foretold on average of either topic."""
    told = regression.foretold[:, output]
    return float(told[rows & (TOPICS == 0)].mean()), float(told[rows & (TOPICS == 1)].mean())


def test_each_kind_of_rows_is_foretold_by_its_own_kind() -> None:
    laddered = np.arange(ROWS) % 2 == 0
    fast = np.where(laddered, TOPICS, 1 - TOPICS)  # what helps the one kind harms the other
    found = regress(prompts(), SCALARS, NO_TAGS, outcomes(laddered=laddered, fast=fast), folds=FOLDS)
    hard, easy = by_topic(found, 0, laddered)
    assert hard < 0 < easy
    easy, hard = by_topic(found, 0, ~laddered)
    assert hard < 0 < easy
    most, least = by_topic(found, 3, laddered)
    assert least < 0.5 < most
    assert np.isnan(found.foretold[~laddered][:, [1, 4]]).all()
    assert not np.isnan(found.foretold[laddered]).any()
    assert [part.shape for part in found.directions] == [(BUCKETS, 3 + 5)] * 3


def test_rows_of_one_kind_have_its_directions_alone() -> None:
    for laddered, width in ((np.ones(ROWS, dtype=np.bool_), 5), (np.zeros(ROWS, dtype=np.bool_), 3)):
        found = regress(prompts(), SCALARS, NO_TAGS, outcomes(laddered=laddered, fast=TOPICS), folds=FOLDS)
        assert [part.shape for part in found.directions] == [(BUCKETS, width)] * 3


def test_nothing_is_foretold_where_no_other_fold_tells() -> None:
    laddered = FOLDS == 1
    found = regress(prompts(), SCALARS, NO_TAGS, outcomes(laddered=laddered, fast=TOPICS), folds=FOLDS)
    assert np.isnan(found.foretold[laddered]).all()
    assert not np.isnan(found.foretold[~laddered][:, [0, 2, 3]]).any()


def test_what_is_foretold_of_a_row_does_not_depend_on_its_outcome() -> None:
    every, fast = np.ones(ROWS, dtype=np.bool_), TOPICS.astype(np.float64)
    flipped = np.where(FOLDS == 0, 1 - fast, fast)
    one, other = (
        regress(prompts(), SCALARS, NO_TAGS, outcomes(laddered=every, fast=each), folds=FOLDS).foretold
        for each in (fast, flipped)
    )
    np.testing.assert_array_equal(one[FOLDS == 0], other[FOLDS == 0])
    assert np.abs(one - other)[FOLDS != 0].max() > 0.1


def test_a_tag_is_heard_where_words_say_nothing() -> None:
    tags = np.arange(ROWS, dtype=np.int64) // 6 % 3  # none, and two named ones
    fast = (tags == 1).astype(np.float64)
    targets = outcomes(laddered=np.ones(ROWS, dtype=np.bool_), fast=fast)
    told = regress(prompts(), SCALARS, tags, targets, folds=FOLDS).foretold[:, 0]
    assert told[tags == 1].min() > told[tags != 1].max()


def test_coefficients_are_those_of_a_ridge_regression() -> None:
    fast = np.random.default_rng(1).integers(0, 2, ROWS).astype(np.float64)
    whole, used = prompts(), FOLDS != 2
    targets = outcomes(laddered=np.zeros(ROWS, dtype=np.bool_), fast=fast)
    found = regress(whole, SCALARS, NO_TAGS, targets, folds=FOLDS).directions[2]
    dense = np.zeros((ROWS, 30))
    dense[whole.rows, whole.buckets] = whole.weights
    gram = dense[used].T @ dense[used] + 12.0 * np.eye(30)
    expected = np.linalg.solve(gram, dense[used].T @ (fast - fast[used].mean())[used])
    np.testing.assert_allclose(found[:30, 0], expected * whole.rarity[:30], atol=1e-3)
