"""``nn.EmbeddingBag`` with a fast backward: the gradient of a bag is a bag of the transpose.

The gradient of a token's row sums, over the bags that the token stands in, the gradient of what
those bags pooled to. That is a look-up and a sum as in the forward pass, with tokens and bags
changing places: the "table" is the gradient by bag, and the "bags" are the tokens of the batch::

    grad_weight[v] = sum of w(v, b) * grad_pooled[b] over the bags b of v

where w is 1 for sum, 1 / length of b for mean, and the token's weight for a weighted sum. torch's
own backward scatters the gradient token by token instead, many times slower. Each row is summed by
one thread, in the order of the bags, so that the result does not depend on threads or timing.

Where poolings stand side by side, their gradients of a bag are added up before that one sum; max,
which credits one token per bag and number, is added to it after.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from textcls.data.composition import Items
from textcls.data.transpose import Transpose, transpose
from textcls.model.composing import composed_items
from textcls.model.look_up import backward_of_sum, gradient_of, look_up
from textcls.pooling import Pooling
from textcls.values import Mode

# Rows begin small, so that documents of any length begin near the origin, where a linear layer says
# "all classes alike"; torch's default, a standard deviation of 1, would drown what is learned.
INIT_RANGE = 0.05
# In a weighted sum a token weighs 1 + WEIGHT_SCALE * what it learned. Adagrad and Adam begin with
# steps of about lr, however small the gradient: at full scale the weights would run ahead of the
# rows that they multiply, which cost IMDb two points of accuracy.
WEIGHT_SCALE = 0.3


class TransposedEmbeddingBag(nn.EmbeddingBag):
    """``nn.EmbeddingBag(include_last_offset=True)``: same results, same state dict, fast gradient.

    Equal to torch's module up to float rounding, for each of its modes, with empty bags (zeros),
    duplicates, padding and ``per_sample_weights``. It has more than torch's:

    - ``sqrtn``, the weighted sum over the root of the sum of the squared weights; so TensorFlow
      calls this combiner (https://www.tensorflow.org/api_docs/python/tf/nn/embedding_lookup_sparse);
    - ``per_sample_weights`` with every mode: of ``mean`` they are divided by their sum, ``max``
      leaves them aside;
    - ``mean+max`` and the like, which put several poolings side by side;
    - ``weighted_sum``, ``weighted_mean`` and ``weighted_sqrtn``, which learn a factor of each id's
      weight. (What is divided by is made of the given weights alone.)

    See https://docs.pytorch.org/docs/stable/generated/torch.nn.EmbeddingBag.html.

    Args:
        num_embeddings: token ids lie below it.
        embedding_dim: numbers per token.
        mode: how the vectors of a bag become one.
        padding_idx: the token id whose row is zero, never learns and is never pooled, if any.
        sparse: whether the parameters' gradients are coalesced sparse tensors of the touched rows
            (in every mode), rather than dense ones of all rows.

    Attributes:
        pooling: what the mode stands for.
        weighing: float ``[num_embeddings, 1]`` of the ``weighted_`` modes, None in others: the
            weight of token v is multiplied by ``1 + WEIGHT_SCALE * weighing[v]``. It begins at
            zero: as the plain mode.
        pooled_dim: numbers per pooled vector.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        mode: Mode = "mean",
        padding_idx: int | None = None,
        sparse: bool = False,
    ) -> None:
        pooling = Pooling.parse(mode)
        super().__init__(
            num_embeddings,
            embedding_dim,
            mode=mode,
            include_last_offset=True,
            padding_idx=padding_idx,
            sparse=sparse,
        )
        self.pooling = pooling
        learned = torch.zeros(num_embeddings, 1) if pooling.learned else None
        self.weighing = None if learned is None else nn.Parameter(learned)
        self.pooled_dim = pooling.width(embedding_dim)

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
        items: Items | None = None,
    ) -> Tensor:
        """Return the pooled vectors, ``[num_bags, pooled_dim]`` of the weight's dtype.

        Args:
            input: int32 or int64 ``[num_tokens]``, the flat token ids.
            offsets: int32 or int64 ``[num_bags + 1]``, first 0, last ``num_tokens``.
            per_sample_weights: one weight per token, float ``[num_tokens]``, not negative but for
                sum; None: each weighs 1. A gradient of theirs is to be had for sum only.
            transposed: :func:`transpose` of the batch, made ahead (with positions if there are
                ``per_sample_weights``); without it, the backward pass makes it. ``max`` needs none.
            items: pool composed vectors in place of rows: what the batch is over these; then
                ``input`` and ``transposed`` are not looked at. Not to be had with padding.

        Raises:
            ValueError: no offsets, or weights that want a gradient with another mode than sum.
        """
        if offsets is None:
            raise ValueError("offsets say where bags begin: [0, ..., len(input)]")
        learns = per_sample_weights is not None and per_sample_weights.requires_grad
        if learns and self.mode != "sum":
            raise ValueError(f"per_sample_weights have no gradient with mode='{self.mode}'")
        weight: Tensor = self.weight
        weighing: Tensor | None = self.weighing
        sparse, padding = self.sparse, self.padding_idx
        if items is not None:
            assert padding is None
            weight = composed_items(weight, items, sparse)
            if weighing is not None:
                weighing = F.embedding(items.rows, weighing, sparse=sparse)
            input, transposed, sparse = items.indices, items.transposed, False
        # torch's CPU kernel is thirty times slower where it has to look for padding.
        if padding is not None and input.device.type == "cpu":
            tokens = input if transposed is None else transposed.rows
            padding = padding if (tokens == padding).any() else None
        pooled: Tensor = _Pooling.apply(  # type: ignore[no-untyped-call]
            weight,
            weighing,
            per_sample_weights,
            input,
            offsets.to(input.dtype),  # int32 halves what the look-up reads beside the table
            transposed,
            padding,
            sparse,
            self.pooling.parts,
        )
        return pooled


class _Pooling(torch.autograd.Function):
    """One or several of mean, sum, sqrtn and max, side by side.

    All but max are sums of the rows times their entries' weights, divided by a number of the bag.
    Where weights are learned, each row v is multiplied by w[v] besides: with G[v], the sum of the
    bags' gradients over the bags of v, the gradient of v's row is w[v] * G[v], and that of w[v] is
    the dot product of its row and G[v].
    """

    @staticmethod
    def forward(
        ctx: Any,
        weight: Tensor,
        weighing: Tensor | None,
        weights: Tensor | None,
        indices: Tensor,
        offsets: Tensor,
        transposed: Transpose | None,
        padding: int | None,
        sparse: bool,
        parts: tuple[str, ...],
    ) -> Tensor:
        factors = None if weights is None else weights.to(weight.dtype)
        if weighing is not None:
            learned = _weights_of(indices, weighing)
            factors = learned if factors is None else learned.mul_(factors)
        # torch's mean is half as fast as its sum. (Halves keep it: it divides before it rounds.)
        exact = weight.dtype in (torch.float32, torch.float64)
        by_kernel = "mean" in parts and factors is None and not (padding is None and exact)
        norms, pooled = {}, {}
        lengths = chosen = None
        if by_kernel:
            pooled["mean"], lengths, _ = look_up(weight, indices, offsets, "mean", padding)
            norms["mean"] = lengths.clamp(min=1).unsqueeze(1)
        for part in parts:
            if part == "max":
                pooled[part], lengths, chosen = look_up(weight, indices, offsets, part, padding)
            elif part not in pooled:
                if "sum" not in pooled:
                    pooled["sum"], _, _ = look_up(weight, indices, offsets, "sum", padding, factors)
                if part != "sum":
                    norms[part] = norms_of(part, weights, indices, offsets, padding, weight.dtype)
                    pooled[part] = (pooled["sum"] / norms[part]).to(weight.dtype)
        ctx.save_for_backward(weight, weighing, weights, indices, offsets, lengths, chosen)
        ctx.transposed, ctx.padding, ctx.sparse = transposed, padding, sparse
        ctx.parts, ctx.norms = parts, norms
        return pooled[parts[0]] if len(parts) == 1 else torch.cat([pooled[p] for p in parts], 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        weight, weighing, weights, indices, offsets, lengths, chosen = ctx.saved_tensors
        grad_weight = grad_weighing = grad_weights = None
        # Halves add up with too few digits.
        grad = grad.to(torch.promote_types(grad.dtype, torch.float32))
        count = len(ctx.parts)
        of_part = dict(zip(ctx.parts, grad.chunk(count, 1) if count > 1 else [grad], strict=True))
        if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
            of_max, by_bag = of_part.pop("max", None), None
            for part, of_linear in of_part.items():
                if part in ctx.norms:
                    of_linear = of_linear / ctx.norms[part]
                by_bag = of_linear if by_bag is None else by_bag + of_linear
            if by_bag is None:
                rows, values = _backward_of_max(of_max, chosen, lengths)
            else:
                rows, values = backward_of_sum(
                    by_bag,
                    None if weights is None else weights.to(grad.dtype),
                    ctx.transposed or transpose(indices, offsets, weights is not None),
                )
                if of_max is not None:
                    credited, more = _backward_of_max(of_max, chosen, lengths)
                    # Both ascend, and the batch has every token that max can credit.
                    values.index_add_(0, torch.searchsorted(rows, credited), more)
            if ctx.padding is not None:
                values.masked_fill_((rows == ctx.padding).unsqueeze(1), 0)
            # The gradient of the rows last: it takes the place of the sums.
            if ctx.needs_input_grad[1]:
                products = weight.index_select(0, rows).to(values.dtype).mul_(values)
                dots = products.sum(1, keepdim=True).mul_(WEIGHT_SCALE)
                grad_weighing = gradient_of(weighing, rows, dots, ctx.sparse)
            if ctx.needs_input_grad[0]:
                if weighing is not None:
                    values.mul_(_weights_of(rows, weighing).unsqueeze(1))
                grad_weight = gradient_of(weight, rows, values, ctx.sparse)
        if ctx.needs_input_grad[2]:
            of_bag = torch.repeat_interleave(offsets.diff(), output_size=len(indices))
            grad_weights = (grad[of_bag] * weight[indices]).sum(1)
            if ctx.padding is not None:
                grad_weights.masked_fill_(indices == ctx.padding, 0)
            grad_weights = grad_weights.to(weights.dtype)
        return grad_weight, grad_weighing, grad_weights, None, None, None, None, None, None


def _weights_of(tokens: Tensor, weighing: Tensor) -> Tensor:
    """Return the learned factor of each token's weight, ``[num_tokens]``."""
    return weighing.flatten().index_select(0, tokens).mul_(WEIGHT_SCALE).add_(1)


def norms_of(
    part: str,
    weights: Tensor | None,
    indices: Tensor,
    offsets: Tensor,
    padding: int | None,
    dtype: torch.dtype,
) -> Tensor:
    """Return what each bag's sum is divided by, ``[num_bags, 1]``; 1 where that would be 0.

    Args:
        part: ``mean`` or ``sqrtn``.
        weights: of the entries, ``[num_tokens]``; None: each weighs 1.
        indices: ``[num_tokens]``.
        offsets: ``[num_bags + 1]``.
        padding: an id that does not count.
        dtype: of the result, at least float32.
    """
    dtype = torch.promote_types(dtype, torch.float32)  # halves cannot count far
    if weights is None and padding is None:
        norms = offsets.diff().clamp_(min=1)
        return (norms if part == "mean" else norms.to(dtype).sqrt_()).unsqueeze(1)
    entries = torch.ones_like(indices, dtype=dtype) if weights is None else weights.to(dtype)
    if part == "sqrtn":
        entries = entries.square()
    if padding is not None:
        entries = entries.masked_fill(indices == padding, 0)
    every = torch.arange(len(indices), dtype=indices.dtype, device=indices.device)
    norms, _, _ = look_up(entries.unsqueeze(1), every, offsets, "sum")
    if part == "sqrtn":
        norms = norms.sqrt_()
    return norms.masked_fill_(norms == 0, 1)


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
