"""Which labels are predicted rightly, row by row, be it one label a row or several."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64
from textcls.corpus.splits import RowLabels


def rows_of(labels: RowLabels) -> Int64:
    """Return the row of each label, int64 ``[num_labels]``."""
    return np.repeat(np.arange(len(labels)), labels.counts)


def common(predictions: RowLabels, labels: RowLabels) -> tuple[Int64, Int64]:
    """Return the labels that both give to a row: the row and the class of each, int64 ``[n]``."""
    num_classes = int(max(predictions.ids.max(initial=0), labels.ids.max(initial=0))) + 1
    claimed, true = (rows_of(one) * num_classes + one.ids for one in (predictions, labels))
    rows, ids = np.divmod(np.intersect1d(claimed, true, assume_unique=True), num_classes)
    return rows, ids


def are_right(predictions: RowLabels, labels: RowLabels) -> npt.NDArray[np.bool_]:
    """Say of which rows all labels and no others are predicted: bool ``[num_rows]``."""
    rows, _ = common(predictions, labels)
    found = np.bincount(rows, minlength=len(labels))
    same: npt.NDArray[np.bool_] = (found == labels.counts) & (found == predictions.counts)
    return same
