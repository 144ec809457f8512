"""Any number of labels: a sigmoid and a threshold for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.task.assessment import Assessment
from textcls.task.base import Task, averaged, mean_of
from textcls.task.calibration import temperature_at
from textcls.task.multi_metrics import Decisions, assess, decision_metrics
from textcls.task.objective import LEAST_MISSING, Objective
from textcls.task.scores import Scores
from textcls.task.selective import Limit
from textcls.task.thresholds import fit_thresholds

# The threshold of a label where none was fitted.
EVEN = 0.5
THRESHOLDS = "thresholds"


class MultiLabel(Task):
    """Each text has any number of labels, of which a model says one by one how probable it is.

    Args:
        thresholds: float32 ``[num_classes]``: a label is predicted from this probability on; None:
            from one half on.
    """

    name = "multi"
    several = True
    monitors = ("lrap", "micro_f1", "macro_f1", "accuracy", "loss")
    headline = "micro_f1"

    def __init__(self, thresholds: Tensor | None = None) -> None:
        self.thresholds = thresholds

    def first_bias(self, targets: Targets, num_classes: int) -> Tensor:
        """See :meth:`Task.first_bias`: the log-odds of each label.

        From 0 on, every label would be as likely as not: thousands of steps too large, all in one
        direction, before training has learned that most are rare. It is the bias of Lin et al.,
        "Focal Loss for Dense Object Detection" (2017), section 3.3.
        """
        count = targets.ids.bincount(minlength=num_classes).float()
        return ((count + 1) / (targets.num_bags - count + 1)).log()

    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.losses`: the binary cross-entropy, summed over the labels."""
        # log(1 + exp(x)) for every label; less x for those that the bag has.
        losses = F.softplus(logits).sum(1)
        return losses.index_add(0, targets.bags, -logits[targets.bags, targets.ids])

    def batch_loss(self, logits: Tensor, targets: Targets, objective: Objective) -> Tensor:
        """See :meth:`Task.batch_loss`: a label's weight is that of its binary cross-entropy."""
        wanted = self._wanted(logits, targets, objective.label_smoothing)
        logits = objective.adjusted(logits)
        losses = F.binary_cross_entropy_with_logits(
            logits, wanted, objective.class_weights, reduction="none"
        )
        if objective.focal:
            losses = losses * _missing(logits, wanted) ** objective.focal
        return mean_of(losses.sum(1), targets)

    def gradient(
        self, logits: Tensor, targets: Targets, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """See :meth:`Task.gradient`: sigmoid minus target, times the weight of the label."""
        loss_sum = self.loss_sum(logits, targets)
        wanted = self._wanted(logits, targets, objective.label_smoothing)
        logits = objective.adjusted(logits)
        grad = logits.sigmoid().sub_(wanted)
        if objective.focal:
            # By the product's rule: a power of what is missing, times the loss without it.
            missing = _missing(logits, wanted)
            losses = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
            slope = objective.focal * (1 - missing) * torch.where(wanted > EVEN, -1, 1)
            grad.add_(losses.mul_(slope)).mul_(missing**objective.focal)
        if objective.class_weights is not None:
            grad.mul_(objective.class_weights)
        return loss_sum, averaged(grad, targets)

    def _wanted(self, logits: Tensor, targets: Targets, smoothing: float) -> Tensor:
        """Return the targets, of which a share is spread over having a label and not having it."""
        wanted = targets.dense(logits.shape[1]).to(logits.dtype)
        return wanted.mul_(1 - smoothing).add_(smoothing / 2) if smoothing else wanted

    def new_tally(self, num_bags: int, num_classes: int, device: torch.device) -> Tensor:
        """See :meth:`Task.new_tally`: see :class:`~textcls.task.multi_metrics.Decisions`."""
        return torch.zeros(2, num_classes + 1, dtype=torch.int64, device=device)

    def outcome(self, logits: Tensor, targets: Targets) -> Tensor:
        """See :meth:`Task.outcome`: of labels that are more probable than not; each row counts 1.

        It is a tally of these bags: ``[2, n + 1]``.
        """
        found = Decisions.of(logits > 0, targets)
        counts = F.pad(torch.stack([found.right, found.claimed]), (0, 1))
        counts[0, -1] = found.exact
        return counts

    def add(
        self, tally: Tensor, bags: Tensor, outcome: Tensor, classes: Tensor | None = None
    ) -> None:
        """See :meth:`Task.add`."""
        if classes is None:
            tally += outcome
            return
        tally.index_add_(1, classes, outcome[:, :-1])
        tally[:, -1] += outcome[:, -1]

    def counted(self, tally: Tensor, targets: Targets, names: Sequence[str]) -> dict[str, Any]:
        """See :meth:`Task.counted`."""
        found = Decisions(tally[0, :-1], tally[1, :-1], tally[0, -1])
        return decision_metrics(found, targets._replace(weights=None), names)

    def temperature(self, logits: Tensor, targets: Targets) -> float:
        """See :meth:`Task.temperature`: it minimises the loss, which is convex in its inverse."""
        if not bool((logits != 0).any()):
            return 1.0
        wanted = logits[targets.bags, targets.ids].sum(dtype=torch.float64)
        return temperature_at(wanted, logits, torch.sigmoid)

    def fitted(self, logits: Tensor, targets: Targets) -> MultiLabel:
        """See :meth:`Task.fitted`: the thresholds of the best F1."""
        return MultiLabel(fit_thresholds(self.probabilities(logits), targets))

    def limits(self, num_classes: int) -> Tensor:
        """Return from which probability on each label is predicted, float32 ``[num_classes]``."""
        return torch.full((num_classes,), EVEN) if self.thresholds is None else self.thresholds

    def tensors(self) -> dict[str, Tensor]:
        """See :meth:`Task.tensors`: the thresholds."""
        return {} if self.thresholds is None else {THRESHOLDS: self.thresholds}

    def probabilities(self, logits: Tensor) -> Tensor:
        """See :meth:`Task.probabilities`: each by itself."""
        return logits.sigmoid()

    def decided(self, probabilities: Tensor) -> Targets:
        """See :meth:`Task.decided`: those whose probability reaches their threshold."""
        chosen = probabilities >= (EVEN if self.thresholds is None else self.thresholds)
        counts = chosen.sum(1)
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Targets(chosen.nonzero()[:, 1], offsets)

    def limit(self, accuracy: float) -> Limit:
        """See :meth:`Task.limit`."""
        raise InputError(
            "a text may have several labels, and none where none is probable enough: say from "
            "which probability on by --threshold, in Python by predict_top(…, threshold=…)"
        )

    def restricted(self, classes: Tensor) -> MultiLabel:
        """See :meth:`Task.restricted`."""
        return MultiLabel(None if self.thresholds is None else self.thresholds[classes])

    def assess(self, scores: Scores, targets: Targets, names: Sequence[str]) -> Assessment:
        """See :meth:`Task.assess`; ``per_class`` has the ``threshold`` of each label as well."""
        found = assess(self, scores, targets, names)
        limits = self.limits(len(names)).tolist()
        for row, threshold in zip(found.metrics["per_class"].values(), limits, strict=True):
            row["threshold"] = threshold
        return found

    def score(self, scores: Scores, targets: Targets) -> float:
        """See :meth:`Task.score`: micro F1."""
        right = total = 0.0
        for logits, some in scores.parts(targets):
            found = self.decided(self.probabilities(logits))
            here, there = (one.bags * scores.num_classes + one.ids for one in (found, some))
            hits = torch.isin(here, there, assume_unique=True)
            weights = torch.ones(len(logits)) if some.weights is None else some.weights
            right += (hits * weights[found.bags]).sum().item()
            total += weights[found.bags].sum().item() + weights[some.bags].sum().item()
        return 2 * right / (total or 1.0)


def _missing(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return what the probability of what is true of each label lacks to 1, a little at least."""
    return torch.where(wanted > EVEN, -logits, logits).sigmoid().clamp(min=LEAST_MISSING)
