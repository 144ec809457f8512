"""Precision and recall as fastText counts them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from textcls.fasttext_models.encoding import split
from textcls.fasttext_models.matrices import Float32
from textcls.fasttext_models.model import FastTextModel, blocks_of


class Tally:
    """Counts of predicted and true labels.

    Args:
        num_labels: how many there are.

    Attributes:
        num_texts: that were counted.
    """

    def __init__(self, num_labels: int) -> None:
        self.num_texts = 0
        self.gold = np.zeros(num_labels, np.int64)
        self.predicted = np.zeros(num_labels, np.int64)
        self.right = np.zeros(num_labels, np.int64)

    def add(self, gold: Sequence[int], predicted: Sequence[int]) -> None:
        """Count a text."""
        self.num_texts += 1
        np.add.at(self.gold, list(gold), 1)
        np.add.at(self.predicted, list(predicted), 1)
        np.add.at(self.right, [number for number in predicted if number in gold], 1)

    def precision(self) -> float:
        """Return the share of the predicted labels that are true."""
        return _share(self.right.sum(), self.predicted.sum())

    def recall(self) -> float:
        """Return the share of the true labels that are predicted."""
        return _share(self.right.sum(), self.gold.sum())

    def scores(self, number: int) -> dict[str, float]:
        """Return precision, recall and F1 of a label; not a number where they have no meaning."""
        right, predicted, gold = self.right[number], self.predicted[number], self.gold[number]
        return {
            "precision": _share(right, predicted),
            "recall": _share(right, gold),
            "f1score": _share(2 * right, predicted + gold),
        }


def tally(model: FastTextModel, lines: Iterable[bytes], k: int, threshold: float) -> Tally:
    """Count how often predictions are the labels that lines have; see :func:`compared`."""
    found = Tally(len(model.file.labels))
    for gold, predicted, _ in compared(model, lines, k, threshold):
        found.add(gold, predicted)
    return found


def compared(
    model: FastTextModel, lines: Iterable[bytes], k: int, threshold: float
) -> Iterator[tuple[list[int], list[int], Float32]]:
    """Yield the labels of lines in fastText's format, those predicted, and their probabilities.

    A line without a label, or without a row of the input matrix, is left out.

    Args:
        model: that predicts.
        lines: labels and words.
        k: labels that are predicted of each at most; -1: all.
        threshold: labels less probable are not predicted.
    """
    first = len(model.file.words)
    for block in blocks_of(lines):
        parts = split(block)
        ids = np.array([model.dictionary.id_of(word) - first for word in parts.words], np.int64)
        predicted = model.predict(block, k, threshold)
        for text, (start, stop), (numbers, values) in zip(
            block, pairwise(parts.offsets.tolist()), predicted, strict=True
        ):
            gold = ids[parts.codes[start:stop]]
            gold = gold[gold >= 0]
            if len(gold) and (numbers or model.hidden([text])[1][0]):
                yield gold.tolist(), numbers, values


def _share(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else math.nan
