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

    @classmethod
    def of_words(
        cls, lengths: Tensor, parts: Tensor, shares: Tensor, num_embeddings: int
    ) -> Composition:
        """Return words composed of their own row and of others.

        The squares of the weights in a word sum to 1: those of its parts, and its own.

        Args:
            lengths: how many parts each word has, int64 ``[num_words]``.
            parts: rows, word by word, int32 ``[n]``.
            shares: their weights, float32 ``[n]``, of which the squares sum to 1 at most.
            num_embeddings: rows; those of ``num_words`` on have no parts.
        """
        num_words = len(lengths)
        count = lengths.new_ones(num_embeddings)
        count[:num_words] += lengths
        offsets = torch.cat([count.new_zeros(1), count.cumsum(0)])
        own = offsets[:-1]
        is_part = torch.ones(int(offsets[-1]), dtype=torch.bool)
        is_part[own] = False
        word = torch.repeat_interleave(lengths)
        left = 1 - torch.bincount(word, shares.double().square(), num_words)
        indices, weights = torch.empty(len(is_part), dtype=torch.int32), torch.ones(len(is_part))
        indices[own], indices[is_part] = torch.arange(num_embeddings, dtype=torch.int32), parts
        weights[own[:num_words]] = left.clamp(min=0).sqrt().float()
        weights[is_part] = shares
        return cls(Bags(indices, offsets, torch.zeros_like(own), num_embeddings, weights))

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
