"""Words as bags of their character n-grams, and a batch as bags of such words.

The vector of a word is a weighted sum of the row of its own and those of its character n-grams::

    vector(word) = Σ weight(word, row) · row

A batch has few distinct words for its length: each is composed once, and the bags are then pooled
over what was composed. So the batch is two bags in a row, and so is its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.transpose import Transpose, transpose


@dataclass(frozen=True, eq=False)
class Composition:
    """What each id is composed of.

    Args:
        bags: for each id the rows that it is composed of, its own among them, with weights; the
            labels mean nothing. Of what has no character n-grams it is the own row alone.

    Raises:
        ValueError: the bags have no weights.
    """

    bags: Bags

    def __post_init__(self) -> None:
        if self.bags.weights is None:
            raise ValueError("what words are composed of has weights")

    def to(self, device: torch.device | str) -> Composition:
        """Return it on a device."""
        return Composition(self.bags.to(device))

    def items(self, num_tokens: int, transposed: Transpose) -> Items:
        """Return what a batch is over composed vectors.

        Args:
            num_tokens: of the batch.
            transposed: of the batch, with positions; on the composition's device.
        """
        rows, positions = transposed.rows, transposed.positions
        assert positions is not None, "items need transpose(with_positions=True)"
        numbers = torch.arange(len(rows), dtype=torch.int32, device=rows.device)
        indices = torch.empty(num_tokens, dtype=torch.int32, device=rows.device)
        indices[positions] = torch.repeat_interleave(
            numbers, transposed.offsets.diff(), output_size=num_tokens
        )
        parts = self.bags.select(rows)
        turned = transpose(parts.indices, parts.offsets, with_positions=True)
        own = torch.arange(len(rows), dtype=torch.int64, device=rows.device)
        outer = Transpose(own, transposed.bags, transposed.offsets, positions)
        return Items(rows, parts, turned, indices, outer)


@dataclass(frozen=True)
class Items:
    """The distinct ids of a batch, what they are composed of, and the batch in their numbers.

    Attributes:
        rows: int64 ``[num_items]``, the ids, ascending.
        parts: a bag of rows for each item.
        turned: the transpose of these bags.
        indices: int32 ``[num_tokens]``, the batch: its items by number, in place of ids.
        transposed: the transpose of that batch.
    """

    rows: Tensor
    parts: Bags
    turned: Transpose
    indices: Tensor
    transposed: Transpose
