"""Tables of which a row takes a byte for each number, or one for several."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from textcls.centroids import fit_centroids, nearest
from textcls.model.exact import with_network
from textcls.model.parts import ModelParts
from textcls.model.table import CENTROIDS, CODEBOOKS, CODES, INT8, SCALE, dequantize

# How a table is stored; the number of a product quantization is how many numbers share a byte.
Kind = Literal["float32", "int8", "pq2", "pq4", "pq8"]
KINDS: tuple[Kind, ...] = get_args(Kind)
# Codebooks are fitted to so many rows, drawn by the square root of their counts, in so many rounds.
# More of either took three times as long for no better accuracy.
FITTED_ROWS = 4096
ROUNDS = 10


def quantize(
    parts: ModelParts, kind: Kind, counts: Tensor, codebooks: Tensor | None = None
) -> ModelParts:
    """Store the table in another way; the model's own becomes what is read back from that.

    ``int8`` rounds each number to one of 255 steps of its dimension. Product quantization, ``pq2``
    and so on, cuts rows into parts of so many numbers, and takes for each part the nearest of 256
    centroids.

    Args:
        parts: the model.
        kind: how to store the table.
        counts: how often each row stands, times its weight, ``[num_embeddings]``: so much does its
            error count.
        codebooks: of :func:`fit_codebooks`, where they were fitted before.

    Raises:
        ValueError: the table has not the shape for product quantization.
    """
    table = parts.model.embedding.weight.detach().cpu()
    if kind == "float32":
        return dataclasses.replace(parts, quantized=None)
    if kind == "int8":
        quantized = _to_int8(table)
    else:
        if codebooks is None:
            codebooks = fit_codebooks(table, int(kind[2:]), counts)
        quantized = _to_codes(table, codebooks, parts.encoder.vocabulary.unknown_id)
    stored, pooling = dequantize(quantized), parts.model.embedding.pooling
    weight, bias = parts.model.linear.weight.detach().cpu(), parts.model.linear.bias.detach().cpu()
    if pooling.parts == ("mean",):
        # What the average token is shifted by shifts every bag alike: the bias takes it back. (Most
        # of it is of <unk>, whose small numbers are many.)
        shares = counts.double() / counts.sum().clamp(min=1)
        bias = bias + weight @ (shares @ (table - stored).double()).float()
    made = with_network(parts, pooling, stored, weight, bias)
    return dataclasses.replace(made, quantized=quantized)


def _to_int8(table: Tensor) -> dict[str, Tensor]:
    # Steps that reach the largest number. (Finer ones, with what is beyond cut off, cost more.)
    scale = table.abs().amax(0).clamp(min=1e-30) / 127
    return {INT8: (table / scale).round().to(torch.int8), SCALE: scale}


def fit_codebooks(table: Tensor, width: int, counts: Tensor) -> Tensor:
    """Fit the centroids of a product quantization, by k-means on some of the rows.

    Args:
        table: float32 ``[num_embeddings, embedding_dim]``.
        width: numbers per part.
        counts: how often each row stands, times its weight, ``[num_embeddings]``: frequent rows
            are drawn more often. (At 50,000 rows of IMDb that halved the loss of accuracy.)

    Returns:
        float32 ``[embedding_dim / width, 255, width]``: one is left for the row of ``<unk>``.

    Raises:
        ValueError: parts of this width do not make a row, or there are too few rows.
    """
    rows, dim = table.shape
    if dim % width or rows < CENTROIDS:
        raise ValueError(f"no pq{width} of a table of {rows} rows of {dim} numbers")
    generator = np.random.default_rng(0)
    shares = (counts.double() + 1).sqrt().numpy()
    drawn = generator.choice(rows, min(rows, FITTED_ROWS), replace=False, p=shares / shares.sum())
    codebooks = []
    for part in torch.split(table[drawn], width, 1):
        points = part.contiguous().numpy()
        centroids = fit_centroids(points, points[: CENTROIDS - 1], ROUNDS)
        codebooks.append(torch.from_numpy(centroids))
    return torch.stack(codebooks)


def _to_codes(table: Tensor, codebooks: Tensor, unknown_id: int) -> dict[str, Tensor]:
    parts = table.view(len(table), len(codebooks), -1)
    # The row that stands for every unknown token is kept as it is.
    codebooks = torch.cat([codebooks, parts[unknown_id].unsqueeze(1)], 1)
    codes = [
        nearest(parts[:, m].contiguous().numpy(), centroids.numpy())
        for m, centroids in enumerate(codebooks)
    ]
    return {CODES: torch.from_numpy(np.stack(codes, 1)), CODEBOOKS: codebooks}
