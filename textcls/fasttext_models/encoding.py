"""Texts to the rows of a fastText model, as fastText does it.

A text is a line: words are what white space of ASCII parts, and ``</s>`` ends it. A word of the
dictionary has its own row and those of its character n-grams, an unknown one the latter alone. Word
n-grams are hashed into the same buckets. A word that begins with ``__label__`` is no word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import compress, repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int32, Int64, as_numpy, lengths_of, offsets_of, places_of_runs
from textcls.fasttext_models.format import Arguments, ModelFile
from textcls.fasttext_models.hashing import (
    UInt32,
    Words,
    char_ngram_grid,
    char_ngram_hashes,
    char_ngram_texts,
    counts_before,
    hash_of,
    hashes_of,
)

Bools = npt.NDArray[np.bool_]

END, LABEL = b"</s>", b"__label__"
_BLANKS = bytes.maketrans(b"\n\r\t\v\f\0", b" " * 6)
_INNER_END = re.compile(rb"(?<![^\s\0])</s>(?![^\s\0])")
# Where Python is faster than calls into Arrow.
_FEW_BYTES = 2_000
# Bytes of words, as often as one is hashed, where Python is faster than calls into NumPy.
_FEW_NGRAMS = 1_000
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
    joined = b" </s> ".join([*texts, b""]).translate(_BLANKS)
    if len(joined) > _FEW_BYTES:
        words, codes = _numbered(joined)
    else:
        numbers: dict[bytes, int] = {}
        found = [numbers.setdefault(word, len(numbers)) for word in joined.split()]
        words, codes = list(numbers), np.array(found, np.int64)
    if not texts:
        return Lines([END], codes, np.zeros(1, np.int64))
    (places,) = (codes == words.index(END)).nonzero()
    if len(places) > len(texts):
        return split([_INNER_END.split(text, 1)[0] for text in texts])
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.add(places, 1, out=offsets[1:])
    return Lines(words, codes, offsets)


def _numbered(joined: bytes) -> tuple[list[bytes], Int64]:
    """Return the distinct words of a text that ends with a blank, and which each word is."""
    (ends,) = (np.frombuffer(joined, np.uint8) == ord(" ")).nonzero()
    offsets = np.zeros(len(ends) + 1, np.int64)
    np.add(ends, 1, out=offsets[1:])
    # Each word with the blank after it: where two blanks meet, there is an empty one.
    tokens = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(ends), [None, pa.py_buffer(offsets), pa.py_buffer(joined)]
    )
    encoded = pc.dictionary_encode(tokens)
    codes = as_numpy(encoded.indices)
    words = (encoded.dictionary.buffers()[2] or pa.py_buffer(b"")).to_pybytes().split(b" ")[:-1]
    if joined.startswith(b" ") or b"  " in joined:
        empty = words.index(b"")
        codes = codes[codes != empty]
        codes -= codes > empty
        del words[empty]
    return words, codes.astype(np.int64)


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
        if sum(map(len, words)) * max(self.arguments.maxn, 1) <= _FEW_NGRAMS:
            return self._rows_of_few(words)
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

    def _rows_of_few(self, words: list[bytes]) -> WordRows:
        """Return the same without the cost of calls into NumPy that are made for many words."""
        numbers = [self.id_of(word) for word in words]
        is_known = [0 <= number < len(self.file.words) for number in numbers]
        is_word = [
            known or (number < 0 and not word.startswith(LABEL))
            for word, number, known in zip(words, numbers, is_known, strict=True)
        ]
        hashes: list[int] = []
        ends = []
        for word, counted in zip(words, is_word, strict=True):
            if counted and word != END and self.arguments.maxn > 0:
                hashes += char_ngram_hashes(word, self.arguments.minn, self.arguments.maxn)
            ends.append(len(hashes))
        buckets = np.array(hashes, np.uint32) % np.uint32(max(self.arguments.bucket, 1))
        rows, there = (found.tolist() for found in self.rows_of_buckets(buckets))
        ids: list[int] = []
        offsets = [0]
        for number, known, start, end in zip(numbers, is_known, [0, *ends], ends, strict=False):
            ids += [number] * known
            ids += compress(rows[start:end], there[start:end])
            offsets.append(len(ids))
        return WordRows(
            np.array(ids, np.int64),
            np.array(offsets),
            np.array([hash_of(word) for word in words], np.uint32),
            np.array(is_word, np.bool_),
        )

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
        grid = char_ngram_grid(words, self.arguments.minn, self.arguments.maxn)
        buckets = grid.hashes[grid.there] % np.uint32(self.arguments.bucket)
        rows, kept = self.rows_of_buckets(buckets)
        if self.file.kept_buckets is None:
            return rows, counts_before(grid.there, grid.offsets)
        grid.there[grid.there] = kept
        return rows[kept], counts_before(grid.there, grid.offsets)

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
        return grid[there], counts_before(there, offsets)

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
        is_inside = np.ones(count, np.bool_)
        rolling = extended
        for n in range(2, min(longest, count) + 1):
            # So close to the end of its text none of n words begins.
            last = offsets[1:] - (n - 1)
            is_inside[last[last >= 0]] = False
            size = count - n + 1
            rolling = rolling[:size] * _MULTIPLIER + extended[n - 1 :]
            rows, kept = self.rows_of_buckets(rolling % np.uint64(self.arguments.bucket))
            grid[:size, n - 2] = rows
            np.logical_and(kept, is_inside[:size], out=there[:size, n - 2])
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
