"""Vectors of words: which point the same way, and what they consist of."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from textcls.fasttext_models.encoding import END
from textcls.fasttext_models.errors import FastTextError
from textcls.fasttext_models.hashing import Words, char_ngram_texts, hashes_of
from textcls.fasttext_models.matrices import Float32
from textcls.fasttext_models.model import FastTextModel

# Words that are worked on at a time.
_AT_ONCE = 4_096


class SimilarWords:
    """The words of a model by the cosine of their vectors.

    Args:
        model: whose words they are; their vectors are computed once, at the first question.
    """

    def __init__(self, model: FastTextModel) -> None:
        self._model = model

    def __reduce__(self) -> tuple[type[SimilarWords], tuple[FastTextModel]]:
        return SimilarWords, (self._model,)

    def neighbors(self, word: bytes, k: int) -> list[tuple[float, bytes]]:
        """Return the words nearest to a word, which need not be known, and their cosine.

        Raises:
            FastTextError: ``k`` is 0, or below -1 (which is all of them).
        """
        return self._nearest(self._vectors([word])[0], k, {word})

    def analogies(self, a: bytes, b: bytes, c: bytes, k: int) -> list[tuple[float, bytes]]:
        """Return the words nearest to ``a - b + c``, and their cosine.

        Raises:
            FastTextError: ``k`` is 0, or below -1 (which is all of them).
        """
        unit = _unit(self._vectors([a, b, c]))
        return self._nearest(unit[0] - unit[1] + unit[2], k, {a, b, c})

    def _nearest(self, query: Float32, k: int, without: set[bytes]) -> list[tuple[float, bytes]]:
        if k == 0 or k < -1:
            raise FastTextError(f"k={k}: k needs to be 1 or higher, or -1 for all words")
        words = self._model.file.words
        similarity = self._units @ _unit(query[None])[0]
        count = len(words) if k == -1 else min(k + len(without), len(words))
        order = np.argpartition(-similarity, count - 1)[:count] if count else np.zeros(0, int)
        order = order[np.argsort(-similarity[order], kind="stable")]
        found = [
            (float(similarity[number]), words[number])
            for number in order.tolist()
            if words[number] not in without
        ]
        return found if k == -1 else found[:k]

    @cached_property
    def _units(self) -> Float32:
        """The vectors of all words, of length 1 (or 0), float32 ``[num_words, dim]``."""
        words = self._model.file.words
        units = np.empty((len(words), self._model.arguments.dim), np.float32)
        for start in range(0, len(words), _AT_ONCE):
            units[start : start + _AT_ONCE] = _unit(self._vectors(words[start : start + _AT_ONCE]))
        return units

    def _vectors(self, words: list[bytes]) -> Float32:
        """Return the sums of the rows of words, float32 ``[num_words, dim]``."""
        rows = self._model.dictionary.rows_of(words)
        found: Float32 = self._model.file.input.sums(rows.ids, rows.offsets)
        return found


def ngram_vectors(model: FastTextModel, word: bytes) -> list[tuple[bytes, Float32]]:
    """Return a word, if it is known, and its character n-grams that have a row, with these rows."""
    number, arguments = model.dictionary.id_of(word), model.arguments
    names, ids = [], []
    if 0 <= number < len(model.file.words):
        names, ids = [word], [number]
    if word != END and arguments.maxn > 0:
        ngrams = char_ngram_texts(word, arguments.minn, arguments.maxn)
        buckets = hashes_of(Words.of(ngrams)) % np.uint32(arguments.bucket)
        rows, there = model.dictionary.rows_of_buckets(buckets)
        names += [ngrams[place] for place in np.flatnonzero(there).tolist()]
        ids += rows[there].tolist()
    return list(zip(names, model.file.input.rows(np.array(ids, np.int64)), strict=True))


def _unit(vectors: Float32) -> Float32:
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Float32 = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    return found
