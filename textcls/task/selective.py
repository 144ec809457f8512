"""Selective prediction: how often a model is right about the texts that it is surest of.

Texts are taken in the order of their confidence, the probability of the predicted class. Of the
share that is taken, the coverage, some predictions are wrong: the risk. See El-Yaniv and Wiener,
"On the Foundations of Noise-free Selective Classification" (2010), and Geifman and El-Yaniv,
"Selective Classification for Deep Neural Networks" (2017, https://arxiv.org/abs/1705.08500).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from textcls.errors import InputError

# The name of the tensor of a model folder, and how many points it has at most.
RISK_COVERAGE = "risk_coverage"
MOST_POINTS = 512
# A normal distribution has 5 % beyond so many standard deviations.
_Z = 1.645


@dataclass(frozen=True)
class Limit:
    """From which confidence on a model is sure enough, and what that comes to on some rows.

    Attributes:
        confidence: the least.
        coverage: the share of the rows that reach it.
        accuracy: the share of these that was right; None: of no rows.
    """

    confidence: float
    coverage: float
    accuracy: float | None


@dataclass(frozen=True)
class RiskCoverage:
    """How often a model was right about the rows that it was surest of.

    Attributes:
        confidence: float ``[num_points]``, descending, no two alike.
        rows: float64 ``[num_points]``, how many rows are at least as confident; all, at the end.
            Where rows have weights, it is how many of one weight would say as much.
        right: float64 ``[num_points]``, how many of these were right.
    """

    confidence: Tensor
    rows: Tensor
    right: Tensor

    @property
    def coverage(self) -> Tensor:
        """The share of the rows that is taken, float64 ``[num_points]``."""
        return self.rows / self.rows[-1]

    @property
    def accuracy(self) -> Tensor:
        """The share of what is taken that was right, float64 ``[num_points]``."""
        return self.right / self.rows

    @property
    def assured(self) -> Tensor:
        """The accuracy that other rows can be expected to have at least, float64 ``[num_points]``.

        It is the lower end of Wilson's interval: of a given confidence, the true accuracy lies
        below in 5 % of cases. The accuracy of these rows themselves would be missed in about half
        of them, as the limit is chosen by it.
        """
        share, z2 = self.accuracy, _Z**2
        spread = (share * (1 - share) / self.rows + z2 / (4 * self.rows**2)).sqrt()
        return (share + z2 / (2 * self.rows) - _Z * spread) / (1 + z2 / self.rows)

    @property
    def area(self) -> float:
        """The area under risk by coverage (AURC), of a whole curve.

        It is the mean over rows of the risk of taking all that are at least as confident.
        """
        steps = self.rows.diff(prepend=self.rows.new_zeros(1))
        return ((1 - self.accuracy) @ steps / self.rows[-1]).item()

    def limit(self, accuracy: float) -> Limit:
        """Return from which confidence on an accuracy is assured.

        That is the lowest confidence whose ``assured`` reaches it; 0 where that of all rows does.

        Raises:
            InputError: it is assured nowhere.
        """
        (enough,) = (self.assured >= accuracy).nonzero(as_tuple=True)
        if not len(enough):
            highest = math.floor(self.assured.amax().item() * 1e4) / 1e4
            raise InputError(
                f"validation does not assure an accuracy of {accuracy:g}, not even where the model "
                f"is surest: {highest:g} is the highest"
            )
        i = int(enough[-1])
        return self.at(0.0 if i == len(self.rows) - 1 else self.confidence[i].item())

    def at(self, confidence: float) -> Limit:
        """Return what taking rows from a confidence on comes to, of a whole curve."""
        taken = int((self.confidence >= confidence).sum())
        if not taken:
            return Limit(confidence, 0.0, None)
        return Limit(confidence, self.coverage[taken - 1].item(), self.accuracy[taken - 1].item())

    def compact(self) -> RiskCoverage:
        """Return the points that alone can be limits, ``MOST_POINTS`` of them at most.

        Where these are more, the coverage of a limit falls by 2 / (``MOST_POINTS`` - 1) at most.
        """
        # From the end on, each that assures more than all before it. That takes more rows and
        # assures less from point to point, so that the difference of these always rises.
        ahead = self.assured.flip(0).cummax(0).values.flip(0)
        keep = torch.ones(len(ahead), dtype=torch.bool)
        keep[:-1] = ahead[:-1] > ahead[1:]
        (points,) = keep.nonzero(as_tuple=True)
        if len(points) > MOST_POINTS:
            place = (self.coverage - self.assured)[points]
            step = ((place - place[0]) / (place[-1] - place[0]) * (MOST_POINTS - 1)).floor()
            is_first = torch.ones(len(points), dtype=torch.bool)
            is_first[1:] = step[1:] != step[:-1]
            points = points[is_first]
        return RiskCoverage(self.confidence[points], self.rows[points], self.right[points])

    def tensor(self) -> Tensor:
        """Return it as a model folder has it: float32 ``[num_points, 3]``."""
        return torch.stack([self.confidence, self.rows.float(), self.right.float()], 1)

    @classmethod
    def of_tensor(cls, tensor: Tensor) -> RiskCoverage:
        """Return what :meth:`tensor` was made of.

        Raises:
            ValueError: it is of no curve.
        """
        confidence, rows, right = tensor.T.contiguous()
        is_one = (confidence >= 0) & (confidence <= 1) & (right >= 0) & (right <= rows) & (rows > 0)
        goes_on = (confidence[1:] < confidence[:-1]) & (rows[1:] >= rows[:-1])
        goes_on &= right[1:] >= right[:-1]
        if not (len(tensor) and is_one.all() and goes_on.all() and rows.isfinite().all()):
            raise ValueError(f"{RISK_COVERAGE} must be of rows that become more, less confident")
        return cls(confidence, rows.double(), right.double())


def risk_coverage(confidence: Tensor, right: Tensor, weights: Tensor | None = None) -> RiskCoverage:
    """Return how often a model was right about the rows that it was surest of.

    Args:
        confidence: float ``[n]``, n > 0, the probability of each row's prediction.
        right: bool ``[n]``, whether it was right.
        weights: float ``[n]``, what each row counts, not negative, not all 0; None: 1 each.
    """
    if weights is not None:
        counted = weights > 0
        confidence, right, weights = confidence[counted], right[counted], weights[counted].double()
        # Kish's effective number of rows is what intervals go by.
        weights = weights * (weights.sum() / weights.square().sum())
    ordered, order = confidence.sort(descending=True)
    is_last = torch.ones(len(ordered), dtype=torch.bool)
    is_last[:-1] = ordered[1:] != ordered[:-1]  # rows of one confidence are taken together
    counts = torch.ones_like(ordered, dtype=torch.float64) if weights is None else weights[order]
    rows, found = counts.cumsum(0)[is_last], (counts * right[order]).cumsum(0)[is_last]
    return RiskCoverage(ordered[is_last], rows, found)
