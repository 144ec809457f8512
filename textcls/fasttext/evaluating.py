"""Precision and recall as fastText counts them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


class Tally:
    """Counts of predicted and true labels.

    Args:
        num_labels: how many there are.

    Attributes:
        num_texts: those that have a label.
    """

    def __init__(self, num_labels: int) -> None:
        self.num_texts = 0
        self.gold = np.zeros(num_labels, np.int64)
        self.predicted = np.zeros(num_labels, np.int64)
        self.right = np.zeros(num_labels, np.int64)

    def add(self, gold: Sequence[int], predicted: Sequence[int]) -> None:
        """Count a text; one without a label is left out."""
        if not gold:
            return
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


def _share(part: np.integer, whole: np.integer) -> float:
    return float(part / whole) if whole else math.nan
