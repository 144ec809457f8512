"""What a classifier got right, by scikit-learn's definitions.

They are a few lines over the confusion matrix; scikit-learn itself takes longer to import (1.6 s)
than most trainings here last. The tests compare with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textcls.errors import InputError

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def classification_metrics(
    labels: Tensor,
    predictions: Tensor,
    label_names: Sequence[str],
    weights: Tensor | None = None,
) -> dict[str, Any]:
    """Compare predicted with true classes.

    Args:
        labels: int64 ``[n]``, n > 0.
        predictions: int64 ``[n]``.
        label_names: of class 0, 1, 2, …
        weights: float ``[n]``, what each row counts, not negative, not all 0; None: 1 each.

    Returns:
        ``accuracy``; ``macro_f1``, the mean F1 of the classes that occur among labels or
        predictions (scikit-learn's default); ``per_class``, by label name: ``precision``,
        ``recall``, ``f1`` (0 where undefined) and ``support``, the class's rows; ``confusion``,
        by true label, then by predicted label: rows, where there are any.
    """
    num_classes = len(label_names)
    is_right = labels == predictions
    right, had, claimed = (
        _totals(classes, num_classes, None if weights is None else weights[of])
        for classes, of in ((labels[is_right], is_right), (labels, ...), (predictions, ...))
    )
    # Pairs that occur, rather than a matrix: thousands of classes have few of them.
    pairs, counts = np.unique((labels * num_classes + predictions).numpy(), return_counts=True)
    confusion: dict[str, dict[str, int]] = {name: {} for name in label_names}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        confusion[label_names[pair // num_classes]][label_names[pair % num_classes]] = count
    support = labels.bincount(minlength=num_classes).tolist()
    columns = (c.tolist() for c in (_share(right, claimed), _share(right, had)))
    f1 = _share(2 * right, claimed + had)
    occurs = claimed + had > 0
    return {
        "accuracy": float(right.sum() / had.sum()),
        "macro_f1": float(f1[occurs].mean()),
        "per_class": {
            name: {"precision": p, "recall": r, "f1": f, "support": n}
            for name, p, r, f, n in zip(label_names, *columns, f1.tolist(), support, strict=True)
        },
        "confusion": confusion,
    }


def _totals(classes: Tensor, num_classes: int, weights: Tensor | None) -> Float64:
    """Return what the rows of each class count together, ``[num_classes]``."""
    weights = None if weights is None else weights.double()
    totals: Float64 = classes.bincount(weights, num_classes).double().numpy()
    return totals


def _share(part: Float64, whole: Float64) -> Float64:
    """Return the quotients, 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def confusion_array(metrics: Mapping[str, Any], names: Sequence[str]) -> Int64:
    """Return the confusion matrix of some classes, int64 ``[n, n]``, rows the true classes.

    Args:
        metrics: of :func:`classification_metrics`.
        names: of these classes.
    """
    places = {name: i for i, name in enumerate(names)}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for name, row in places.items():
        for other, count in metrics["confusion"][name].items():
            if other in places:
                matrix[row, places[other]] = count
    return matrix


def class_weights(
    wanted: str | dict[str, float] | None, labels: Tensor, label_names: Sequence[str]
) -> Tensor | None:
    """Return one loss weight per class, float32 ``[num_classes]``, or None for none.

    Args:
        wanted: ``balanced`` (``n / (classes * rows of the class)``, as scikit-learn has it), or
            weights by label name; labels not named weigh 1.
        labels: int64 ``[n]`` of the train split.
        label_names: of class 0, 1, 2, …

    Raises:
        InputError: a weight for a label that does not exist, or none above 0.
    """
    if wanted is None:
        return None
    if isinstance(wanted, str):
        counts = labels.bincount(minlength=len(label_names))
        return torch.where(counts > 0, len(labels) / ((counts > 0).sum() * counts), 0).float()
    unknown = sorted(set(wanted) - set(label_names))
    if unknown:
        raise InputError(
            f"trainer.class_weights names '{unknown[0]}', which is no label: "
            f"the labels are {', '.join(label_names[:20])}"
        )
    weights = torch.tensor([wanted.get(name, 1.0) for name in label_names])
    if len(labels) and not weights[labels].any():
        raise InputError(
            "trainer.class_weights leaves no row of train any weight: raise one above 0"
        )
    return weights
