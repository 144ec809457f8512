"""Nearest tokens, and nearest texts, by the cosine of their vectors."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.errors import InputError
from textcls.model.classifier import Classifier


def query_vector(classifier: Classifier, query: str) -> tuple[Tensor, set[int]]:
    """Return what a token or text pools to, float32 ``[pooled_dim]``, and its token ids.

    Raises:
        InputError: the model knows none of its tokens.
    """
    vocabulary = classifier.parts.encoder.vocabulary
    ids = set(classifier.bags([query]).indices.tolist())
    if not ids - {vocabulary.unknown_id}:
        raise InputError(f"'{query}': the model knows none of its tokens")
    return torch.from_numpy(classifier.embed([query])[0]), ids


def nearest_tokens(
    classifier: Classifier, vector: Tensor, k: int, min_count: int, without: set[int]
) -> list[tuple[str, int, float]]:
    """Return the tokens whose vectors point most nearly the same way.

    A token's vector is what a text of it alone pools to.

    Args:
        classifier: whose vocabulary is searched.
        vector: float32 ``[pooled_dim]``.
        k: so many.
        min_count: only tokens that stand so often in the train split: those that stand once or
            twice point where that text's class pulled them.
        without: ids that are not wanted: the query's own.

    Returns:
        Token, its count in the train split, cosine; the nearest first.
    """
    vocabulary, model = classifier.parts.encoder.vocabulary, classifier.parts.model
    ids = np.flatnonzero(vocabulary.counts >= min_count)
    left_out = [*range(len(vocabulary.specials)), *without]
    ids = np.setdiff1d(ids, left_out).astype(np.int32)
    device = model.linear.weight.device
    with torch.inference_mode():
        rows = model.embed(
            torch.from_numpy(ids).to(device), torch.arange(len(ids) + 1, device=device)
        )
        cosines = F.cosine_similarity(rows, vector.to(device), dim=1)
        best = cosines.topk(min(k, len(ids)))
    places = ids[best.indices.cpu().numpy()]
    return list(
        zip(
            vocabulary.tokens.take(pa.array(places)).to_pylist(),
            vocabulary.counts[places].tolist(),
            best.values.tolist(),
            strict=True,
        )
    )


def nearest_texts(
    classifier: Classifier, vector: Tensor, pieces: Iterable[pa.Array], k: int
) -> list[tuple[int, str, float]]:
    """Return the texts whose pooled vectors point most nearly the same way.

    Args:
        classifier: that pools them.
        vector: float32 ``[pooled_dim]``.
        pieces: Arrow arrays of texts; only the best are kept in memory.
        k: so many.

    Returns:
        Row number (from 1), text, cosine; the nearest first.
    """
    best: list[tuple[float, int, str]] = []
    start = 1
    for piece in pieces:
        vectors = torch.from_numpy(classifier.embed(piece))
        cosines: npt.NDArray[np.float32] = F.cosine_similarity(vectors, vector, dim=1).numpy()
        rows = np.argsort(-cosines, kind="stable")[:k]
        best += [(float(cosines[i]), start + int(i), piece[int(i)].as_py() or "") for i in rows]
        best = sorted(best, key=lambda found: (-found[0], found[1]))[:k]
        start += len(piece)
    return [(row, text, cosine) for cosine, row, text in best]
