"""Several models as one: whose class scores are the mean of theirs, and which costs as much as one.

Where a bag's vector is a sum over its rows, so are its class scores: they are a bag of the table
``embedding.weight @ linear.weight.T``, one row of class scores per id, plus the bias. The mean of
several models' tables is again such a table. Where there are more classes than the models' vectors
have numbers together, these stand side by side instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import WEIGHT_SCALE
from textcls.pooling import Pooling


@torch.no_grad()
def fold(models: Sequence[EmbeddingBagClassifier]) -> EmbeddingBagClassifier:
    """Return one model whose class scores are the mean of those of several, up to float rounding.

    Args:
        models: of one shape and pooling, on the CPU; of a single one it is returned itself.

    Raises:
        ValueError: their pooling is not linear.
    """
    first = models[0]
    if len(models) == 1:
        return first
    pooling = Pooling.parse(first.embedding.mode)
    if not pooling.is_linear:
        raise ValueError(f"{pooling.mode} pooling is not linear: its models cannot be folded")
    num_parts, num_classes = len(pooling.parts), first.linear.out_features
    # What the linear layer makes of each part: [num_classes, num_parts, embedding_dim].
    linears = [m.linear.weight.view(num_classes, num_parts, -1) for m in models]
    if num_parts * num_classes <= len(models) * first.embedding.embedding_dim:
        table = torch.zeros(first.embedding.num_embeddings, num_parts * num_classes)
        for model, linear in zip(models, linears, strict=True):
            table.addmm_(_rows(model), linear.transpose(0, 1).flatten(0, 1).T)
        table /= len(models)
        # Of part p, numbers p * num_classes and on are its class scores.
        width = num_parts * num_classes
        weight = torch.eye(width).view(num_parts, num_classes, width).transpose(0, 1)
    else:
        table = torch.cat([_rows(model) for model in models], 1)
        weight = torch.cat(linears, 2) / len(models)
    with torch.device("meta"):  # draws no numbers
        folded = EmbeddingBagClassifier(
            len(table),
            table.shape[1],
            num_classes,
            Pooling(pooling.parts).mode,
            first.embedding.padding_idx,
            first.dropout.p,
        )
    folded.load_state_dict(
        {
            "embedding.weight": table,
            "linear.weight": weight.flatten(1).contiguous(),
            "linear.bias": torch.stack([model.linear.bias for model in models]).mean(0),
        },
        assign=True,
    )
    return folded


def _rows(model: EmbeddingBagClassifier) -> Tensor:
    """Return the rows as they are pooled, float32 ``[num_embeddings, embedding_dim]``."""
    weighing = model.embedding.weighing
    rows = model.embedding.weight
    return rows if weighing is None else rows * (1 + WEIGHT_SCALE * weighing)
