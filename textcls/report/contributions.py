"""What each entry of a bag adds to each class's score."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32
from textcls.data.sources import CharParts
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import WEIGHT_SCALE

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]


def contributions_of(
    model: EmbeddingBagClassifier, ids: Int32, weights: Float32 | None = None
) -> Float64:
    """Return what each token adds to each class's score, float64 ``[num_tokens, num_classes]``.

    Args:
        model: whose table is flat.
        ids: ``[num_tokens]``, a bag.
        weights: ``[num_tokens]``, those of its tokens; None: each weighs 1.
    """
    contributions = np.zeros((len(ids), model.linear.out_features))
    places = np.flatnonzero(~_is_padding(model, ids))
    if not len(places):
        return contributions
    # A row's part is the same wherever its token stands: each distinct one once, in the order of
    # the text, so that the first of equals is the first to come.
    distinct, first, which = np.unique(ids[places], return_index=True, return_inverse=True)
    order = np.argsort(first)
    which = np.argsort(order)[which]
    rows = _rows(model, distinct[order])
    for part, columns in _columns(model):
        if part == "max":
            winners = rows.argmax(0)
            won = np.zeros((len(rows), len(columns)))
            np.add.at(won, winners, (columns * rows.max(0)).T)
            contributions[places[first[order]]] += won
            continue
        factors = _factors(model, part, ids, weights)[places]
        contributions[places] += (rows @ columns.T)[which] * factors[:, None]
    return contributions


def contributions_of_chars(
    model: EmbeddingBagClassifier, ids: Int32, weights: Float32 | None, chars: CharParts
) -> Float64:
    """Return what character n-grams add as parts of a bag's tokens: ``[num_parts, num_classes]``.

    Max pooling has no part in it: its maxima are of the words' vectors.

    Args:
        model: whose table is flat.
        ids: ``[num_tokens]``, a bag.
        weights: ``[num_tokens]``, those of its tokens; None: each weighs 1.
        chars: of these tokens.
    """
    contributions = np.zeros((len(chars.ids), model.linear.out_features))
    distinct, which = np.unique(chars.ids, return_inverse=True)
    rows = _rows(model, distinct)
    for part, columns in _columns(model):
        if part != "max":
            factors = _factors(model, part, ids, weights)[chars.entries] * chars.shares
            contributions += (rows @ columns.T)[which] * factors[:, None]
    return contributions


def _is_padding(model: EmbeddingBagClassifier, ids: Int32) -> npt.NDArray[np.bool_]:
    padding = model.embedding.padding_idx
    is_padding: npt.NDArray[np.bool_] = ids == (-1 if padding is None else padding)
    return is_padding


def _rows(model: EmbeddingBagClassifier, ids: Int32) -> Float64:
    rows: Float64 = model.embedding.weight.detach()[ids.tolist()].double().cpu().numpy()
    return rows


def _columns(model: EmbeddingBagClassifier) -> Iterator[tuple[str, Float64]]:
    """Yield each pooling, and the columns that it has in the linear layer's weight."""
    weight, parts = (
        model.linear.weight.detach().double().cpu().numpy(),
        model.embedding.pooling.parts,
    )
    yield from zip(parts, np.split(weight, len(parts), axis=1), strict=True)


def _factors(
    model: EmbeddingBagClassifier, part: str, ids: Int32, weights: Float32 | None
) -> Float64:
    """Return what a linear pooling multiplies the row of each entry by, float64 ``[len(ids)]``."""
    embedding = model.embedding
    entries = np.ones(len(ids)) if weights is None else weights.astype(np.float64)
    entries = np.where(_is_padding(model, ids), 0, entries)
    factors = entries
    if part == "mean":
        factors = entries / (entries.sum() or 1)
    elif part == "sqrtn":
        factors = entries / (np.sqrt(np.square(entries).sum()) or 1)
    if embedding.weighing is not None:
        learned = embedding.weighing.detach()[ids.tolist(), 0].double().cpu().numpy()
        factors = factors * (1 + WEIGHT_SCALE * learned)
    return factors
