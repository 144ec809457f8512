"""``nn.EmbeddingBag`` with a fast backward: the gradient of a bag is a bag of the transpose.

The gradient of a token's row sums, over the bags that the token stands in, the gradient of what
those bags pooled to. That is a look-up and a sum as in the forward pass, with tokens and bags
changing places: the "table" is the gradient by bag, and the "bags" are the tokens of the batch::

    grad_weight[v] = sum of w(v, b) * grad_pooled[b] over the bags b of v

where w is 1 for sum, 1 / length of b for mean, and the token's weight for a weighted sum. torch's
own backward scatters the gradient token by token instead, many times slower. Each row is summed by
one thread, in the order of the bags, so that the result does not depend on threads or timing.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from textcls.config import Mode
from textcls.data.transpose import Transpose, transpose

# Rows begin small, so that documents of any length begin near the origin, where a linear layer says
# "all classes alike"; torch's default, a standard deviation of 1, would drown what is learned.
INIT_RANGE = 0.05
# torch.embedding_bag's numbers for the modes.
_NUMBERS: dict[str, int] = {"sum": 0, "mean": 1, "max": 2}


class TransposedEmbeddingBag(nn.EmbeddingBag):
    """``nn.EmbeddingBag(include_last_offset=True)``: same results, same state dict, fast gradient.

    Equal to torch's module up to float rounding, for every mode, with empty bags (zeros),
    duplicates, padding and ``per_sample_weights``.
    See https://docs.pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html.

    Args:
        num_embeddings: token ids lie below it.
        embedding_dim: numbers per token.
        mode: how the vectors of a bag become one.
        padding_idx: the token id whose row is zero, never learns and is never pooled, if any.
        sparse: whether the weight's gradient is a coalesced sparse tensor of the touched rows
            (in every mode), rather than a dense one of all rows.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        mode: Mode = "mean",
        padding_idx: int | None = None,
        sparse: bool = False,
    ) -> None:
        super().__init__(
            num_embeddings,
            embedding_dim,
            mode=mode,
            include_last_offset=True,
            padding_idx=padding_idx,
            sparse=sparse,
        )

    def reset_parameters(self) -> None:
        """Draw the rows uniformly from ``±INIT_RANGE``; that of padding is zero."""
        nn.init.uniform_(self.weight, -INIT_RANGE, INIT_RANGE)
        if self.padding_idx is not None:
            nn.init.zeros_(self.weight[self.padding_idx])

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
        transposed: Transpose | None = None,
    ) -> Tensor:
        """Return the pooled vectors, ``[num_bags, embedding_dim]`` of the weight's dtype.

        Args:
            input: int32 or int64 ``[num_tokens]``, the flat token ids.
            offsets: int32 or int64 ``[num_bags + 1]``, first 0, last ``num_tokens``.
            per_sample_weights: one weight per token, ``[num_tokens]`` of the weight's dtype; for
                sum only.
            transposed: :func:`transpose` of the batch, made ahead (with positions if there are
                weights); without it, the backward pass makes it. ``max`` needs none.

        Raises:
            ValueError: no offsets, or weights with another mode than sum.
        """
        if offsets is None:
            raise ValueError("offsets say where bags begin: [0, ..., len(input)]")
        if per_sample_weights is not None and self.mode != "sum":
            raise ValueError(f"per_sample_weights go with mode='sum', not with '{self.mode}'")
        padding = self.padding_idx
        # torch's CPU kernel is thirty times slower where it has to look for padding.
        if padding is not None and input.device.type == "cpu":
            tokens = input if transposed is None else transposed.rows
            padding = padding if (tokens == padding).any() else None
        # One integer type for both: int32 halves what the look-up reads beside the table.
        pooled: Tensor = _Pooling.apply(  # type: ignore[no-untyped-call]
            self.weight,
            per_sample_weights,
            input,
            offsets.to(input.dtype),
            transposed,
            self.mode,
            padding,
            self.sparse,
        )
        return pooled


class _Pooling(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        token_weights: Tensor | None,
        indices: Tensor,
        offsets: Tensor,
        transposed: Transpose | None,
        mode: str,
        padding: int | None,
        sparse: bool,
    ) -> Tensor:
        # torch's mean is half as fast as its sum. (Halves keep it: it divides before it rounds.)
        exact = weight.dtype in (torch.float32, torch.float64)
        by_sum = mode == "mean" and padding is None and exact
        pooled, _, lengths, chosen = torch.embedding_bag(
            weight,
            indices,
            offsets,
            False,
            _NUMBERS["sum" if by_sum else mode],
            False,
            token_weights,
            True,
            padding,
        )
        if by_sum:
            lengths = offsets.diff()
            pooled.div_(lengths.clamp(min=1).unsqueeze(1))
        ctx.save_for_backward(weight, token_weights, indices, offsets, lengths, chosen)
        ctx.transposed, ctx.mode, ctx.padding, ctx.sparse = transposed, mode, padding, sparse
        return pooled

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, token_weights, indices, offsets, lengths, chosen = ctx.saved_tensors
        grad_weight = grad_token_weights = None
        # Halves add up with too few digits.
        grad = grad.contiguous().to(torch.promote_types(grad.dtype, torch.float32))
        if ctx.needs_input_grad[0]:
            if ctx.mode == "max":
                rows, values = _backward_of_max(grad, chosen, lengths)
            else:
                rows, values = _backward_of_sum(
                    grad if ctx.mode == "sum" else grad / lengths.clamp(min=1).unsqueeze(1),
                    None if token_weights is None else token_weights.to(grad.dtype),
                    ctx.transposed or transpose(indices, offsets, token_weights is not None),
                )
            if ctx.padding is not None:
                values.masked_fill_((rows == ctx.padding).unsqueeze(1), 0)
            values = values.to(weight.dtype)
            if ctx.sparse:
                grad_weight = torch.sparse_coo_tensor(
                    rows.unsqueeze(0), values, weight.shape,
                    is_coalesced=True, check_invariants=False,
                )  # fmt: skip
            else:
                grad_weight = torch.zeros_like(weight).index_copy_(0, rows, values)
        if ctx.needs_input_grad[1]:
            of_bag = torch.repeat_interleave(offsets.diff(), output_size=len(indices))
            grad_token_weights = (grad[of_bag] * weight[indices]).sum(1)
            if ctx.padding is not None:
                grad_token_weights.masked_fill_(indices == ctx.padding, 0)
            grad_token_weights = grad_token_weights.to(token_weights.dtype)
        return grad_weight, grad_token_weights, None, None, None, None, None, None


def _backward_of_sum(
    grad: Tensor, token_weights: Tensor | None, transposed: Transpose
) -> tuple[Tensor, Tensor]:
    """Return the touched rows, int64 ``[num_rows]``, and their gradient, ``[num_rows, dim]``."""
    if token_weights is not None:
        assert transposed.positions is not None, "weights need transpose(with_positions=True)"
        token_weights = token_weights[transposed.positions]
    values, _, _, _ = torch.embedding_bag(
        grad,
        transposed.bags,
        transposed.offsets,
        False,
        _NUMBERS["sum"],
        False,
        token_weights,
        True,
    )
    return transposed.rows, values


def _backward_of_max(grad: Tensor, chosen: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Hand each number of a bag's gradient to the one token that had the largest there.

    Args:
        grad: ``[num_bags, dim]``.
        chosen: the token of each of them, ``[num_bags, dim]``.
        lengths: tokens per bag; empty ones have chosen none.
    """
    filled = lengths > 0
    tokens, grad, dim = chosen[filled].flatten(), grad[filled].flatten(), grad.shape[1]
    # Each number as a bag of one token: their transpose has the numbers of each token together.
    each = torch.arange(len(tokens) + 1, dtype=tokens.dtype, device=tokens.device)
    turned = transpose(tokens, each)
    numbers = turned.bags.long()
    row = torch.repeat_interleave(turned.offsets.diff(), output_size=len(tokens))
    values = grad.new_zeros(len(turned.rows) * dim)
    values.index_add_(0, row * dim + numbers % dim, grad[numbers])
    return turned.rows, values.view(-1, dim)
