"""What is known of a model's predictions for some rows, once their class scores are gone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.calibration import Reliability
from textcls.task.selective import RiskCoverage


@dataclass(frozen=True)
class Assessment:
    """How good the predictions for some rows are.

    Attributes:
        metrics: by name, as ``metrics.json`` has them.
        reliability: how often the model is right, by bins of its probabilities.
        decided: what is predicted.
        losses: float32 ``[num_rows]``, in nats.
        confidence: float32 ``[num_rows]``, the probability of the class that is predicted; None
            where a row has any number of labels.
        curve: how often the model is right where it is surest; None: as for ``confidence``.
    """

    metrics: dict[str, Any]
    reliability: Reliability
    decided: Targets
    losses: Tensor
    confidence: Tensor | None = None
    curve: RiskCoverage | None = None

    def standard_error(self, monitor: str) -> float:
        """Return the standard error of a metric, which the choice of rows gives it.

        That of a mean over rows for ``loss``; for the others, some of which have no simple one,
        that of a share of the rows.
        """
        num_rows = len(self.losses)
        if monitor != "loss":
            value = float(self.metrics[monitor])
            return math.sqrt(max(value * (1 - value), 0) / num_rows)
        return self.losses.double().std(correction=0).item() / math.sqrt(num_rows)


def weighted_mean(values: Tensor, weights: Tensor | None) -> float:
    """Return the mean of numbers of rows, by what the rows weigh, in double precision.

    Args:
        values: ``[num_rows]``, num_rows > 0.
        weights: ``[num_rows]``, not negative, not all 0; None: all weigh the same.
    """
    exact = values.double()
    if weights is None:
        return exact.mean().item()
    return ((exact * weights).sum() / weights.sum(dtype=exact.dtype)).item()
