"""Training a scorer: rows in, an artifact without calibration out; the same rows and options give the same bytes.

Source of the network: Kusupati et al., FastGRNN (NeurIPS 2018); of the schedule of sparsity, the same paper.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from octoroute_py.features.vector import Matrix, Vectoriser
from octoroute_py.neural import kernels
from octoroute_py.neural.artifact import Artifact, Kind
from octoroute_py.neural.compact import pruned
from octoroute_py.training.adamw import AdamW, Parameters
from octoroute_py.training.bodies import Body, CellBody, MeanBody, Sequences
from octoroute_py.training.buckets import Vectors, bucket_vectors
from octoroute_py.training.dataset import Row
from octoroute_py.training.export import Standard, card_of, exported, standard_of
from octoroute_py.training.head import Head
from octoroute_py.training.metrics import recovery
from octoroute_py.training.regression import regress
from octoroute_py.training.sparse import tf_idf
from octoroute_py.training.targets import Distillation, Targets, loss_and_slope, outcomes_of, priors, targets_of

F32 = NDArray[np.float32]

_FOLDS: Final = 5
_LEAST_TAG_ROWS: Final = 20
_TAG_DROPOUT: Final = 0.1
"""So often a row's tag is hidden while training, so that a prompt without one is still judged by its text."""
_DECAYED: Final = frozenset({"w", "w1", "w2", "u", "u1", "u2", "weights", "units", "units_out", "tags"})
_PRUNED: Final = ("w", "w1", "w2", "u", "u1", "u2")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to train; the defaults made the shipped artifact. `sparsity` is the share of W and U set to zero.

    `distillation` says how to agree with a given teacher, `regression` how with the one that is fitted without it.
    """

    kind: Kind = Kind.FASTGRNN
    seed: int = 0
    epochs: int = 6
    batch: int = 96
    rate: float = 4e-3
    decay: float = 0.1
    dropout: float = 0.05
    clip: float = 1.0
    hidden: int = 16
    units: int = 16
    dimensions: int = 32
    rank_w: int | None = None
    rank_u: int | None = None
    sparsity: float = 0.0
    distillation: Distillation = Distillation()
    regression: Distillation = Distillation(share=0.85, temperature=1.0)


class Moment(msgspec.Struct, frozen=True, kw_only=True):
    """How training stands: batches done of all, the epoch, at its end also loss and APGR on the validation rows."""

    done: int
    total: int
    epoch: int
    loss: float
    validation_loss: float | None = None
    apgr: float | None = None


Watch = Callable[[Moment], None]


@dataclass(frozen=True, slots=True)
class _Data:
    """Rows as a network sees them."""

    matrix: Matrix
    scalars: F32  # (N, S), standardised
    tags: NDArray[np.int64]
    targets: Targets
    outcomes: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trained:
    """The artifact, without calibration, and how learning went: one moment an epoch."""

    artifact: Artifact
    epochs: tuple[Moment, ...]


def train(
    rows: Sequence[Row],
    validation: Sequence[Row],
    *,
    options: Options,
    watch: Watch | None = None,
    taught: F32 | None = None,
) -> Trained:
    """Learns from `rows`; the weights kept are those of the epoch with the least loss on `validation`.

    `taught` (N, 5) are a teacher's raw outputs for the rows, to be agreed with as `options.distillation` says. Without
    them the network learns to agree with what the regression foretells of rows it has not seen, which is less noisy
    than the rows' own outcomes. Source of learning from such a teacher: Hinton, Vinyals and Dean, Distilling the
    Knowledge in a Neural Network (2015).
    """
    vectoriser = Vectoriser()
    vectoriser.warm()
    for kernel in (kernels.pool_rows, kernels.pool_rows_back):
        kernels.keep_compiled(kernel)
    matrix = vectoriser.read_all([row.prompt for row in rows])
    standard = standard_of(matrix)
    tags = _tags(rows)
    data = _data(rows, matrix, standard, tags, targets_of(rows, taught=taught))
    checked = _data(validation, vectoriser.read_all([row.prompt for row in validation]), standard, tags, None)
    prompts = tf_idf(matrix)
    folds = np.array([zlib.crc32(row.group.encode()) % _FOLDS for row in rows], dtype=np.int64)
    folds = np.unique(folds, return_inverse=True)[1].astype(np.int64)
    regression = regress(prompts, data.scalars, data.tags, data.targets, folds=folds)
    vectors = bucket_vectors(prompts, regression, dimensions=options.dimensions, seed=options.seed)
    if taught is None:
        data = replace(data, targets=replace(data.targets, taught=regression.foretold))
        options = msgspec.structs.replace(options, distillation=options.regression)
    run = _Run(options, data, vectors, folds, tags=len(tags))
    epochs = run.learn(checked, watch or (lambda moment: None))
    learned = exported(
        run.body,
        run.head,
        vectors=vectors.served,
        pooled=run.pooled(data),
        prompts=prompts,
        standard=standard,
        card=card_of(rows, kind=options.kind, tags=tags, seed=options.seed),
    )
    return Trained(learned, epochs)


class _Run:
    """One training run: a body, a head, and the steps that change them."""

    def __init__(self, options: Options, data: _Data, vectors: Vectors, folds: NDArray[np.int64], *, tags: int) -> None:
        rng = np.random.default_rng(options.seed)
        width = vectors.served.shape[1]
        linear = options.kind is Kind.LINEAR
        self.body: Body = MeanBody()
        if not linear:
            self.body = CellBody(
                width,
                outcomes=width - options.dimensions,
                hidden=options.hidden,
                rank_w=options.rank_w,
                rank_u=options.rank_u,
                rng=rng,
            )
        self.head = Head(
            (width if linear else 3 * options.hidden) + data.scalars.shape[1],
            units=0 if linear else options.units,
            tags=tags,
            start=priors(data.targets),
            dropout=options.dropout,
            rng=rng,
        )
        self.vectors = vectors
        self._rng, self._options, self._data, self._folds = rng, options, data, folds
        self._total = options.epochs * len(self._batches())
        self._optimiser = AdamW(
            self.body.parameters | self.head.parameters,
            rate=options.rate,
            decay=options.decay,
            clip=options.clip,
            steps=self._total,
            decayed=_DECAYED,
        )

    def learn(self, checked: _Data, watch: Watch) -> tuple[Moment, ...]:
        """All epochs; in the end the parameters are those of the best one."""
        told: list[Moment] = []
        best: tuple[float, Parameters] | None = None
        done = 0
        for epoch in range(1, self._options.epochs + 1):
            losses = []
            for fold, batch in self._batches():
                losses.append(self._step(fold, batch))
                done += 1
                self._thin(done / self._total)
                watch(Moment(done=done, total=self._total, epoch=epoch, loss=losses[-1]))
            told.append(
                self._check(checked, Moment(done=done, total=self._total, epoch=epoch, loss=float(np.mean(losses))))
            )
            watch(told[-1])
            reached = told[-1].validation_loss
            if self._settled(epoch) and reached is not None and (best is None or reached < best[0]):
                best = (reached, {name: value.copy() for name, value in self._parameters().items()})
        for name, value in self._parameters().items():
            if best is not None:
                value[...] = best[1][name]
        return tuple(told)

    def pooled(self, data: _Data) -> F32:
        """What the body makes of all rows (N, P), by the vectors that are served."""
        return self.body.pool(Sequences(data.matrix, self.vectors.served), np.arange(len(data.tags), dtype=np.int64))

    def _parameters(self) -> Parameters:
        return self.body.parameters | self.head.parameters

    def _batches(self) -> list[tuple[int, NDArray[np.int64]]]:
        """A shuffled pass over the rows; a batch is of one fold, as it reads that fold's vectors."""
        size = self._options.batch
        batches: list[tuple[int, NDArray[np.int64]]] = []
        for fold in range(len(self.vectors.folds)):
            rows = self._rng.permutation(np.flatnonzero(self._folds == fold))
            batches += [(fold, rows[start : start + size]) for start in range(0, len(rows), size)]
        return [batches[place] for place in self._rng.permutation(len(batches))]

    def _step(self, fold: int, rows: NDArray[np.int64]) -> float:
        data = self._data
        sequences = Sequences(data.matrix, self.vectors.folds[fold])
        pooled = self.body.pool(sequences, rows)
        tags = np.where(self._rng.random(len(rows)) < _TAG_DROPOUT, 0, data.tags[rows])
        made = self.head.forward(pooled, data.scalars[rows], tags, learning=True)
        loss, slope = loss_and_slope(made.outputs, data.targets, rows, distillation=self._options.distillation)
        gradients, d_read = self.head.backward(made, slope)
        gradients |= self.body.pull(sequences, rows, d_read[:, : pooled.shape[1]])
        self._optimiser.step(gradients)
        return loss

    def _settled(self, epoch: int) -> bool:
        """Whether an epoch's weights may be kept: with sparsity only once the zeros stand."""
        return self._options.sparsity == 0.0 or epoch * 3 > self._options.epochs * 2 or self._options.epochs < 3

    def _thin(self, progress: float) -> None:
        """Hard thresholding after the first third; in the last third the places of the zeros are fixed."""
        if self._options.sparsity == 0.0 or progress <= 1 / 3:
            return
        for name in _PRUNED:
            value = self.body.parameters.get(name)
            if value is not None:
                value[...] = pruned(value, self._options.sparsity)

    def _check(self, checked: _Data, moment: Moment) -> Moment:
        if not len(checked.tags):
            return moment
        rows = np.arange(len(checked.tags), dtype=np.int64)
        outputs = self.head.forward(self.pooled(checked), checked.scalars, checked.tags, learning=False).outputs
        loss, _ = loss_and_slope(outputs, checked.targets, rows, distillation=self._options.distillation)
        usable = ~np.isnan(checked.outcomes[:, [0, 2]]).any(axis=1)
        small, large = checked.outcomes[usable, 0], checked.outcomes[usable, 2]
        apgr = recovery(outputs[usable, 3].astype(np.float64), small, large).apgr() if usable.any() else None
        return msgspec.structs.replace(moment, validation_loss=loss, apgr=apgr)


def _data(
    rows: Sequence[Row], matrix: Matrix, standard: Standard, tags: Sequence[str], targets: Targets | None
) -> _Data:
    numbers = {tag: number for number, tag in enumerate(tags, start=1)}
    given = [numbers.get(row.prompt.tag or "", 0) for row in rows]
    return _Data(
        matrix,
        standard.apply(matrix.scalars),
        np.array(given, dtype=np.int64),
        targets if targets is not None else targets_of(rows),
        outcomes_of(rows),
    )


def _tags(rows: Sequence[Row]) -> tuple[str, ...]:
    """The tags with enough rows to learn from, sorted."""
    names, counts = np.unique([row.prompt.tag for row in rows if row.prompt.tag], return_counts=True)
    return tuple(str(name) for name, count in zip(names, counts, strict=True) if count >= _LEAST_TAG_ROWS)
