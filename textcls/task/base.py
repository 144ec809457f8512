"""A task: how labels are learned from, predicted and scored. Each kind has a file of its own.

All arithmetic on class scores (logits) is here, so that the rest of the program does not ask what a
label is: the training loop takes losses and gradients from the task, prediction takes
probabilities and decisions, and reports take metrics.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.assessment import Assessment
from textcls.task.objective import Objective
from textcls.task.scores import Scores
from textcls.task.selective import Limit


class Task(ABC):
    """How labels are learned from, predicted and scored.

    Attributes:
        name: as a model folder has it.
        several: whether a text has any number of labels; else it has one.
        ordered: whether classes have an order.
        by_softmax: whether only differences of class scores count, by a softmax.
        monitors: the metrics by which trainings can be compared.
        headline: the metric of decisions that one number tells a model by: see :meth:`score`.
    """

    name: ClassVar[str]
    several: ClassVar[bool]
    ordered: ClassVar[bool] = False
    by_softmax: ClassVar[bool] = False
    monitors: ClassVar[tuple[str, ...]]
    headline: ClassVar[str]

    # --- learning ----------------------------------------------------------------------------

    def first_bias(self, targets: Targets, num_classes: int) -> Tensor:
        """Return what the bias of the linear layer begins with, float32 ``[num_classes]``.

        Args:
            targets: of the train split.
            num_classes: classes.
        """
        return torch.zeros(num_classes)

    @abstractmethod
    def losses(self, logits: Tensor, targets: Targets) -> Tensor:
        """Return the loss of each bag in nats, ``[num_bags]``, as it is reported.

        Args:
            logits: float ``[num_bags, num_classes]``.
            targets: of these bags.
        """

    def loss_sum(self, logits: Tensor, targets: Targets) -> Tensor:
        """Return the sum of :meth:`losses`, each times what its bag weighs."""
        losses = self.losses(logits, targets)
        return (losses if targets.weights is None else losses * targets.weights).sum()

    @abstractmethod
    def batch_loss(self, logits: Tensor, targets: Targets, objective: Objective) -> Tensor:
        """Return the mean loss of a batch, as it is minimised.

        Where bags have weights, it is the weighted mean: a bag that weighs 0 has no part in it,
        and weights that are all alike change nothing. It is 0 where no bag weighs anything.

        Args:
            logits: float ``[num_bags, num_classes]``.
            targets: of these bags.
            objective: what is minimised.
        """

    @abstractmethod
    def gradient(
        self, logits: Tensor, targets: Targets, objective: Objective
    ) -> tuple[Tensor, Tensor]:
        """Return :meth:`loss_sum` of a batch, and the gradient of :meth:`batch_loss`.

        Args:
            logits: float32 ``[num_bags, num_classes]``, which nobody needs any more.
            targets: of these bags.
            objective: what is minimised.
        """

    def counts(self, targets: Targets, objective: Objective, num_classes: int) -> Tensor | None:
        """Return what the weight of each bag counts for in the mean of :meth:`batch_loss`.

        Args:
            targets: of a batch.
            objective: what is minimised.
            num_classes: of the class scores.

        Returns:
            Float ``[num_bags]``; None: itself.
        """
        return None

    @abstractmethod
    def new_tally(self, num_bags: int, num_classes: int, device: torch.device) -> Tensor:
        """Return what :meth:`add` counts the predictions of an epoch in, int64, all 0."""

    @abstractmethod
    def outcome(self, logits: Tensor, targets: Targets) -> Tensor:
        """Return what class scores predict, int64, as :meth:`add` takes it.

        Args:
            logits: float ``[n, num_classes]``.
            targets: of these bags.
        """

    @abstractmethod
    def add(
        self, tally: Tensor, bags: Tensor, outcome: Tensor, classes: Tensor | None = None
    ) -> None:
        """Add the outcome of some bags to a tally.

        Args:
            tally: of the epoch.
            bags: int64 ``[n]``, numbers in their split.
            outcome: of them.
            classes: int64 ``[num_classes]``, which ones it is of; None: all, in order.
        """

    @abstractmethod
    def counted(self, tally: Tensor, targets: Targets, names: Sequence[str]) -> dict[str, Any]:
        """Return the metrics of a tally, those of decisions alone.

        Args:
            tally: on the CPU, of a whole epoch.
            targets: of all bags, on the CPU.
            names: of class 0, 1, 2, …
        """

    # --- after training ----------------------------------------------------------------------

    @abstractmethod
    def temperature(self, logits: Tensor, targets: Targets) -> float:
        """Return what class scores are best divided by, for held-out bags."""

    def fitted(self, logits: Tensor, targets: Targets) -> Task:
        """Return the task with the decisions that suit held-out bags best.

        Args:
            logits: float ``[num_bags, num_classes]`` on the CPU.
            targets: of these bags.
        """
        return self

    def tensors(self) -> dict[str, Tensor]:
        """Return what a model folder keeps of the decisions, by name."""
        return {}

    # --- prediction --------------------------------------------------------------------------

    @abstractmethod
    def probabilities(self, logits: Tensor) -> Tensor:
        """Return the probability of each class, of the shape of ``logits``."""

    def class_scores(self, logits: Tensor) -> Tensor:
        """Return scores of the classes, linear in ``logits``, which may be of something else.

        Args:
            logits: float ``[..., n]``, as the model has them, or parts of them.
        """
        return logits

    @abstractmethod
    def decided(self, probabilities: Tensor) -> Targets:
        """Return the labels that are predicted.

        Args:
            probabilities: float ``[num_bags, num_classes]``.
        """

    @abstractmethod
    def limit(self, accuracy: float) -> Limit:
        """Return from which probability on a model is sure enough to be right in such a share.

        Raises:
            InputError: held-out rows do not say so.
        """

    def restricted(self, classes: Tensor) -> Task:
        """Return the task of some of the classes alone, int64 ``[n]``."""
        return self

    # --- scores ------------------------------------------------------------------------------

    @abstractmethod
    def assess(self, scores: Scores, targets: Targets, names: Sequence[str]) -> Assessment:
        """Return how good predictions are.

        Rows with weights count by these in the metrics and in the reliability, all but the numbers
        of rows by class.

        Args:
            scores: class scores of some bags, at least one.
            targets: of these bags, on the CPU.
            names: of class 0, 1, 2, …
        """

    @abstractmethod
    def score(self, scores: Scores, targets: Targets) -> float:
        """Return the metric ``headline`` alone, which takes less time than :meth:`assess`.

        Args:
            scores: class scores of some bags.
            targets: of these bags, on the CPU.
        """


def weight_of_batch(weights: Tensor) -> Tensor:
    """Return what the summed loss of a batch is divided by, for its weights, ``[num_bags]``.

    Infinity where they sum to 0: loss and gradient are 0 then.
    """
    total = weights.sum()
    # Not torch.where, which copies its number to the device: no graph of a GPU may hold that.
    return total.masked_fill(total <= 0, torch.inf)


def weight_in_mean(targets: Targets, counts: Tensor | None) -> Tensor | None:
    """Return what a batch weighs beside others in the mean loss of all of them, ``[]``.

    Args:
        targets: of the batch.
        counts: as :meth:`Task.counts` returns them.

    Returns:
        None: as much as it has bags.
    """
    if counts is None:
        return None if targets.weights is None else targets.weights.sum()
    return (counts if targets.weights is None else targets.weights * counts).sum()


def mean_of(losses: Tensor, targets: Targets, counts: Tensor | None = None) -> Tensor:
    """Return the mean of the losses of a batch, ``[num_bags]``, weighted where bags have weights.

    Args:
        losses: of the bags.
        targets: of these bags.
        counts: float ``[num_bags]``, what the weight of each counts for in what the sum is divided
            by, as its loss has it already; None: itself.
    """
    if targets.weights is None and counts is None:
        return losses.mean()
    shares = _shares(targets.weights, counts)
    return (losses * shares).sum()


def averaged(grads: Tensor, targets: Targets, counts: Tensor | None = None) -> Tensor:
    """Turn the gradients of the losses of a batch, in place, into that of :func:`mean_of`.

    Args:
        grads: float32 ``[num_bags, num_classes]``, by class scores.
        targets: of these bags.
        counts: as of :func:`mean_of`.
    """
    if targets.weights is None and counts is None:
        return grads.div_(targets.num_bags)
    return grads.mul_(_shares(targets.weights, counts).unsqueeze(-1))


def _shares(weights: Tensor | None, counts: Tensor | None) -> Tensor:
    """Return what each loss is multiplied by, ``[num_bags]``, or for all ``[1]``."""
    if weights is None:
        assert counts is not None
        return 1 / weight_of_batch(counts).unsqueeze(0)
    return weights / weight_of_batch(weights if counts is None else weights * counts)
