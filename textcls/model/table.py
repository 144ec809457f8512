"""How the table of a model is stored: as it is, or quantized; and what weights a model may have."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

# The table of a model, or in its place a quantized one; and the buckets that have rows.
TABLE = "embedding.weight"
INT8, SCALE = "embedding.int8", "embedding.scale"
CODES, CODEBOOKS = "embedding.codes", "embedding.codebooks"
QUANTIZED = (INT8, SCALE, CODES, CODEBOOKS)
BUCKETS = "embedding.buckets"
# Rows of a codebook: as many as a byte can name.
CENTROIDS = 256
# No trained weight comes near it, and sums of products of such weights stay finite.
LARGEST_WEIGHT = 1e9


def dequantize(tensors: Mapping[str, Tensor]) -> Tensor:
    """Return the table that stored tensors stand for, float32 ``[num_embeddings, embedding_dim]``.

    Args:
        tensors: by name, one of

            - ``embedding.weight``: the table;
            - ``embedding.int8``, int8 ``[num_embeddings, embedding_dim]``, with
              ``embedding.scale``, float32 ``[embedding_dim]``: their product is the table;
            - ``embedding.codes``, uint8 ``[num_embeddings, M]``, with ``embedding.codebooks``,
              float32 ``[M, 256, embedding_dim / M]``: a row is ``codebooks[m, codes[m]]`` for
              m = 0 to M - 1, one after another.
    """
    if INT8 in tensors:
        return tensors[INT8] * tensors[SCALE]
    if CODES in tensors:
        codes, codebooks = tensors[CODES], tensors[CODEBOOKS]
        return codebooks[torch.arange(len(codebooks)), codes.int()].flatten(1)
    return tensors[TABLE]


def beyond_measure(tensors: Mapping[str, Tensor]) -> str | None:
    """Return the name of a tensor with a weight that no model has; None: there is none."""
    for name in (TABLE, "linear.weight", "linear.bias", "embedding.weighing"):
        if name in tensors:
            low, high = tensors[name].aminmax()
            if not (low >= -LARGEST_WEIGHT and high <= LARGEST_WEIGHT):  # nor is NaN
                return name
    return None
