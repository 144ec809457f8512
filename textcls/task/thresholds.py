"""Thresholds of labels: from which probability on each is predicted.

They are those of the best F1 on held-out rows. A label that few of these rows have would get one
by chance, so it gets the threshold that suits all labels together (Yang, "A study on thresholding
strategies for text categorization", 2001, calls the two SCut and, with the latter, its fallback).
"""

from __future__ import annotations

import torch
from torch import Tensor

from textcls.data.targets import Targets

# A label has a threshold of its own where so many held-out rows have it.
ENOUGH = 20
# Numbers that are sorted at one go: 64 MiB. Of more rows, all labels together have the threshold
# of every second, third, … one.
_SORTED = 1 << 24


def fit_thresholds(probabilities: Tensor, targets: Targets) -> Tensor:
    """Return the threshold of each label, float32 ``[num_classes]``.

    Args:
        probabilities: float32 ``[num_rows, num_classes]``, num_rows > 0, on the CPU.
        targets: of these rows.
    """
    num_rows, num_classes = probabilities.shape
    support = targets.ids.bincount(minlength=num_classes)
    flat = targets.bags * num_classes + targets.ids
    everywhere = torch.zeros(probabilities.numel(), dtype=torch.bool)
    everywhere[flat] = True
    own = everywhere.view(num_rows, num_classes)
    step = -(-probabilities.numel() // _SORTED)
    overall = _best(probabilities[::step].reshape(-1, 1), own[::step].reshape(-1, 1))
    thresholds = overall.repeat(num_classes)
    enough = (support >= ENOUGH).nonzero().squeeze(1)
    for some in torch.split(enough, max(1, _SORTED // num_rows)):
        thresholds[some] = _best(probabilities[:, some], own[:, some])
    return thresholds


def _best(probabilities: Tensor, has: Tensor) -> Tensor:
    """Return the thresholds of the best F1, one for each column, float32 ``[num_columns]``.

    A threshold lies half-way between two probabilities, so that what comes near it is predicted
    as its neighbours are.
    """
    ordered, order = probabilities.sort(0, descending=True)
    right = has.gather(0, order).cumsum(0)
    claimed = torch.arange(1, len(ordered) + 1).unsqueeze(1)
    f1 = 2 * right / (claimed + has.sum(0))
    # Equal probabilities are predicted together.
    f1[:-1][ordered[:-1] == ordered[1:]] = -1
    at = f1.argmax(0, keepdim=True)
    below = torch.cat([ordered, torch.zeros_like(ordered[:1])]).gather(0, at + 1)
    return ((ordered.gather(0, at) + below) / 2).squeeze(0)
