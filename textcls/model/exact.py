"""The same predictions from fewer dimensions: what the linear layer cannot tell apart may go."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.parts import ModelParts
from textcls.model.pooling import WEIGHT_SCALE
from textcls.model.table import TABLE
from textcls.pooling import Pooling


def exact(parts: ModelParts) -> ModelParts:
    """Return a model of as few dimensions as say the same, up to float rounding.

    A weighted sum has one weight a token: multiplied into the rows, it is a plain sum.

    Mean and sum are linear, and so is what follows: a bag's scores are the mean or sum of W·e over
    its rows e, plus a bias. By its singular values W is U·S·V', of as many columns each as its rank
    r, at most num_classes (and embedding_dim): S·V'·e, r numbers, is all that a row says, and U is
    the new linear layer. (S goes to the rows, so that two rows are as far apart as the scores that
    they give.)

    Softmax sees only how the scores of the classes differ: what they share, the mean of W's rows,
    may go. The rest, W less that mean, has rows that sum to zero, so its rank is one less. For two
    classes a row is one number: how much its token speaks for one of them. Where a text may have
    several labels, each score is a probability by itself, and all of W counts; so it does where
    scores are those of nodes of a tree.

    max and poolings side by side are not linear: their models come back as they are.
    """
    model, pooling = parts.model, parts.model.embedding.pooling
    table = model.embedding.weight.detach().cpu()
    weight, bias = model.linear.weight.detach().cpu(), model.linear.bias.detach().cpu()
    if model.embedding.weighing is not None:
        table = table * (1 + WEIGHT_SCALE * model.embedding.weighing.detach().cpu())
    by_softmax = parts.task.by_softmax
    most = max(len(weight) - 1, 1) if by_softmax else len(weight)
    rank = min(model.embedding.embedding_dim, most)
    if len(pooling.parts) == 1 and pooling.is_linear and rank < model.embedding.embedding_dim:
        if by_softmax:
            weight, bias = weight - weight.mean(0), bias - bias.mean()
        u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
        table = (table.double() @ (v[:rank].T * s[:rank])).float()
        weight = u[:, :rank].float()
    elif model.embedding.weighing is None:
        return parts
    pooling = dataclasses.replace(pooling, learned=False)
    return with_network(parts, pooling, table, weight, bias)


def with_network(
    parts: ModelParts, pooling: Pooling, table: Tensor, weight: Tensor, bias: Tensor
) -> ModelParts:
    """Return parts with another network, on the CPU; its tensors are its own."""
    old = parts.model
    with torch.device("meta"):
        model = EmbeddingBagClassifier(
            len(table),
            table.shape[1],
            len(weight),
            pooling.mode,
            old.embedding.padding_idx,
            old.dropout.p,
        )
    weights = {TABLE: table, "linear.weight": weight, "linear.bias": bias}
    model.load_state_dict(
        {
            # Laid out as a file has them: then what is read back adds up in the same order.
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in weights.items()
        },
        assign=True,
    )
    return dataclasses.replace(parts, model=model.eval().requires_grad_(False), quantized=None)
