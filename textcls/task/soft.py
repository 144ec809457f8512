"""A probability of each class: softmax, and cross-entropy with probabilities as targets.

What a text has may be a teacher's output (Hinton, Vinyals and Dean, "Distilling the Knowledge in a
Neural Network", 2015, https://arxiv.org/abs/1503.02531) or how many annotators chose each class. A
model that is trained on it predicts one class.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.assessment import Assessment, weighted_mean
from textcls.task.base import averaged, mean_of
from textcls.task.calibration import temperature_of
from textcls.task.objective import Objective
from textcls.task.scores import Scores
from textcls.task.single import SingleLabel


class SoftLabel(SingleLabel):
    """Each text has a probability of each class; decisions are judged by the most probable."""

    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.losses`: the cross-entropy with the probabilities of the target."""
        return _sums(-torch.log_softmax(logits, 1)[targets.bags, targets.ids], targets)

    def batch_loss(self, logits: Tensor, targets: Targets, objective: Objective) -> Tensor:
        """See :meth:`Task.batch_loss`: a bag weighs what its classes do on average."""
        return soft_loss(logits, targets.dense(logits.shape[1]), targets, objective)

    def gradient(
        self, logits: Tensor, targets: Targets, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Task.gradient`."""
        loss_sum = self.loss_sum(logits, targets)
        wanted = targets.dense(logits.shape[1])
        return loss_sum, soft_gradient(logits, wanted, targets, objective)

    def counts(self, targets: Targets, objective: Objective, num_classes: int) -> Tensor | None:
        """See :meth:`Task.counts`: what its classes weigh on average."""
        return counts_of(targets.dense(num_classes), objective)

    def temperature(self, logits: Tensor, targets: Targets) -> float:
        """See :meth:`Task.temperature`."""
        of_labels = _sums(logits[targets.bags, targets.ids].double(), targets)
        return temperature_of(logits, of_labels.sum())

    def assess(self, scores: Scores, targets: Targets, names: Sequence[str]) -> Assessment:
        """See :meth:`SingleLabel.assess`.

        Decisions are judged by the most probable class of the target, the first of several. ``kl``
        is the mean Kullback-Leibler divergence from the target: ``loss`` without what no model can
        know. For ``ece`` a prediction is as right as it is probable by the target.
        """
        found = super().assess(scores, targets, names)
        assert targets.shares is not None
        entropies = _sums(-targets.shares.double().log(), targets)
        divergence = found.metrics["loss"] - weighted_mean(entropies, targets.weights)
        metrics = {"loss": found.metrics["loss"], "kl": max(divergence, 0.0)} | found.metrics
        return dataclasses.replace(found, metrics=metrics)

    def _right(self, predicted: Tensor, targets: Targets) -> Tensor:
        return _sums((targets.ids == predicted[targets.bags]).double(), targets)


def soft_loss(logits: Tensor, wanted: Tensor, targets: Targets, objective: Objective) -> Tensor:
    """Return the mean loss of a batch, as :meth:`Task.batch_loss` does.

    Args:
        logits: float ``[num_bags, num_classes]``.
        wanted: float32 of that shape, how probable each class is.
        targets: of these bags, for their weights.
        objective: what is minimised, without ``focal``.
    """
    pulls, counts = _pulls(wanted, objective), counts_of(wanted, objective)
    losses = -(pulls * torch.log_softmax(objective.adjusted(logits), 1)).sum(1)
    return mean_of(losses, targets, counts)


def soft_gradient(logits: Tensor, wanted: Tensor, targets: Targets, objective: Objective) -> Tensor:
    """Return the gradient of :func:`soft_loss` by class scores, of their shape."""
    pulls, counts = _pulls(wanted, objective), counts_of(wanted, objective)
    grad = objective.adjusted(logits).softmax(1).mul_(pulls.sum(1, keepdim=True)).sub_(pulls)
    return averaged(grad, targets, counts)


def counts_of(wanted: Tensor, objective: Objective) -> Tensor | None:
    """Return what :meth:`Task.counts` does, of targets as :func:`soft_loss` takes them."""
    return None if objective.class_weights is None else wanted @ objective.class_weights


def _pulls(wanted: Tensor, objective: Objective) -> Tensor:
    """Return the smoothed targets times the weights of classes."""
    smoothing, class_weights = objective.label_smoothing, objective.class_weights
    pulls = wanted
    if smoothing:
        pulls = wanted * (1 - smoothing) + smoothing / wanted.shape[1]
    return pulls if class_weights is None else pulls * class_weights


def _sums(values: Tensor, targets: Targets) -> Tensor:
    """Return what is expected of each bag, ``[num_bags]``, of values ``[num_labels]``."""
    assert targets.shares is not None
    sums = values.new_zeros(targets.num_bags)
    return sums.index_add_(0, targets.bags, values * targets.shares)
