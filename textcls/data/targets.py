"""Targets: the labels of bags as tensors, one each or any number, their shares, bags' weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:  # it brings Arrow, which a GPU does without
    from textcls.corpus.splits import RowLabels


class Targets(NamedTuple):
    """The labels of bags.

    Attributes:
        ids: int64 ``[num_labels]``, class numbers, bag by bag.
        offsets: int64 ``[num_bags + 1]``: those of bag b are ``ids[offsets[b]:offsets[b + 1]]``,
            ascending, each once; None: every bag has one.
        weights: float32 ``[num_bags]``, of each bag in the loss; None: all weigh the same.
        shares: float32 ``[num_labels]``, above 0, how probable each label of a bag is; they sum to
            1 in each bag, which has one label at least. None: labels are certain.
    """

    ids: Tensor
    offsets: Tensor | None = None
    weights: Tensor | None = None
    shares: Tensor | None = None

    @classmethod
    def of(cls, labels: RowLabels, weights: Tensor | None = None) -> Targets:
        """Return the labels of rows as tensors, with the weights of bags if there are any."""
        offsets = None if labels.offsets is None else torch.from_numpy(labels.offsets)
        shares = None if labels.shares is None else torch.from_numpy(labels.shares)
        return cls(torch.from_numpy(labels.ids), offsets, weights, shares)

    @property
    def num_bags(self) -> int:
        """Of how many bags."""
        return len(self.ids) if self.offsets is None else len(self.offsets) - 1

    @property
    def bags(self) -> Tensor:
        """The number of the bag of each label, int64 ``[num_labels]``."""
        if self.offsets is None:
            return torch.arange(len(self.ids), device=self.ids.device)
        return torch.repeat_interleave(self.offsets.diff())

    @property
    def total_weight(self) -> float:
        """What all bags weigh in the loss; 1 each where they have no weights."""
        if self.weights is None:
            return float(self.num_bags)
        return self.weights.sum(dtype=torch.float64).item()

    def slice(self, start: int, stop: int) -> Targets:
        """Return those of bags ``start`` to ``stop - 1``."""
        weights = None if self.weights is None else self.weights[start:stop]
        if self.offsets is None:
            return Targets(self.ids[start:stop], None, weights)
        offsets = self.offsets[start : stop + 1]
        own = slice(int(offsets[0]), int(offsets[-1]))
        shares = None if self.shares is None else self.shares[own]
        return Targets(self.ids[own], offsets - offsets[0], weights, shares)

    def select(self, bags: Tensor) -> Targets:
        """Return those of some bags, int64 ``[n]``, in any order."""
        weights = None if self.weights is None else self.weights[bags]
        if self.offsets is None:
            return Targets(self.ids[bags], None, weights)
        counts = self.offsets.diff()[bags]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        places = places_of_runs(self.offsets[bags], offsets)
        shares = None if self.shares is None else self.shares[places]
        return Targets(self.ids[places], offsets, weights, shares)

    def hard(self) -> Targets:
        """Return one label for each bag where labels have shares: see :meth:`RowLabels.hard`."""
        if self.shares is None or self.offsets is None:
            return self
        from textcls.corpus.splits import RowLabels  # brings Arrow

        ids, offsets, shares = (one.cpu().numpy() for one in (self.ids, self.offsets, self.shares))
        found = RowLabels(ids, offsets, shares=shares).hard()
        return Targets(torch.from_numpy(found.ids).to(self.ids.device), None, self.weights)

    def to(self, device: torch.device | str) -> Targets:
        """Return them on a device."""
        return self.each(lambda tensor: tensor.to(device))

    def each(self, change: Callable[[Tensor], Tensor]) -> Targets:
        """Return them with every tensor changed."""
        offsets, weights, shares = (
            None if tensor is None else change(tensor)
            for tensor in (self.offsets, self.weights, self.shares)
        )
        return Targets(change(self.ids), offsets, weights, shares)

    @staticmethod
    def concatenate(parts: Sequence[Targets]) -> Targets:
        """Join the labels of bags that all have one each, or all have several.

        Raises:
            ValueError: some have weights, or shares, and some have none.
        """
        ids = torch.cat([part.ids for part in parts])
        weights, shares = (
            _joined([getattr(part, name) for part in parts], name) for name in ("weights", "shares")
        )
        counts = [part.offsets.diff() for part in parts if part.offsets is not None]
        if not counts:
            return Targets(ids, None, weights)
        each = torch.cat(counts)
        return Targets(ids, torch.cat([each.new_zeros(1), each.cumsum(0)]), weights, shares)

    def dense(self, num_classes: int) -> Tensor:
        """Return the share of each label of a bag, 1 where it has none, 0 for other labels.

        They are float32 ``[num_bags, num_classes]``.
        """
        found = torch.zeros(self.num_bags, num_classes, device=self.ids.device)
        found[self.bags, self.ids] = 1 if self.shares is None else self.shares
        return found


def _joined(of_parts: Sequence[Tensor | None], what: str) -> Tensor | None:
    there = [one for one in of_parts if one is not None]
    if 0 < len(there) < len(of_parts):
        raise ValueError(f"bags with {what} and bags without cannot be concatenated")
    return torch.cat(there) if there else None


def relative_weights(weights: npt.NDArray[np.float64]) -> Tensor | None:
    """Return what bags weigh beside each other, float32 ``[num_bags]``, 1 on average.

    Args:
        weights: ``[num_bags]``, finite, not negative, not all 0.

    Returns:
        None where all are alike, which is the same training.
    """
    if (weights == weights[:1]).all():
        return None
    scaled = weights / weights.max()  # so that no sum overflows
    return torch.from_numpy((scaled / scaled.mean()).astype(np.float32))


def places_of_runs(starts: Tensor, offsets: Tensor) -> Tensor:
    """Return ``start, start + 1, …`` for each run, one run after another.

    Args:
        starts: int64 ``[n]``.
        offsets: int64 ``[n + 1]``, of the runs in the result.
    """
    total = int(offsets[-1])
    shift = torch.repeat_interleave(starts - offsets[:-1], offsets.diff(), output_size=total)
    return shift.add_(torch.arange(total, device=starts.device))
