"""torch's kernel of the embedding bag, and the gradient of its sum by the transpose."""

from __future__ import annotations

import torch
from torch import Tensor

from textcls.data.transpose import Transpose

# torch.embedding_bag's numbers for the modes.
_NUMBERS: dict[str, int] = {"sum": 0, "mean": 1, "max": 2}


def look_up(
    table: Tensor,
    indices: Tensor,
    offsets: Tensor,
    mode: str,
    padding: int | None = None,
    per_sample_weights: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Pool the rows of a table by torch's kernel.

    Returns:
        Pooled vectors ``[num_bags, dim]``; tokens per bag without padding ``[num_bags]``; for max,
        the token that had each number ``[num_bags, dim]``.
    """
    pooled, _, lengths, chosen = torch.embedding_bag(
        table, indices, offsets, False, _NUMBERS[mode], False, per_sample_weights, True, padding
    )
    return pooled, lengths, chosen


def gradient_of(table: Tensor, rows: Tensor, values: Tensor, sparse: bool) -> Tensor:
    """Return the gradient of a table's rows, int64 ``[num_rows]``, distinct and ascending."""
    values = values.to(table.dtype)
    if not sparse:
        if len(rows) == len(table):  # all of them
            return values
        return torch.zeros_like(table).index_copy_(0, rows, values)
    return torch.sparse_coo_tensor(
        rows.unsqueeze(0), values, table.shape, is_coalesced=True, check_invariants=False
    )


def backward_of_sum(
    grad: Tensor, per_sample_weights: Tensor | None, transposed: Transpose
) -> tuple[Tensor, Tensor]:
    """Return the touched rows, int64 ``[num_rows]``, and their gradient, ``[num_rows, dim]``."""
    if per_sample_weights is not None:
        assert transposed.positions is not None, "weights need transpose(with_positions=True)"
        per_sample_weights = per_sample_weights[transposed.positions]
    values, _, _ = look_up(
        grad.contiguous(),
        transposed.bags,
        transposed.offsets,
        "sum",
        per_sample_weights=per_sample_weights,
    )
    return transposed.rows, values
