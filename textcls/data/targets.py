"""Targets: the labels of bags as tensors, one each or any number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Targets(NamedTuple):
    """The labels of bags.

    Attributes:
        ids: int64 ``[num_labels]``, class numbers, bag by bag.
        offsets: int64 ``[num_bags + 1]``: those of bag b are ``ids[offsets[b]:offsets[b + 1]]``,
            ascending, each once; None: every bag has one.
    """

    ids: Tensor
    offsets: Tensor | None = None

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

    def slice(self, start: int, stop: int) -> Targets:
        """Return those of bags ``start`` to ``stop - 1``."""
        if self.offsets is None:
            return Targets(self.ids[start:stop])
        offsets = self.offsets[start : stop + 1]
        return Targets(self.ids[int(offsets[0]) : int(offsets[-1])], offsets - offsets[0])

    def select(self, bags: Tensor) -> Targets:
        """Return those of some bags, int64 ``[n]``, in any order."""
        if self.offsets is None:
            return Targets(self.ids[bags])
        counts = self.offsets.diff()[bags]
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return Targets(self.ids[places_of_runs(self.offsets[bags], offsets)], offsets)

    def to(self, device: torch.device | str) -> Targets:
        """Return them on a device."""
        return Targets(
            self.ids.to(device), None if self.offsets is None else self.offsets.to(device)
        )

    @staticmethod
    def concatenate(parts: Sequence[Targets]) -> Targets:
        """Join the labels of bags that all have one each, or all have several."""
        ids = torch.cat([part.ids for part in parts])
        counts = [part.offsets.diff() for part in parts if part.offsets is not None]
        if not counts:
            return Targets(ids)
        each = torch.cat(counts)
        return Targets(ids, torch.cat([each.new_zeros(1), each.cumsum(0)]))

    def dense(self, num_classes: int) -> Tensor:
        """Return 1 for each label of a bag, 0 for others, float32 ``[num_bags, num_classes]``."""
        found = torch.zeros(self.num_bags, num_classes, device=self.ids.device)
        found[self.bags, self.ids] = 1
        return found


def places_of_runs(starts: Tensor, offsets: Tensor) -> Tensor:
    """Return ``start, start + 1, …`` for each run, one run after another.

    Args:
        starts: int64 ``[n]``.
        offsets: int64 ``[n + 1]``, of the runs in the result.
    """
    total = int(offsets[-1])
    shift = torch.repeat_interleave(starts - offsets[:-1], offsets.diff(), output_size=total)
    return shift.add_(torch.arange(total, device=starts.device))
