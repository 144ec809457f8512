"""Classes in an order, such as stars, of which each text has one: errors count by distance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.assessment import weighted_mean
from textcls.task.objective import Objective
from textcls.task.single import SingleLabel
from textcls.task.soft import counts_of, soft_gradient, soft_loss

# A mean squared distance below it is that of rows of one class.
ROUNDING = 1e-9


class OrderedLabel(SingleLabel):
    """Each text has one of the classes, whose numbers are ranks."""

    name = "ordered"
    ordered = True
    monitors = ("accuracy", "macro_f1", "quadratic_kappa", "loss")

    def batch_loss(self, logits: Tensor, targets: Targets, objective: Objective) -> Tensor:
        """See :meth:`Task.batch_loss`, and :func:`spread` for ``objective.ordinal``."""
        if objective.ordinal is None:
            return super().batch_loss(logits, targets, objective)
        wanted = spread(targets.ids, logits.shape[1], objective.ordinal)
        return soft_loss(logits, wanted, targets, objective)

    def gradient(
        self, logits: Tensor, targets: Targets, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Task.gradient`."""
        if objective.ordinal is None:
            return super().gradient(logits, targets, objective)
        wanted = spread(targets.ids, logits.shape[1], objective.ordinal)
        return self.loss_sum(logits, targets), soft_gradient(logits, wanted, targets, objective)

    def counts(self, targets: Targets, objective: Objective, num_classes: int) -> Tensor | None:
        """See :meth:`Task.counts`."""
        if objective.ordinal is None:
            return super().counts(targets, objective, num_classes)
        return counts_of(spread(targets.ids, num_classes, objective.ordinal), objective)

    def _of_decisions(
        self, targets: Targets, predicted: Tensor, names: Sequence[str]
    ) -> dict[str, Any]:
        found = super()._of_decisions(targets, predicted, names)
        return found | rank_metrics(targets.ids, predicted, targets.weights)


def spread(ranks: Tensor, num_classes: int, ordinal: float) -> Tensor:
    """Return how probable each class is by the target, float32 ``[num_bags, num_classes]``.

    That of class c is in proportion to ``exp(-ordinal * (c - rank) ** 2)``: the targets of Diaz and
    Marathe, "Soft Labels for Ordinal Regression" (2019).

    Args:
        ranks: int64 ``[num_bags]``, the classes of the bags.
        num_classes: classes.
        ordinal: how steeply it falls with distance.
    """
    classes = torch.arange(num_classes, dtype=torch.float32, device=ranks.device)
    return torch.softmax(-ordinal * (classes - ranks.unsqueeze(1)) ** 2, 1)


def rank_metrics(labels: Tensor, predictions: Tensor, weights: Tensor | None) -> dict[str, float]:
    """Return how far off predictions are, in ranks.

    Args:
        labels: int64 ``[n]``, n > 0.
        predictions: int64 ``[n]``.
        weights: float ``[n]``, what each row counts; None: 1 each.

    Returns:
        ``mae``, the mean absolute error; ``macro_mae``, the mean over the classes that occur among
        labels of that of their rows (Baccianella, Esuli and Sebastiani, "Evaluation Measures for
        Ordinal Regression", 2009); ``quadratic_kappa``, Cohen's kappa with quadratic weights, 0
        where all labels and predictions are one class.
    """
    counted = torch.ones_like(labels, dtype=torch.float64) if weights is None else weights.double()
    errors = (predictions - labels).abs().double()
    of_class, had = labels.bincount(errors * counted), labels.bincount(counted)
    # The squared distance of independent ranks, by their means and mean squares.
    t, p, tt, pp = (
        weighted_mean(ranks, weights) for ranks in (labels, predictions, labels**2, predictions**2)
    )
    by_chance = tt + pp - 2 * t * p
    kappa = 1 - weighted_mean(errors**2, weights) / by_chance if by_chance > ROUNDING else 0.0
    return {
        "mae": weighted_mean(errors, weights),
        "macro_mae": float((of_class[had > 0] / had[had > 0]).mean()),
        "quadratic_kappa": kappa,
    }
