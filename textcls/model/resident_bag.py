"""The embedding bag of a training on a GPU: it reads batches where they are laid out."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from textcls.data.resident import Resident
from textcls.model.kernels import (
    JOINED,
    TILE,
    columns_of,
    credit_kernel,
    join_kernel,
    pool_kernel,
    rows_of,
    settle_kernel,
)
from textcls.model.pooling import WEIGHT_SCALE, TransposedEmbeddingBag


class ResidentEmbeddingBag:
    """An embedding bag's forward and backward pass over the steps that a layout holds.

    All that it returns stands in tensors that never move.

    Args:
        embedding: whose parameters are read.
        layout: where the bags are.
        counter: int64 ``[n]`` on the device; its first number is the step in the layout.
        num_programs: of the kernels whose work the device itself counts.
    """

    def __init__(
        self,
        embedding: TransposedEmbeddingBag,
        layout: Resident,
        counter: Tensor,
        num_programs: int,
    ) -> None:
        self.embedding, self.layout, self.counter = embedding, layout, counter
        self.num_programs = num_programs
        parts = embedding.pooling.parts
        self._mean, self._sum, self._max = "mean" in parts, "sum" in parts, "max" in parts
        dim, size = embedding.embedding_dim, layout.batch_size
        # A step has no more rows than tokens, and no more parts than rows and tiles.
        max_rows = min(embedding.num_embeddings, layout.max_tokens)
        max_parts = max_rows + triton.cdiv(layout.max_tokens, TILE)

        def floats(*shape: int) -> Tensor:
            return torch.zeros(*shape, dtype=torch.float32, device=layout.device)

        self.pooled = floats(size, embedding.pooled_dim)
        self._scales = floats(size, 1)
        self._chosen = torch.zeros(size, dim, dtype=torch.int32, device=layout.device)
        self._parts = floats(max_parts, dim)
        grad_rows = max_rows if embedding.sparse else embedding.num_embeddings
        self.grad_weight = floats(grad_rows, dim)
        self.grad_weighing = None if embedding.weighing is None else floats(grad_rows, 1)
        self.squares = floats(num_programs)
        # As many tokens at once as a bag has, or a good part of them.
        self._tokens = min(max(triton.next_power_of_2(layout.mean_length), 16), 64)

    @property
    def _padding(self) -> int:
        padding = self.embedding.padding_idx
        return -1 if padding is None else padding

    def forward(self) -> Tensor:
        """Return the step's pooled vectors, float32 ``[batch_size, pooled_dim]``."""
        embedding, layout = self.embedding, self.layout
        dim, columns = embedding.embedding_dim, columns_of(embedding.embedding_dim)
        weight = embedding.weight
        pool_kernel[(layout.batch_size, triton.cdiv(dim, columns))](
            weight, weight if embedding.weighing is None else embedding.weighing,
            layout.indices, layout.starts, layout.lengths, self.counter,
            self.pooled, self._chosen, self._scales, layout.batch_size, self._padding,
            dim, WEIGHT_SCALE, int(self._mean), int(self._sum), int(self._max),
            embedding.weighing is not None, self._tokens, columns,
        )  # fmt: skip
        return self.pooled

    def backward(self, grad: Tensor) -> None:
        """Fill ``grad_weight`` and ``grad_weighing``: by row of the step, or by token id.

        ``squares``, of as many numbers as there are programs, adds up to their squared 2-norm.

        By row where ``embedding.sparse`` says so; the rows are then those of ``layout`` that
        belong to the step, and what lies beyond them is undefined.

        Args:
            grad: float32 ``[batch_size, pooled_dim]``, of the pooled vectors.
        """
        embedding, layout, dim = self.embedding, self.layout, self.embedding.embedding_dim
        weighted, dense = embedding.weighing is not None, not embedding.sparse
        parts = list(grad.chunk(grad.shape[1] // dim, 1))
        of_sum = parts.pop(0) * self._scales if self._mean else None
        if self._sum:
            summed = parts.pop(0)
            of_sum = summed if of_sum is None else of_sum + summed
        of_max = parts.pop(0).contiguous() if self._max else grad
        columns = columns_of(dim)
        by_column = (self.num_programs, triton.cdiv(dim, columns))
        credit_kernel[by_column](
            of_max if of_sum is None else of_sum.contiguous(), of_max, self._chosen,
            layout.bags, layout.rows, layout.row_tokens, layout.step_entries, layout.step_rows,
            self.counter, self._parts, dim, of_sum is not None, self._max, TILE, columns,
        )  # fmt: skip
        join_kernel[by_column](
            layout.rows, layout.row_starts, layout.step_entries, layout.step_rows, self.counter,
            self._parts, dim, TILE, JOINED, columns,
        )  # fmt: skip
        if dense:
            self.grad_weight.zero_()
            if self.grad_weighing is not None:
                self.grad_weighing.zero_()
        settle_kernel[(self.num_programs,)](
            self._parts, embedding.weight, embedding.weighing if weighted else embedding.weight,
            layout.row_tokens, layout.row_starts, layout.step_entries, layout.step_rows,
            self.counter, self.grad_weight,
            self.grad_weight if self.grad_weighing is None else self.grad_weighing,
            self.squares, self._padding,
            dim, WEIGHT_SCALE, dense, weighted, TILE, rows_of(dim), columns,
        )  # fmt: skip
