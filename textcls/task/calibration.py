"""Calibration: whether a model is right as often as its probabilities say, and how to mend it.

The temperature is that of "On Calibration of Modern Neural Networks" (Guo et al., 2017,
https://arxiv.org/abs/1706.04599): class scores are divided by one number, which changes no
prediction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

NUM_BINS = 15
# Class scores in double precision at a time: 8 MiB.
DOUBLES = 1 << 20
# A temperature beyond these says that the rows are too few, not that the model is so wrong.
LOWEST, HIGHEST = 0.2, 5.0
# Each halves the range that the temperature may lie in: it has seven digits then.
_HALVINGS = 24


@dataclass(frozen=True)
class Reliability:
    """How often a model was right, by the probability of what it predicted.

    Attributes:
        counts: float64 ``[NUM_BINS]``, rows by bin, or what they weigh: equal widths from 0 to 1,
            upper ends included.
        accuracy: float64 ``[NUM_BINS]``, the share of a bin's rows that was right; 0 of no rows.
        confidence: float64 ``[NUM_BINS]``, the mean of a bin's probabilities; 0 of no rows.
    """

    counts: Tensor
    accuracy: Tensor
    confidence: Tensor

    def __add__(self, other: Reliability) -> Reliability:
        """Return that of the rows of both."""
        counts = self.counts + other.counts
        accuracy, confidence = (
            (self.counts * mine + other.counts * others) / counts.where(counts > 0, 1)
            for mine, others in (
                (self.accuracy, other.accuracy),
                (self.confidence, other.confidence),
            )
        )
        return Reliability(counts, accuracy, confidence)

    @property
    def error(self) -> float:
        """The expected calibration error: the mean gap between accuracy and confidence."""
        gaps = (self.accuracy - self.confidence).abs()
        return float((self.counts * gaps).sum() / self.counts.sum())


def reliability(confidence: Tensor, right: Tensor, weights: Tensor | None = None) -> Reliability:
    """Return how often a model was right, by bins of its probabilities.

    Args:
        confidence: float ``[n]``, n > 0, the probability of each row's prediction.
        right: bool ``[n]``, whether it was right, or float ``[n]``, how probably.
        weights: float ``[n]``, what each row counts; None: 1 each.
    """
    inner = torch.linspace(0, 1, NUM_BINS + 1, dtype=torch.float64)[1:-1]
    bins = torch.bucketize(confidence.double(), inner)
    counted = torch.ones_like(confidence.double()) if weights is None else weights.double()
    counts, *sums = (
        bins.bincount(counted * values, minlength=NUM_BINS)
        for values in (counted.new_ones(()), right, confidence)
    )
    return Reliability(counts, *(total / counts.where(counts > 0, 1) for total in sums))


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """Return the temperature at which class scores say most of the labels of held-out rows.

    Args:
        logits: float ``[n, num_classes]``, n > 0, on the CPU.
        labels: int64 ``[n]``.
    """
    return temperature_of(logits, logits.gather(1, labels.unsqueeze(1)).sum(dtype=torch.float64))


def temperature_of(logits: Tensor, of_labels: Tensor) -> float:
    """Return the temperature at which class scores say most of what is true of held-out rows.

    It minimises the cross-entropy, which is convex in the inverse of the temperature, by halving
    the range in which its slope changes sign. Of n rows a share of 1 / (n + 2) counts as of all
    classes alike, as in Platt's scaling: a model that makes no mistake on few rows is not taken
    for one that makes none.

    Args:
        logits: float ``[n, num_classes]``, n > 0, on the CPU.
        of_labels: float64 ``[]``, the sum over rows of the score of the label, or of the mean
            score that is expected.

    Returns:
        The temperature, between ``LOWEST`` and ``HIGHEST``; 1 where all scores of a row are alike.
    """
    if not (logits.amax(1) > logits.amin(1)).any():
        return 1.0
    share = len(logits) / (len(logits) + 2)
    of_all = logits.mean(1, dtype=torch.float64).sum()
    wanted = share * of_labels + (1 - share) * of_all
    return temperature_at(wanted, logits, lambda scores: scores.softmax(1))


def temperature_at(
    wanted: Tensor, logits: Tensor, probabilities: Callable[[Tensor], Tensor]
) -> float:
    """Return the temperature at which a loss that is convex in its inverse has no slope.

    Args:
        wanted: float64 ``[]``, the sum of the scores of what is true.
        logits: float ``[n, num_classes]``: the sum of these scores that a model expects is to be
            the same.
        probabilities: of scores that are divided by a temperature.
    """
    rows = max(1, DOUBLES // logits.shape[1])

    def expected(inverse: float) -> Tensor:
        parts = (part.double() for part in torch.split(logits, rows))
        return sum(((probabilities(x * inverse) * x).sum() for x in parts), wanted.new_zeros(()))

    low, high = 1 / HIGHEST, 1 / LOWEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if expected(middle) < wanted else (low, middle)
    return 2 / (low + high)
