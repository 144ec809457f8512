"""Vectors of words composed of their own row and of those of their character n-grams."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from textcls.data.batches import runs_of_bags
from textcls.data.composition import Composition, Items
from textcls.model.look_up import backward_of_sum, gradient_of, look_up


def composed_items(weight: Tensor, items: Items, sparse: bool) -> Tensor:
    """Return the vectors of a batch's items, ``[num_items, embedding_dim]``.

    Args:
        weight: the raw table, ``[num_embeddings, embedding_dim]``.
        items: of the batch.
        sparse: whether the table's gradient is one of the touched rows.
    """
    composed: Tensor = _Composing.apply(weight, items, sparse)  # type: ignore[no-untyped-call]
    return composed


class _Composing(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, items: Items, sparse: bool) -> Tensor:
        sums, _, _ = look_up(weight, items.chars, items.offsets, "sum")
        ctx.save_for_backward(weight)
        ctx.items, ctx.sparse = items, sparse
        return weight.index_select(0, items.rows).addcmul_(sums, items.scales.to(weight.dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), items = ctx.saved_tensors, ctx.items
        grad = grad.to(torch.promote_types(grad.dtype, torch.float32))
        # In the order of the bags of ``turned``.
        by_bag = torch.cat([grad, grad * items.scales])
        rows, values = backward_of_sum(by_bag, None, items.turned)
        return gradient_of(weight, rows, values, ctx.sparse), None, None


@torch.no_grad()
def composed_table(weight: Tensor, composition: Composition) -> Tensor:
    """Return the table with each word's character n-grams added to its row, of the same shape.

    Args:
        weight: the raw table, ``[num_embeddings, embedding_dim]``.
        composition: on any device.
    """
    table = weight.detach().clone()
    start = 0
    for run in runs_of_bags(composition.bags):
        chars = run.to(weight.device)
        sums, _, _ = look_up(weight.detach(), chars.indices, chars.offsets.int(), "sum")
        scales = composition.scales_of(chars.lengths).unsqueeze(1)
        table[start : start + len(run)].addcmul_(sums, scales.to(weight.dtype))
        start += len(run)
    return table
