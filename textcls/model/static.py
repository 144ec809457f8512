"""Class scores out of frozen vectors of words, beside those of a table of class scores.

The vectors of a text's words are pooled as the table's rows are, and a matrix makes class scores of
the pooled vector. Both are linear: after training the matrix is applied to the vectors instead, and
the class scores of each word are added to its row of the table.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from textcls.data.batches import runs_of_bags
from textcls.data.sharded import Split
from textcls.model.look_up import look_up
from textcls.model.pooling import norms_of

if TYPE_CHECKING:
    from textcls.data.word_vectors import WordRows  # brings Arrow

# The root mean square length of the pooled vectors of train: how far a step of the matrix moves
# class scores, beside one of the table. Chosen as docs/accuracy.md says.
LENGTH = 0.3
# Of fewer documents there are few steps, which have to be longer.
MANY = 200
# Texts that it is measured on, evenly spaced.
_MEASURED = 10_000


class StaticVectors(nn.Module):
    """Frozen vectors of words, and what is learned of them.

    Args:
        words: the vectors, as rows of ids.
        num_embeddings: ids lie below it.
        num_classes: classes to tell apart.
        pooling: how a bag becomes a vector: ``sqrtn``, ``mean`` or ``sum``.

    Attributes:
        weight: float ``[num_classes, width]``, 0 at first.
        length: of the pooled vectors of train, as :meth:`scale` brought it about.
    """

    rows: Tensor
    ids: Tensor
    places: Tensor

    def __init__(
        self, words: WordRows, num_embeddings: int, num_classes: int, pooling: str
    ) -> None:
        super().__init__()
        self.pooling, self.length = pooling, 1.0
        rows, ids = torch.from_numpy(words.rows), torch.from_numpy(words.ids).long()
        places = torch.full((num_embeddings,), -1, dtype=torch.int32)
        places[ids] = torch.arange(len(ids), dtype=torch.int32)
        for name, tensor in (("rows", rows), ("ids", ids), ("places", places)):
            self.register_buffer(name, tensor, persistent=False)
        self.weight = nn.Parameter(torch.zeros(num_classes, rows.shape[1]))

    def pool(self, indices: Tensor, offsets: Tensor, weights: Tensor | None) -> Tensor:
        """Return the pooled vectors of bags, float ``[num_bags, width]``.

        The arguments are those of :class:`~textcls.model.embedding_bag.EmbeddingBagClassifier`.
        """
        offsets = offsets.to(indices.dtype)
        places = self.places[indices.long()]
        has_one = places >= 0
        ends = F.pad(has_one.cumsum(0, dtype=torch.int32), (1, 0))
        chosen = None if weights is None else weights[has_one]
        pooled, _, _ = look_up(
            self.rows, places[has_one], ends[offsets.long()], "sum", per_sample_weights=chosen
        )
        if self.pooling == "sum":
            return pooled
        return pooled / norms_of(self.pooling, weights, indices, offsets, None, pooled.dtype)

    def forward(self, indices: Tensor, offsets: Tensor, weights: Tensor | None) -> Tensor:
        """Return what they add to class scores of bags, float ``[num_bags, num_classes]``."""
        return F.linear(self.pool(indices, offsets, weights), self.weight)

    @torch.no_grad()
    def scale(self, bags: Split) -> None:
        """Bring the vectors to the scale that fits train.

        Those of its bags have the root mean square length ``LENGTH``; of a hundredth of ``MANY``
        bags ten times as much, and in between by the root of their number.
        """
        self.length = LENGTH * max(1.0, MANY / max(len(bags), 1)) ** 0.5
        count = min(len(bags), _MEASURED)
        some = bags.select(torch.arange(count) * len(bags) // count)
        squares = 0.0
        for run in runs_of_bags(some):
            squares += float(self.pool(run.indices, run.offsets, run.weights).square().sum())
        if squares:
            self.rows = self.rows * (self.length / (squares / count) ** 0.5)

    def holding(self, weight: Tensor) -> StaticVectors:
        """Return the same vectors with another matrix, for inference."""
        other = copy.copy(self)
        other._buffers = dict(self._buffers)
        other._parameters = {"weight": nn.Parameter(weight, requires_grad=False)}
        return other

    @torch.no_grad()
    def added_to(self, table: Tensor) -> Tensor:
        """Return a table of class scores with those that the vectors have, of the same shape."""
        return table.index_add(0, self.ids, self.rows @ self.weight.T)
