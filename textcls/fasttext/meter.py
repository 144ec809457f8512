"""Precision and recall at every threshold, as fastText's meter has them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64
from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.evaluating import compared
from textcls.fasttext_models.model import FastTextModel

# The score of a true label that is not among those predicted: no threshold reaches it.
_NOT_PREDICTED = -1.0

Float64 = npt.NDArray[np.float64]


class Meter:
    """Scores of labels on texts, and whether each is true.

    Args:
        model: that predicts.
        lines: labels and words, in fastText's format.
        k: labels that are predicted of each text at most; -1: all.
    """

    def __init__(self, model: FastTextModel, lines: Iterable[bytes], k: int) -> None:
        file = model.file
        self._labels = {
            name.decode("utf-8", "replace"): number for number, name in enumerate(file.labels)
        }
        self._gold = np.zeros(len(file.labels), np.int64)
        numbers, scores, is_true = [], [], []
        for gold, predicted, values in compared(model, lines, k, 0.0):
            np.add.at(self._gold, gold, 1)
            missed = [number for number in gold if number not in predicted]
            numbers.append(np.array([*predicted, *missed], np.int64))
            scores.append(np.minimum(values, 1.0))
            scores.append(np.full(len(missed), _NOT_PREDICTED, np.float32))
            is_true.append(np.isin(numbers[-1], gold))
        self._numbers: Int64 = _joined(numbers, np.int64)
        self._scores: Float64 = _joined(scores, np.float64)
        self._is_true = _joined(is_true, np.float64)

    def score_vs_true(self, label: str) -> tuple[Float64, Float64]:
        """Return the scores of a label, ascending, and 1.0 where it is true, else 0.0.

        A true label that was not predicted has the score -1.

        Raises:
            FastTextError: the model has no such label.
        """
        return self._of(self._number_of(label))

    def precision_recall_curve(self, label: str | None = None) -> tuple[Float64, Float64]:
        """Return precision and recall at each threshold, of a label or of all.

        Both are float64 ``[num_thresholds]``, from the highest threshold down to the one that every
        true label reaches, and 1 and 0 at the end; empty where nothing was predicted.

        Raises:
            FastTextError: the model has no such label.
        """
        number = self._number_of(label) if label else None
        scores, is_true = self._of(number)
        gold = self._gold.sum() if number is None else self._gold[number]
        scores, is_true = scores[::-1], is_true[::-1]
        is_last = np.append(scores[1:] != scores[:-1], True)[: len(scores)] & (scores >= 0)
        counts = np.flatnonzero(is_last) + 1
        if not len(counts):
            return np.zeros(0), np.zeros(0)
        right = is_true.cumsum()[counts - 1]
        stop = int(np.searchsorted(right, gold)) + 1
        counts, right = counts[:stop], right[:stop]
        recall = right / gold if gold else np.full(len(right), math.nan)
        return np.append(right / counts, 1.0), np.append(recall, 0.0)

    def precision_at_recall(self, recall: float, label: str | None = None) -> float:
        """Return the best precision at thresholds of at least some recall; of none: 0.

        Raises:
            FastTextError: the model has no such label.
        """
        precisions, recalls = self.precision_recall_curve(label)
        return float(precisions[recalls >= recall].max(initial=0.0))

    def recall_at_precision(self, precision: float, label: str | None = None) -> float:
        """Return the best recall at thresholds of at least some precision; of none: 0.

        Raises:
            FastTextError: the model has no such label.
        """
        precisions, recalls = self.precision_recall_curve(label)
        return float(np.fmax.reduce(recalls[precisions >= precision], initial=0.0))

    def _number_of(self, label: str) -> int:
        if label not in self._labels:
            raise FastTextError(f"the model has no label {label!r}: see its get_labels()")
        return self._labels[label]

    def _of(self, number: int | None) -> tuple[Float64, Float64]:
        """Return the scores of a label or of all, ascending, and which are true."""
        is_wanted = slice(None) if number is None else self._numbers == number
        scores, is_true = self._scores[is_wanted], self._is_true[is_wanted]
        order = np.lexsort([is_true, scores])
        return scores[order], is_true[order]


def _joined(parts: Sequence[npt.NDArray[Any]], kind: type) -> npt.NDArray[Any]:
    return np.concatenate([np.zeros(0, kind), *(part.astype(kind) for part in parts)])
