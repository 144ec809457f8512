"""Nearest tokens, and nearest texts, by their vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.bags import Bags
from textcls.errors import InputError
from textcls.model.classifier import Classifier
from textcls.model.embedding_bag import pooled_of


def query_vector(classifier: Classifier, query: str) -> tuple[Tensor, set[int]]:
    """Return what a token or text pools to, float32 ``[pooled_dim]``, and its token ids.

    The end that fastText's texts have is left out.

    Raises:
        InputError: the model knows none of its tokens.
    """
    encoder, bags = classifier.parts.encoder, classifier.bags([query])
    if encoder.of_fasttext is not None:
        kept = bags.indices[bags.indices != encoder.of_fasttext.end_id]
        bags = dataclasses.replace(bags, indices=kept, offsets=torch.tensor([0, len(kept)]))
    ids = set(bags.indices.tolist())
    if not ids - {encoder.vocabulary.unknown_id}:
        raise InputError(f"'{query}': the model knows none of its tokens")
    return pooled_of(classifier.parts.model, bags)[0], ids


def measure_of(classifier: Classifier) -> str:
    """Return what tells how near two vectors are: their ``cosine``, or their ``distance``.

    Class scores in place of vectors may be as few as two: most of them point the same way or the
    opposite one, and what tells them apart is how far.
    """
    return "cosine" if classifier.parts.model.scores_factor is None else "distance"


def _measured(vectors: Tensor, vector: Tensor, measure: str) -> Tensor:
    """Return the measure of each vector, float32 ``[num_vectors, pooled_dim]``, and another."""
    if measure == "distance":
        return F.pairwise_distance(vectors, vector)
    return F.cosine_similarity(vectors, vector, dim=1)


def nearest_tokens(
    classifier: Classifier, vector: Tensor, k: int, min_count: int, without: set[int]
) -> list[tuple[str, int, float]]:
    """Return the tokens whose vectors are nearest by :func:`measure_of`.

    A token's vector is what a text of it alone pools to.

    Args:
        classifier: whose vocabulary is searched.
        vector: float32 ``[pooled_dim]``.
        k: so many.
        min_count: only tokens that stand so often in the train split: those that stand once or
            twice point where that text's class pulled them.
        without: ids that are not wanted: the query's own.

    Returns:
        Token, its count in the train split, measure; the nearest first.
    """
    encoder, model = classifier.parts.encoder, classifier.parts.model
    vocabulary = encoder.vocabulary
    ids = np.flatnonzero(vocabulary.counts >= min_count)
    left_out = [*range(len(vocabulary.specials)), *without]
    ids = np.setdiff1d(ids, left_out).astype(np.int32)
    measure = measure_of(classifier)
    rows, offsets = ids, np.arange(len(ids) + 1)
    if encoder.of_fasttext is not None:
        of_words, offsets = encoder.of_fasttext.of_words(ids)
        rows = of_words.astype(np.int32)
    words = Bags(torch.from_numpy(rows), torch.from_numpy(offsets), torch.zeros(len(ids)).long())
    measured = _measured(pooled_of(model, words), vector, measure)
    best = measured.topk(min(k, len(ids)), largest=measure == "cosine")
    places = ids[best.indices.numpy()]
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
    """Return the texts whose pooled vectors are nearest by :func:`measure_of`.

    Args:
        classifier: that pools them.
        vector: float32 ``[pooled_dim]``.
        pieces: Arrow arrays of texts; only the best are kept in memory.
        k: so many.

    Returns:
        Row number (from 1), text, measure; the nearest first.
    """
    measure = measure_of(classifier)
    sign = -1 if measure == "cosine" else 1
    best: list[tuple[float, int, str]] = []
    start = 1
    for piece in pieces:
        vectors = torch.from_numpy(classifier.embed(piece))
        measured: npt.NDArray[np.float32] = _measured(vectors, vector, measure).numpy()
        rows = np.argsort(sign * measured, kind="stable")[:k]
        best += [(float(measured[i]), start + int(i), piece[int(i)].as_py() or "") for i in rows]
        best = sorted(best, key=lambda found: (sign * found[0], found[1]))[:k]
        start += len(piece)
    return [(row, text, value) for value, row, text in best]
