"""What a training minimises: how it differs from the loss that is reported."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Objective:
    """What a step minimises, and how.

    Attributes:
        class_weights: float32 ``[num_classes]``, or None.
        label_smoothing: share of the target spread evenly over all classes.
        clip_norm: gradients are scaled down to this norm where they exceed it; None: never.
    """

    class_weights: Tensor | None = None
    label_smoothing: float = 0.0
    clip_norm: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether it is the loss that is reported."""
        return self.class_weights is None and not self.label_smoothing
