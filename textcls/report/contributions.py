"""What each entry of a bag adds to each class's score."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32
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
    embedding = model.embedding
    weight = model.linear.weight.detach().double().cpu().numpy()
    contributions = np.zeros((len(ids), len(weight)))
    places = np.flatnonzero(ids != (-1 if embedding.padding_idx is None else embedding.padding_idx))
    if not len(places):
        return contributions
    # A row's part is the same wherever its token stands: each distinct one once, in the order of
    # the text, so that the first of equals is the first to come.
    distinct, first, which = np.unique(ids[places], return_index=True, return_inverse=True)
    order = np.argsort(first)
    which = np.argsort(order)[which]
    wanted = distinct[order].tolist()
    rows = embedding.weight.detach()[wanted].double().cpu().numpy()
    entries = np.ones(len(places)) if weights is None else weights[places].astype(np.float64)
    parts = embedding.pooling.parts
    for part, columns in zip(parts, np.split(weight, len(parts), axis=1), strict=True):
        if part == "max":
            winners = rows.argmax(0)
            won = np.zeros((len(rows), len(weight)))
            np.add.at(won, winners, (columns * rows.max(0)).T)
            contributions[places[first[order]]] += won
            continue
        share = rows @ columns.T
        if part == "mean":
            share /= entries.sum() or 1
        elif part == "sqrtn":
            share /= np.sqrt(np.square(entries).sum()) or 1
        if embedding.weighing is not None:
            learned = embedding.weighing.detach()[wanted].double().cpu().numpy()
            share *= 1 + WEIGHT_SCALE * learned
        contributions[places] += share[which] * entries[:, None]
    return contributions
