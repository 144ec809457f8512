"""Texts to the rows of a fastText model, as fastText does it.

A text is a line: words are what white space of ASCII parts, and ``</s>`` ends it. A word of the
dictionary has its own row and those of its character n-grams, an unknown one the latter alone. Word
n-grams are hashed into the same buckets. A word that begins with ``__label__`` is no word.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textcls.arrow import Int32, Int64, as_numpy, lengths_of, offsets_of, places_of_runs
from textcls.fasttext_models.format import Arguments, ModelFile
from textcls.fasttext_models.hashing import (
    UInt32,
    Words,
    char_ngram_texts,
    char_ngrams_of,
    hashes_of,
)

Bools = npt.NDArray[np.bool_]

END, LABEL = b"</s>", b"__label__"
_SPACES = b" \n\r\t\v\f\0"
_IS_SPACE = bytes(byte in _SPACES for byte in range(256))
# A table of more is larger than 64 MiB.
_MANY_BUCKETS = 1 << 24
_MULTIPLIER = np.uint64(116049371)


class Lines(NamedTuple):
    """Words of texts.

    Attributes:
        words: distinct ones.
        codes: int64 ``[num_tokens]``, places in ``words``.
        offsets: int64 ``[num_texts + 1]``, of the texts in ``codes``.
    """

    words: list[bytes]
    codes: Int64
    offsets: Int64


class WordRows(NamedTuple):
    """What words come to.

    Attributes:
        ids: int64 ``[n]``, rows of the input matrix.
        offsets: int64 ``[num_words + 1]``, of the words in these.
        hashes: uint32 ``[num_words]``.
        is_word: bool ``[num_words]``: not a label.
    """

    ids: Int64
    offsets: Int64
    hashes: UInt32
    is_word: Bools


class Known(NamedTuple):
    """What a model knows of words: see :class:`textcls.fasttext_models.format.ModelFile`."""

    arguments: Arguments
    words: list[bytes]
    labels: list[bytes]
    kept_buckets: Int32 | None
    rows_of_buckets: Int32 | None


def split(texts: Sequence[bytes]) -> Lines:
    """Split texts into words; what follows ``</s>`` in a text is no part of it."""
    # Lines of a file end already.
    ended = b"\n".join([b"", *(text.removesuffix(b"\n") for text in texts), b""])
    # A word begins and ends where white space does: it is at both ends.
    is_space = np.frombuffer(ended.translate(_IS_SPACE), np.bool_)
    turns = np.flatnonzero(is_space[1:] != is_space[:-1]) + 1
    starts, ends = turns[::2], turns[1::2]
    letters = ended.translate(None, _SPACES)
    offsets = offsets_of(ends - starts)
    tokens = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(letters)]
    )
    encoded = tokens.dictionary_encode()
    codes = as_numpy(encoded.indices).astype(np.int64)
    words = encoded.dictionary.to_pylist()
    lengths = np.fromiter(
        (len(text) - text.endswith(b"\n") for text in texts), np.int64, len(texts)
    )
    bounds = np.searchsorted(starts, offsets_of(lengths + 1) + 1)
    if END in words:
        codes, bounds = _cut(codes, bounds, words.index(END))
    number = len(words)
    if END in words:
        number = words.index(END)
    else:
        words.append(END)
    # The end of each text.
    closed = bounds + np.arange(len(bounds))
    with_ends = np.full(closed[-1], number, np.int64)
    inside = np.ones(len(with_ends), np.bool_)
    inside[closed[1:] - 1] = False
    with_ends[inside] = codes
    return Lines(words, with_ends, closed)


def _cut(codes: Int64, bounds: Int64, end: int) -> tuple[Int64, Int64]:
    """Leave out what stands in a text from the first end on."""
    passed = np.concatenate([[0], (codes == end).cumsum()])
    text = np.repeat(np.arange(len(bounds) - 1), lengths_of(bounds))
    stays = passed[1:] == passed[bounds[:-1]][text]
    return codes[stays], offsets_of(np.bincount(text[stays], minlength=len(bounds) - 1))


class Dictionary:
    """The words of a model, and the rows that any word has.

    Args:
        file: the model.
    """

    def __init__(self, file: Known | ModelFile) -> None:
        self.file, self.arguments = file, file.arguments
        names = [*file.words, *file.labels]
        self._ids = dict(zip(reversed(names), range(len(names) - 1, -1, -1), strict=True))

    def id_of(self, word: bytes) -> int:
        """Return the number of a word, or past those of the words of a label; -1: unknown."""
        return self._ids.get(word, -1)

    def rows_of(self, words: list[bytes]) -> WordRows:
        """Return the rows of words, in fastText's order: their own, those of their n-grams."""
        laid = Words.of(words)
        found = np.fromiter(map(self._ids.get, words, repeat(-1)), np.int64, len(words))
        is_known = (found >= 0) & (found < len(self.file.words))
        is_word = is_known | (found < 0) & ~laid.begin_with(LABEL)
        own, lengths = is_known.astype(np.int64), is_known.astype(np.int64)
        has_parts = is_word & (self.arguments.maxn > 0)
        if END in words:
            has_parts[words.index(END)] = False
        (places,) = has_parts.nonzero()
        parts, offsets = self._parts(laid.take(places))
        lengths[places] += lengths_of(offsets)
        total = offsets_of(lengths)
        ids = np.empty(total[-1], np.int64)
        ids[total[:-1][is_known]] = found[is_known]
        ids[places_of_runs(total[:-1] + own, lengths - own)] = parts
        return WordRows(ids, total, hashes_of(laid), is_word)

    def subwords(self, word: bytes, errors: str) -> tuple[list[str], Int64]:
        """Return a word, if it is known, and its character n-grams; and the rows of those kept."""
        number = self.id_of(word)
        names = [word] if 0 <= number < len(self.file.words) else []
        if word != END:
            names += char_ngram_texts(word, self.arguments.minn, self.arguments.maxn)
        return [name.decode("utf-8", errors) for name in names], self.rows_of([word]).ids

    def _parts(self, words: Words) -> tuple[Int64, Int64]:
        """Return the rows of the character n-grams of words, and their offsets."""
        if len(words.offsets) == 1:
            return np.zeros(0, np.int64), words.offsets
        hashes, offsets = char_ngrams_of(words, self.arguments.minn, self.arguments.maxn)
        rows, there = self.rows_of_buckets(hashes % np.uint32(self.arguments.bucket))
        return rows[there], offsets_of(there.view(np.uint8))[offsets]

    def rows_of_buckets(
        self, buckets: np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]
    ) -> tuple[Int64, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
        """Return the rows of buckets, and which of them have one, both ``[len(buckets)]``."""
        first = len(self.file.words)
        kept, rows = self.file.kept_buckets, self.file.rows_of_buckets
        if kept is None or rows is None:
            return buckets.astype(np.int64) + first, np.ones(len(buckets), np.bool_)
        if self._row_of_bucket is not None:
            found = self._row_of_bucket[buckets]
        else:
            place = np.searchsorted(kept, buckets)
            found = np.where(np.append(kept, -1)[place] == buckets, np.append(rows, 0)[place], -1)
        return found.astype(np.int64) + first, found >= 0

    @cached_property
    def _row_of_bucket(self) -> Int32 | None:
        """The row of each bucket, -1: it has none; None: there are too many for such a table."""
        kept, rows = self.file.kept_buckets, self.file.rows_of_buckets
        if kept is None or rows is None or self.arguments.bucket > _MANY_BUCKETS:
            return None
        found = np.full(max(self.arguments.bucket, 1), -1, np.int32)
        found[kept] = rows
        return found

    def ngrams(self, hashes: UInt32, offsets: Int64) -> tuple[Int64, Int64]:
        """Return the rows of the word n-grams of texts, in fastText's order, and their offsets.

        Args:
            hashes: of the words of the texts, uint32 ``[num_tokens]``.
            offsets: of the texts in these.
        """
        grid, there = self.ngram_grid(hashes, offsets)
        return grid[there], offsets_of(there.sum(1))[offsets]

    def ngram_grid(self, hashes: UInt32, offsets: Int64) -> tuple[Int64, Bools]:
        """Return the row of the n-gram of n words that begins at each word, and whether it has one.

        Args:
            hashes: of the words of texts, uint32 ``[num_tokens]``.
            offsets: of the texts in these.

        Returns:
            int64 and bool ``[num_tokens, wordNgrams - 1]``, the column ``n - 2`` for n words.
        """
        longest, count = self.arguments.wordNgrams, len(hashes)
        extended = hashes.view(np.int32).astype(np.int64).view(np.uint64)
        grid = np.zeros((count, max(longest - 1, 0)), np.int64)
        there = np.zeros(grid.shape, np.bool_)
        left = np.repeat(offsets[1:], lengths_of(offsets)) - np.arange(count)
        rolling = extended
        for n in range(2, longest + 1):
            size = count - n + 1
            if size <= 0:
                break
            rolling = rolling[:size] * _MULTIPLIER + extended[n - 1 :]
            rows, kept = self.rows_of_buckets(rolling % np.uint64(self.arguments.bucket))
            grid[:size, n - 2] = rows
            there[:size, n - 2] = kept & (left[:size] >= n)
        return grid, there


def encode(dictionary: Dictionary, texts: Sequence[bytes]) -> tuple[Int64, Int64]:
    """Return the rows of texts, in fastText's order, int64 ``[n]``, and their offsets by text."""
    lines = split(texts)
    return bags_of(dictionary, dictionary.rows_of(lines.words), lines.codes, lines.offsets)


def bags_of(
    dictionary: Dictionary, rows: WordRows, codes: Int64, offsets: Int64
) -> tuple[Int64, Int64]:
    """Return the rows of texts, in fastText's order, int64 ``[n]``, and their offsets by text.

    Args:
        dictionary: of a model.
        rows: of distinct words.
        codes: int64 ``[num_tokens]``, places of the words of the texts in these.
        offsets: int64 ``[num_texts + 1]``, of the texts in the codes.
    """
    lengths = lengths_of(rows.offsets)[codes]
    of_words = rows.ids[places_of_runs(rows.offsets[:-1][codes], lengths)]
    word_offsets = offsets_of(lengths)[offsets]
    if dictionary.arguments.wordNgrams < 2:
        return of_words, word_offsets
    counted = rows.is_word[codes]
    offsets = offsets_of(counted.view(np.uint8))[offsets]
    ngrams, ngram_offsets = dictionary.ngrams(rows.hashes[codes[counted]], offsets)
    of_ngrams, own = lengths_of(ngram_offsets), lengths_of(word_offsets)
    total = offsets_of(own + of_ngrams)
    ids = np.empty(total[-1], np.int64)
    ids[places_of_runs(total[:-1], own)] = of_words
    ids[places_of_runs(total[:-1] + own, of_ngrams)] = ngrams
    return ids, total
