"""One of several classes: softmax and cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.task.assessment import Assessment, weighted_mean
from textcls.task.base import Task, averaged, mean_of
from textcls.task.calibration import fit_temperature, reliability
from textcls.task.objective import LEAST_MISSING, Objective
from textcls.task.scores import Scores
from textcls.task.selective import RISK_COVERAGE, Limit, RiskCoverage, risk_coverage
from textcls.task.single_metrics import classification_metrics


class SingleLabel(Task):
    """Each text has one of the classes.

    Args:
        curve: how often the model was right about the held-out rows that it was surest of; None:
            that is not known.
    """

    name = "single"
    several = False
    by_softmax = True
    monitors: ClassVar[tuple[str, ...]] = ("accuracy", "macro_f1", "loss")
    headline = "accuracy"

    def __init__(self, curve: RiskCoverage | None = None) -> None:
        self.curve = curve

    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.losses`: the cross-entropy."""
        return F.cross_entropy(logits, targets.ids, reduction="none")

    def batch_loss(self, logits: Tensor, targets: Targets, objective: Objective) -> Tensor:
        """See :meth:`Task.batch_loss`: a bag weighs what its class does, times its own weight."""
        class_weights, labels = objective.class_weights, targets.ids
        scores = objective.adjusted(logits)
        losses = F.cross_entropy(
            scores,
            labels,
            class_weights,
            reduction="none",
            label_smoothing=objective.label_smoothing,
        )
        if objective.focal:
            missing = _missing(-F.cross_entropy(scores, labels, reduction="none"))
            losses = losses * missing**objective.focal
        return mean_of(losses, targets, self.counts(targets, objective, logits.shape[1]))

    def gradient(
        self, logits: Tensor, targets: Targets, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Task.gradient`: softmax minus target, times what the target weighs."""
        log_probabilities = torch.log_softmax(logits, 1)
        labels = targets.ids.unsqueeze(1)
        losses = log_probabilities.gather(1, labels)
        if targets.weights is not None:
            losses = losses * targets.weights.unsqueeze(1)
        loss_sum = losses.sum().neg_()
        if objective.adjustment is not None:
            log_probabilities = torch.log_softmax(objective.adjusted(logits), 1)

        total, spread, rest = _pulls(log_probabilities, labels, objective)
        grad = log_probabilities.exp_()
        if total is not None:
            grad.mul_(total)
        if objective.label_smoothing:
            grad.sub_(spread)
        grad.scatter_add_(1, labels, rest.neg())
        return loss_sum, averaged(grad, targets, self.counts(targets, objective, logits.shape[1]))

    def counts(self, targets: Targets, objective: Objective, num_classes: int) -> Tensor | None:
        """See :meth:`Task.counts`: what its class weighs."""
        return None if objective.class_weights is None else objective.class_weights[targets.ids]

    def new_tally(self, num_bags: int, num_classes: int, device: torch.device) -> Tensor:
        """See :meth:`Task.new_tally`: int64 ``[num_bags]``, the classes that were predicted."""
        return torch.zeros(num_bags, dtype=torch.int64, device=device)

    def outcome(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.outcome`: the best class of each bag, ``[n]``."""
        return logits.argmax(1)

    def add(
        self, tally: Tensor, bags: Tensor, outcome: Tensor, classes: Tensor | None = None
    ) -> None:
        """See :meth:`Task.add`."""
        tally[bags] = outcome if classes is None else classes[outcome]

    def counted(self, tally: Tensor, targets: Targets, names: Sequence[str]) -> dict[str, Any]:
        """See :meth:`Task.counted`."""
        return self._of_decisions(targets.hard()._replace(weights=None), tally, names)

    def temperature(self, logits: Tensor, targets: Targets) -> float:
        """See :meth:`Task.temperature`."""
        return fit_temperature(logits, targets.ids)

    def fitted(self, logits: Tensor, targets: Targets) -> SingleLabel:
        """See :meth:`Task.fitted`: with what these bags say of confidence."""
        best = [self.probabilities(some).max(1) for some, _ in Scores.of(logits).parts(targets)]
        confidence, predictions = map(torch.cat, zip(*best, strict=True))
        right = predictions == targets.hard().ids
        return type(self)(risk_coverage(confidence, right, targets.weights).compact())

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Task.tensors`: the points of the curve."""
        return {} if self.curve is None else {RISK_COVERAGE: self.curve.tensor()}

    def probabilities(self, logits: Tensor) -> Tensor:
        """See :meth:`Task.probabilities`: they sum to 1."""
        return logits.softmax(1)

    def decided(self, probabilities: Tensor) -> Targets:
        """See :meth:`Task.decided`: the most probable."""
        return Targets(probabilities.argmax(1))

    def limit(self, accuracy: float) -> Limit:
        """See :meth:`Task.limit`."""
        if self.curve is None:
            raise InputError(
                "how often the model is right at which probability is not known: an earlier "
                "textcls or fastText wrote it, or it is restricted to some labels: train it anew, "
                "or use all"
            )
        return self.curve.limit(accuracy)

    def restricted(self, classes: Tensor) -> SingleLabel:
        """See :meth:`Task.restricted`: the curve is of all classes, and does not hold."""
        return type(self)()

    def assess(self, scores: Scores, targets: Targets, names: Sequence[str]) -> Assessment:
        """See :meth:`Task.assess`, and :func:`~.single_metrics.classification_metrics`.

        Beside these: ``loss``, the mean cross-entropy in nats; ``ece``, the expected calibration
        error of the probability of what is predicted; ``aurc``, the area under risk by coverage.
        """
        # float64: so that a mean does not depend on how the rows were batched. Made at once: what
        # stays of a part would keep others from taking its memory.
        loss, confidence = torch.empty(2, scores.num_bags, dtype=torch.float64)
        predicted = torch.empty(scores.num_bags, dtype=torch.int64)
        start = 0
        for logits, some in scores.parts(targets):
            here, exact = slice(start, start := start + len(logits)), logits.double()
            loss[here] = self.losses(exact, some)
            confidence[here] = self.probabilities(exact).amax(1)
            predicted[here] = self._best(logits)
        weights = targets.weights
        found = reliability(confidence, self._right(predicted, targets), weights)
        curve = risk_coverage(confidence, predicted == targets.hard().ids, weights)
        mean_loss = weighted_mean(loss, weights)
        metrics = {"loss": mean_loss, "ece": found.error, "aurc": curve.area}
        metrics |= self._of_decisions(targets.hard(), predicted, names)
        decided = Targets(predicted)
        return Assessment(metrics, found, decided, loss.float(), confidence.float(), curve)

    def score(self, scores: Scores, targets: Targets) -> float:
        """See :meth:`Task.score`: accuracy."""
        predicted = torch.cat([self._best(logits) for logits, _ in scores.parts(targets)])
        return weighted_mean(predicted == targets.hard().ids, targets.weights)

    def _best(self, logits: Tensor) -> Tensor:
        """Return the most probable class of each bag, int64 ``[num_bags]``."""
        return logits.argmax(1)

    def _of_decisions(
        self, targets: Targets, predicted: Tensor, names: Sequence[str]
    ) -> dict[str, Any]:
        """Return the metrics of predictions, int64 ``[num_bags]``."""
        return classification_metrics(targets.ids, predicted, names, targets.weights)

    def _right(self, predicted: Tensor, targets: Targets) -> Tensor:
        """Return how right each prediction is, from 0 to 1, ``[num_bags]``, for ``ece``."""
        return predicted == targets.ids


def _pulls(
    log_probabilities: Tensor, labels: Tensor, objective: Objective
) -> tuple[Tensor | None, float | Tensor, Tensor]:
    """Return what the gradient by class scores is made of.

    It is ``total`` times the probabilities, less ``spread`` for each class, less ``rest`` for the
    label.

    Args:
        log_probabilities: float ``[num_bags, num_classes]``.
        labels: int64 ``[num_bags, 1]``.
        objective: what is minimised.

    Returns:
        ``total``, ``[num_bags, 1]``, or None for 1; ``spread``, which has the shape of the
        probabilities or is broadcast to it; ``rest``, ``[num_bags, 1]``.
    """
    smoothing, class_weights, gamma = (
        objective.label_smoothing, objective.class_weights, objective.focal,
    )  # fmt: skip
    spread: float | Tensor = smoothing / log_probabilities.shape[1]
    rest = torch.full(labels.shape, 1 - smoothing)
    total = None
    if class_weights is not None:
        spread, rest = spread * class_weights, rest * class_weights[labels]
        total = rest + spread.sum()
    if gamma:
        # By the product's rule: a power of what is missing, times the loss without it.
        of_labels = log_probabilities.gather(1, labels)
        losses = -(log_probabilities * spread).sum(1, keepdim=True) - of_labels * rest
        missing = _missing(of_labels)
        factor = missing**gamma
        pull = gamma * missing ** (gamma - 1) * losses * of_labels.exp()
        total = (factor if total is None else factor * total) + pull
        spread, rest = factor * spread, factor * rest + pull
    return total, spread, rest


def _missing(log_probabilities: Tensor) -> Tensor:
    """Return what probabilities lack to 1, and a little where they lack nothing."""
    return -log_probabilities.expm1().clamp(max=-LEAST_MISSING)
