"""Words as bags of their character n-grams, and a batch as bags of such words.

The vector of a word is the row of its own, and a share of those of its n character n-grams::

    vector(word) = row(word) + char_weight / √n · Σ row(g)      over its n-grams g

A batch has few distinct words for its length: each is composed once, and the bags are then pooled
over what was composed. So the batch is two bags in a row, and so is its gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.transpose import Transpose, transpose


@dataclass(frozen=True, eq=False)
class Composition:
    """The character n-grams of each id of a vocabulary.

    Args:
        offsets: int64 ``[num_words + 1]``: the n-grams of id ``v`` are
            ``indices[offsets[v]:offsets[v + 1]]``. Ids from ``num_words`` on have none.
        indices: int32 ``[num_chars]``, ids of rows, of ``num_words`` on.
        char_weight: what the n-grams of a word weigh together, beside its own row.

    Raises:
        ValueError: a shape, dtype or value that breaks the above.
    """

    offsets: Tensor
    indices: Tensor
    char_weight: float = 1.0

    def __post_init__(self) -> None:
        num_words = len(self.bags)
        if len(self.indices) and int(self.indices.min()) < num_words:
            raise ValueError(f"character n-grams have ids of {num_words} on: no word's")

    @cached_property
    def bags(self) -> Bags:
        """A bag of character n-grams for each id of the vocabulary; the labels mean nothing."""
        labels = torch.zeros(len(self.offsets) - 1, dtype=torch.int64, device=self.offsets.device)
        return Bags(self.indices, self.offsets, labels)

    def to(self, device: torch.device | str) -> Composition:
        """Return it on a device."""
        if self.indices.device == torch.device(device):
            return self
        return Composition(self.offsets.to(device), self.indices.to(device), self.char_weight)

    def scales_of(self, lengths: Tensor) -> Tensor:
        """Return what the sum of so many n-grams is multiplied by: float32, of that shape."""
        return lengths.clamp(min=1).float().rsqrt_().mul_(self.char_weight)

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
        # Rows ascend: first those of the vocabulary, then those without n-grams.
        num_words = int(torch.searchsorted(rows, len(self.bags)))
        chars = self.bags.select(rows[:num_words])
        offsets = torch.cat([chars.offsets, chars.offsets[-1:].expand(len(rows) - num_words)])
        # One sort for both: bag i is the row of item i, and bag num_items + i its n-grams.
        own = torch.arange(len(rows), dtype=torch.int64, device=rows.device)
        turned = transpose(
            torch.cat([rows.int(), chars.indices]), torch.cat([own, offsets + len(rows)])
        )
        scales = self.scales_of(offsets.diff()).unsqueeze(1)
        outer = Transpose(own, transposed.bags, transposed.offsets, positions)
        return Items(rows, chars.indices, offsets.int(), scales, turned, indices, outer)


@dataclass(frozen=True)
class Items:
    """The distinct ids of a batch, what they are composed of, and the batch in their numbers.

    Attributes:
        rows: int64 ``[num_items]``, the ids, ascending.
        chars: int32 ``[num_chars]``, the character n-grams of each item in turn.
        offsets: int32 ``[num_items + 1]``, where each item's n-grams begin in ``chars``.
        scales: float32 ``[num_items, 1]``, what their sum is multiplied by.
        turned: the transpose of ``2 * num_items`` bags: of each item a bag of its own row, then of
            each a bag of its n-grams.
        indices: int32 ``[num_tokens]``, the batch: its items by number, in place of ids.
        transposed: the transpose of that batch.
    """

    rows: Tensor
    chars: Tensor
    offsets: Tensor
    scales: Tensor
    turned: Transpose
    indices: Tensor
    transposed: Transpose
