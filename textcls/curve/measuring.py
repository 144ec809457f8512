"""Trainings on subsets of train, each measured on the rows of validation, which it never sees."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from textcls.config import Config
from textcls.corpus.corpus import Corpus
from textcls.corpus.splits import RowLabels, Split, stratified_cut
from textcls.curve.design import drawn
from textcls.data.prepare import Prepared, prepare_apart
from textcls.data.sharded import Split as SplitBags
from textcls.defaults import resolve
from textcls.device import to_device
from textcls.fitting import refits, train, train_on_all
from textcls.model.embedding_bag import EmbeddingBagClassifier, scores_of
from textcls.report.agreement import are_right
from textcls.report.statistics import micro_f1_by_row
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.names import MULTI, SINGLE
from textcls.task.single import SingleLabel
from textcls.task.tasks import task_of
from textcls.training.tracking import Listener
from textcls.vectors.found import PretrainedVectors

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """What a training on a subset came to.

    Attributes:
        rows: of the subset.
        draw: its number among those of its size.
        score: the headline of the task, on the held-out rows.
        macro_f1: on them as well.
        seconds: that it took, with tokenizing.
        by_row: float64 ``[num_held]``, whose mean is the score: how it would differ on others.
    """

    rows: int
    draw: int
    score: float
    macro_f1: float
    seconds: float
    by_row: Float64


class Subsets:
    """The subsets of a corpus, each of which can be learned from.

    Args:
        config: as of a run.
        corpus: whose train they are of; its test split may be without rows.

    Attributes:
        num_rows: of train, the largest subset.
        num_held: rows of validation.
        num_classes: classes, or labels.
        where: the file of train, for messages.
        metric: that scores are of.
        names: of metrics, where people read them.

    Raises:
        InputError: vectors or device cannot be used.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        self._config, self._corpus = config, corpus
        self._device = to_device(config.trainer.device)
        name = config.model.vectors
        self._vectors = None if name is None else PretrainedVectors.find(name)
        self.num_rows, self.num_held = len(self._corpus.train), len(self._corpus.validation)
        self.num_classes = len(self._corpus.label_names)
        self.where = self._corpus.train.where
        several = corpus.train.labels.several
        self.metric = (MultiLabel if several else SingleLabel).headline
        self.names = MULTI if several else SINGLE

    def measure(self, size: int, draw: int) -> Point:
        """Train on a subset as a run would on a train split of these rows; measure the model.

        Args:
            size: rows.
            draw: the number of the subset among those of its size.

        Raises:
            InputError: the options do not suit so few rows.
            TextclsError: the training failed.
            Interrupted: a signal came.
        """
        began = time.perf_counter()
        data = self._config.data
        chosen = drawn(self.num_rows, size, draw, data.split_seed)
        subset, _ = _copy(self._corpus.train).cut(chosen)
        seed = (self._config.seed + draw) % 2**63
        config = dataclasses.replace(self._config, seed=seed)
        with tempfile.TemporaryDirectory(prefix="textcls-") as scratch:
            model, task, held = self._trained(config, subset, Path(scratch))
            names = self._corpus.label_names
            found = task.assess(scores_of(model, held), held.targets, names)
        score = float(found.metrics[task.headline])
        decided = found.decided
        offsets = None if decided.offsets is None else decided.offsets.numpy()
        predicted = RowLabels(decided.ids.numpy(), offsets)
        return Point(
            size,
            draw,
            score,
            float(found.metrics["macro_f1"]),
            time.perf_counter() - began,
            _by_row(predicted, self._corpus.validation.labels, score),
        )

    def _trained(
        self, config: Config, subset: Split, folder: Path
    ) -> tuple[EmbeddingBagClassifier, Task, SplitBags]:
        """Return a model, its task, and the held-out rows in the ids of its features."""
        own = self._own_validation(config, subset)

        def prepared(name: str, joined: bool) -> Prepared:
            (folder / name).mkdir()
            # The rows that are measured on stand in the place of test.
            held, rest = _copy(subset).cut(own)
            splits = {"train": rest, "validation": held, "test": _copy(self._corpus.validation)}
            corpus: Corpus = dataclasses.replace(self._corpus, **splits)  # type: ignore[arg-type]
            return prepare_apart(
                corpus, config.tokenizer, folder / name, joined, vectors=self._vectors
            )

        if not own.any():
            whole = prepared("train", joined=True)
            config = resolve(config, whole.about)
            model = train_on_all(config, whole, folder / "fit", self._device, Listener())
            return model, task_of(whole.train), whole.test
        parts = prepared("train", joined=False)
        config = resolve(config, parts.about)
        trained = train(
            config,
            parts,
            lambda: prepared("joined", joined=True),
            lambda _: None,
            folder / "fit",
            self._device,
            Listener(),
        )
        return trained.model, trained.task, trained.prepared.test

    def _own_validation(self, config: Config, subset: Split) -> npt.NDArray[np.bool_]:
        """Return which rows of a subset its training is to hold out for itself, bool ``[size]``.

        None where it has nothing to choose by them that changes what it predicts.
        """
        chooses = (
            self._corpus.train.labels.several  # thresholds
            or not refits(config)
            or config.trainer.patience is not None
        )
        if not chooses:
            return np.zeros(len(subset), np.bool_)
        rng = np.random.default_rng(config.data.split_seed)
        labels = subset.labels.one_each()
        return stratified_cut(labels, config.data.validation_fraction, rng, least=3)


def _copy(split: Split) -> Split:
    """Return a split whose texts may be taken out of it."""
    return Split(list(split.chunks), split.labels, split.where)


def _by_row(predicted: RowLabels, labels: RowLabels, score: float) -> Float64:
    """Spread the score of predictions over the rows, float64 ``[num_rows]``."""
    if labels.several:
        values = micro_f1_by_row([predicted], labels)
    else:
        values = are_right(predicted, labels.hard()).astype(np.float64)
    if labels.weights is None:
        return values
    spread: Float64 = score + labels.weights / labels.weights.mean() * (values - score)
    return spread
