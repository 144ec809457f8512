"""What a classifier got right, by scikit-learn's definitions.

They are a few lines over the confusion matrix; scikit-learn itself takes longer to import (1.6 s)
than most trainings here last. The tests compare with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.errors import InputError
from textcls.task.calibration import reliability

# Class scores in double precision at a time: 8 MiB, where those of a split may be gigabytes.
DOUBLES = 1 << 20


def metrics_of_logits(logits: Tensor, labels: Tensor, label_names: Sequence[str]) -> dict[str, Any]:
    """Return :func:`classification_metrics` and what the probabilities are worth.

    That is ``loss``, the mean cross-entropy in nats, and ``ece``, the expected calibration error.

    Args:
        logits: float ``[n, num_classes]`` on the CPU.
        labels: int64 ``[n]`` on the CPU.
        label_names: of class 0, 1, 2, …
    """
    # float64: so that the mean does not depend on how the rows were batched.
    rows = max(1, DOUBLES // len(label_names))
    loss, confidence = 0.0, []
    for x, y in zip(torch.split(logits, rows), torch.split(labels, rows), strict=True):
        scores = x.double()
        loss += F.cross_entropy(scores, y, reduction="sum").item()
        confidence.append(scores.softmax(1).amax(1))
    predictions = logits.argmax(1)
    found = reliability(torch.cat(confidence), predictions == labels)
    of_probabilities = {"loss": loss / len(labels), "ece": found.error}
    return of_probabilities | classification_metrics(labels, predictions, label_names)


def classification_metrics(
    labels: Tensor, predictions: Tensor, label_names: Sequence[str]
) -> dict[str, Any]:
    """Compare predicted with true classes.

    Args:
        labels: int64 ``[n]``, n > 0.
        predictions: int64 ``[n]``.
        label_names: of class 0, 1, 2, …

    Returns:
        ``accuracy``; ``macro_f1``, the mean F1 of the classes that occur among labels or
        predictions (scikit-learn's default); ``per_class``, by label name: ``precision``,
        ``recall``, ``f1`` (0 where undefined) and ``support``, the class's rows; ``confusion``,
        by true label, then by predicted label: rows, where there are any.
    """
    num_classes = len(label_names)
    right, support, claimed = (
        classes.bincount(minlength=num_classes).numpy()
        for classes in (labels[labels == predictions], labels, predictions)
    )
    # Pairs that occur, rather than a matrix: thousands of classes have few of them.
    pairs, counts = np.unique((labels * num_classes + predictions).numpy(), return_counts=True)
    confusion: dict[str, dict[str, int]] = {name: {} for name in label_names}
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        confusion[label_names[pair // num_classes]][label_names[pair % num_classes]] = count
    precision, recall = right / claimed.clip(1), right / support.clip(1)
    f1 = 2 * right / (claimed + support).clip(1)
    occurs = claimed + support > 0
    return {
        "accuracy": float(right.sum() / len(labels)),
        "macro_f1": float(f1[occurs].mean()),
        "per_class": {
            name: {
                "precision": float(precision[i]),
                "recall": float(recall[i]),
                "f1": float(f1[i]),
                "support": int(support[i]),
            }
            for i, name in enumerate(label_names)
        },
        "confusion": confusion,
    }


def confusion_array(metrics: Mapping[str, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the confusion matrix, int64 ``[num_classes, num_classes]``, rows the true classes."""
    names = {name: i for i, name in enumerate(metrics["confusion"])}
    matrix = np.zeros((len(names), len(names)), np.int64)
    for name, row in metrics["confusion"].items():
        for other, count in row.items():
            matrix[names[name], names[other]] = count
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
