"""One of several classes: softmax and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.assessment import Assessment, weighted_mean
from textcls.task.base import Task, averaged, weight_of_batch
from textcls.task.calibration import fit_temperature, reliability
from textcls.task.objective import Objective
from textcls.task.scores import Scores
from textcls.task.single_metrics import classification_metrics


class SingleLabel(Task):
    """Each text has one of the classes."""

    name = "single"
    several = False
    monitors = ("accuracy", "macro_f1", "loss")
    headline = "accuracy"

    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.losses`: the cross-entropy."""
        return F.cross_entropy(logits, targets.ids, reduction="none")

    def batch_loss(self, logits: Tensor, targets: Targets, objective: Objective) -> Tensor:
        """See :meth:`Task.batch_loss`: a bag weighs what its class does, times its own weight."""
        class_weights, smoothing = objective.class_weights, objective.label_smoothing
        if targets.weights is not None:
            return self._weighted(logits, targets, targets.weights, class_weights, smoothing)
        some_weigh_nothing = class_weights is not None and not bool(class_weights.all())
        reduction = "sum" if some_weigh_nothing else "mean"
        loss = F.cross_entropy(
            logits, targets.ids, class_weights, reduction=reduction, label_smoothing=smoothing
        )
        if class_weights is None or reduction == "mean":
            return loss
        return loss / weight_of_batch(class_weights[targets.ids])

    def _weighted(
        self,
        logits: Tensor,
        targets: Targets,
        weights: Tensor,
        class_weights: Tensor | None,
        smoothing: float,
    ) -> Tensor:
        losses = F.cross_entropy(
            logits, targets.ids, class_weights, reduction="none", label_smoothing=smoothing
        )
        total = weights if class_weights is None else weights * class_weights[targets.ids]
        return (losses * weights).sum() / weight_of_batch(total)

    def gradient(
        self, logits: Tensor, targets: Targets, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Task.gradient`: softmax minus target."""
        smoothing = objective.label_smoothing
        log_probabilities = torch.log_softmax(logits, 1)
        labels = targets.ids.unsqueeze(1)
        losses = log_probabilities.gather(1, labels)
        if targets.weights is not None:
            losses.mul_(targets.weights.unsqueeze(1))
        loss_sum = losses.sum().neg_()
        grad = log_probabilities.exp_()
        if smoothing:
            grad.sub_(smoothing / grad.shape[1])
        grad.scatter_add_(1, labels, torch.full(labels.shape, smoothing - 1.0))
        return loss_sum, averaged(grad, targets)

    def new_tally(self, num_bags: int, num_classes: int, device: torch.device) -> Tensor:
        """See :meth:`Task.new_tally`: int64 ``[num_bags]``, the classes that were predicted."""
        return torch.zeros(num_bags, dtype=torch.int64, device=device)

    def count(self, tally: Tensor, bags: Tensor, logits: Tensor, targets: Targets) -> None:
        """See :meth:`Task.count`."""
        tally[bags] = logits.argmax(1)

    def counted(self, tally: Tensor, targets: Targets, names: Sequence[str]) -> dict[str, Any]:
        """See :meth:`Task.counted`."""
        return classification_metrics(targets.ids, tally, names)

    def temperature(self, logits: Tensor, targets: Targets) -> float:
        """See :meth:`Task.temperature`."""
        return fit_temperature(logits, targets.ids)

    def probabilities(self, logits: Tensor) -> Tensor:
        """See :meth:`Task.probabilities`: they sum to 1."""
        return logits.softmax(1)

    def decided(self, probabilities: Tensor) -> Targets:
        """See :meth:`Task.decided`: the most probable."""
        return Targets(probabilities.argmax(1))

    def assess(self, scores: Scores, targets: Targets, names: Sequence[str]) -> Assessment:
        """See :meth:`Task.assess`, and :func:`~.single_metrics.classification_metrics`.

        Beside these: ``loss``, the mean cross-entropy in nats, and ``ece``, the expected
        calibration error of the probability of what is predicted.
        """
        losses, confidences, predictions = [], [], []
        for logits, some in scores.parts(targets):
            # float64: so that a mean does not depend on how the rows were batched.
            exact = logits.double()
            losses.append(self.losses(exact, some))
            confidences.append(exact.softmax(1).amax(1))
            predictions.append(logits.argmax(1))
        loss, confidence, predicted = map(torch.cat, (losses, confidences, predictions))
        weights = targets.weights
        found = reliability(confidence, predicted == targets.ids, weights)
        metrics = {"loss": weighted_mean(loss, weights), "ece": found.error}
        metrics |= classification_metrics(targets.ids, predicted, names, weights)
        return Assessment(metrics, found, Targets(predicted), loss.float(), confidence.float())

    def score(self, scores: Scores, targets: Targets) -> float:
        """See :meth:`Task.score`: accuracy."""
        right = [logits.argmax(1) == some.ids for logits, some in scores.parts(targets)]
        return weighted_mean(torch.cat(right), targets.weights)
