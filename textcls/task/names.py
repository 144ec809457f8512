"""What metrics are called where people read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SINGLE = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "quadratic_kappa": "quadratic kappa",
    "mae": "mean absolute error",
    "macro_mae": "macro mean absolute error",
    "loss": "loss",
    "kl": "KL divergence",
    "ece": "calibration error",
    "aurc": "AURC",
}
# The share of rows of which all labels and no others are predicted is what scikit-learn calls
# subset accuracy.
MULTI = {
    "micro_f1": "micro F1",
    "macro_f1": "macro F1",
    "accuracy": "subset accuracy",
    "loss": "loss",
    "micro_precision": "micro precision",
    "micro_recall": "micro recall",
    "lrap": "LRAP",
    "ece": "calibration error",
}
# Those that stand for all where there is room for a few, and by which runs are compared.
HEADLINE = ("micro_f1", "macro_f1", "accuracy", "quadratic_kappa", "loss")
# Those that only some kinds of labels have: classes in an order, and probabilities of classes.
_OPTIONAL = ("quadratic_kappa", "mae", "macro_mae", "kl")


def names_of(metrics: Mapping[str, Any]) -> dict[str, str]:
    """Return the metrics of a task in the order in which they are shown, and their names.

    Args:
        metrics: of this task.
    """
    names = MULTI if are_of_several(metrics) else SINGLE
    return {key: name for key, name in names.items() if key in metrics or key not in _OPTIONAL}


def are_of_several(metrics: Mapping[str, Any]) -> bool:
    """Say whether these are metrics of a task whose texts have any number of labels."""
    return "micro_f1" in metrics
