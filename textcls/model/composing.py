"""Vectors of words composed of their own row and of those of their character n-grams."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from textcls.data.bags import Bags
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
        ctx.save_for_backward(weight)
        ctx.items, ctx.sparse = items, sparse
        return _composed(weight, items.parts)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (weight,), items = ctx.saved_tensors, ctx.items
        grad = grad.to(torch.promote_types(grad.dtype, torch.float32))
        rows, values = backward_of_sum(grad, items.parts.weights, items.turned)
        return gradient_of(weight, rows, values, ctx.sparse), None, None


@torch.no_grad()
def composed_table(weight: Tensor, composition: Composition) -> Tensor:
    """Return the table of composed vectors, of the same shape.

    Args:
        weight: the raw table, ``[num_embeddings, embedding_dim]``.
        composition: on any device.
    """
    raw = weight.detach()
    runs = runs_of_bags(composition.bags)
    return torch.cat([_composed(raw, run.to(weight.device)) for run in runs])


def _composed(table: Tensor, parts: Bags) -> Tensor:
    weights = None if parts.weights is None else parts.weights.to(table.dtype)
    vectors, _, _ = look_up(
        table, parts.indices, parts.offsets.int(), "sum", per_sample_weights=weights
    )
    return vectors
