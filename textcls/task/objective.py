"""What a training minimises: how it differs from the loss that is reported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from textcls.config import TrainerConfig
from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.task.single_metrics import class_weights

# The focal loss takes no less for missing from a probability: powers below 1 have no slope at 0.
LEAST_MISSING = 1e-7


@dataclass(frozen=True)
class Objective:
    """What a step minimises, and how.

    Attributes:
        class_weights: float32 ``[num_classes]``, or None.
        label_smoothing: share of the target spread evenly over all classes.
        clip_norm: gradients are scaled down to this norm where they exceed it; None: never.
        focal: the exponent of the focal loss (Lin et al., "Focal Loss for Dense Object Detection",
            2017, https://arxiv.org/abs/1708.02002): the cross-entropy is multiplied by this power
            of the probability that is missing from what is true. 0: it is not.
        adjustment: float32 ``[num_classes]``, added to the class scores: see
            :func:`logit_adjustment`. None: nothing.
        ordinal: how steeply the target falls with the distance from the label, where classes have
            an order; None: the label alone is the target.
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    clip_norm: float | None = None
    focal: float = 0.0
    adjustment: Tensor | None = None
    ordinal: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the loss that is reported."""
        return (
            self.class_weights is None
            and not self.label_smoothing
            and not self.focal
            and self.adjustment is None
            and self.ordinal is None
        )

    def adjusted(self, logits: Tensor) -> Tensor:
        """Return the class scores that the loss is of, ``[num_bags, num_classes]``."""
        return logits if self.adjustment is None else logits + self.adjustment


def objective_of(
    options: TrainerConfig,
    targets: Targets,
    label_names: Sequence[str],
    device: torch.device,
    ordered: bool = False,
) -> Objective:
    """Return what the options say, on a device.

    Args:
        options: of the training.
        targets: of the train split, on the CPU.
        label_names: of class 0, 1, 2, …
        device: that of the model.
        ordered: whether classes have an order.

    Raises:
        InputError: ``class_weights`` names an unknown label or leaves nothing any weight, or
            ``logit_adjustment``, ``focal`` or ``ordinal`` is not for such labels.
    """
    if options.focal and targets.shares is not None:
        raise InputError(
            "trainer.focal is for labels that are certain, not for probabilities: set it to null"
        )
    if options.ordinal is not None and not ordered:
        raise InputError(
            f"trainer.ordinal={options.ordinal:g} is for classes in an order: set "
            "data.task=ordered, or trainer.ordinal=null"
        )
    targets = targets.hard()
    weights = class_weights(options.class_weights, targets.ids, label_names)
    adjustment = None
    if options.logit_adjustment:
        if targets.offsets is not None:
            raise InputError(
                "trainer.logit_adjustment is for one label a text: several have a threshold each, "
                "fitted on validation; set it to null"
            )
        adjustment = logit_adjustment(targets, len(label_names), options.logit_adjustment)
    return Objective(
        None if weights is None else weights.to(device),
        options.label_smoothing,
        options.clip_norm,
        options.focal or 0.0,
        None if adjustment is None else adjustment.to(device),
        options.ordinal,
    )


def logit_adjustment(targets: Targets, num_classes: int, tau: float) -> Tensor:
    """Return what the logit adjusted loss adds to class scores, float32 ``[num_classes]``.

    That is ``tau`` times the log of each class's share of train (Menon et al., "Long-tail learning
    via logit adjustment", 2021, https://arxiv.org/abs/2007.07314): scores that need not say how
    frequent a class is do not prefer the frequent ones. A class that train lacks counts as one
    that it has once.
    """
    counts = targets.ids.bincount(targets.weights, minlength=num_classes).clamp(min=1)
    return tau * (counts / counts.sum()).log().float()
