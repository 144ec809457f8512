"""Character n-grams of words: which ones a word has, and which row of the embedding each has.

The ends of a word are marked, ``<word>``; an n-gram is a run of ``low`` to ``high`` of these
characters, counted once a word. One is known by a 64-bit hash of its characters alone: no order of
words, no block and no machine can change it. Saved models depend on that. Two of ten million
different n-grams share a hash with a probability of three in a million.

Many words are worked on at once, as one flat array of code points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from textcls.arrow import Int32, Int64, as_numpy, integers, lengths_of, offsets_of
from textcls.corpus.splits import bytes_of
from textcls.data.counting import FEW, KeyCounter, UInt64, distinct, places_of_keys
from textcls.data.hashing import MULTIPLIER, buckets_of, mixed

# Bytes of words that are worked on at one go: they bound the memory that is needed beside.
PIECE = 1 << 16


@dataclass(frozen=True, eq=False)
class CharNgrams:
    """The character n-grams that have a row.

    Attributes:
        lengths: the shortest and the longest, in characters, the marks of the ends included.
        buckets: into how many the hashes fall; None: each n-gram is its own.
        keys: uint64 ``[num_chars]``, ascending: the hashes, or the buckets, that have a row.
    """

    lengths: tuple[int, int]
    buckets: int | None
    keys: UInt64

    @classmethod
    def fit(
        cls,
        words: pa.Array,
        counts: Int64,
        lengths: tuple[int, int],
        min_freq: int,
        buckets: int | None,
    ) -> tuple[CharNgrams, int]:
        """Choose the n-grams of which the words that have them stand ``min_freq`` times together.

        Args:
            words: distinct Arrow strings.
            counts: how often each stands, int64 ``[num_words]``.
            lengths: see the class.
            buckets: see the class.
            min_freq: at least 1.

        Returns:
            They, and how many different ones there are.
        """
        counter = KeyCounter()
        none = cls(lengths, buckets, np.zeros(0, np.uint64))
        start = 0
        for piece in _pieces(words):
            hashes, word = _hashes(piece, *lengths)
            keys, which = _numbered(none._keys(hashes))
            pair = distinct(word * len(keys) + which)
            number, key = np.divmod(pair, max(len(keys), 1))
            sums = np.bincount(key, counts[start:][number], len(keys))  # exact below 2**53
            counter.add(keys, sums.astype(np.int64))
            start += len(piece)
        keys, sums = counter.total()
        return cls(lengths, buckets, keys[sums >= max(min_freq, 1)]), len(keys)

    def __len__(self) -> int:
        return len(self.keys)

    def of_words(self, words: pa.Array | list[str]) -> tuple[Int64, Int32]:
        """Return the n-grams of each word that have a row.

        Args:
            words: Arrow strings, or a few of Python's, at least one.

        Returns:
            Offsets, int64 ``[num_words + 1]``, and positions in ``keys``, int32, ascending within
            each word.
        """
        if isinstance(words, list):
            return self._of_piece(words)
        lengths, places = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
        for piece in _pieces(words):
            offsets, own = self._of_piece(piece)
            lengths.append(lengths_of(offsets))
            places.append(own)
        return offsets_of(np.concatenate(lengths)), np.concatenate(places)

    def _of_piece(self, words: list[str]) -> tuple[Int64, Int32]:
        hashes, word = _hashes(words, *self.lengths)
        keys = self._keys(hashes)
        if len(keys) <= FEW:
            at = places_of_keys(self.keys, keys)
        else:  # mostly repeats
            keys, which = _numbered(keys)
            at = places_of_keys(self.keys, keys)[which]
        size = max(len(self.keys), 1)
        pair = distinct((word * size + at)[at >= 0])
        offsets = pair.searchsorted(np.arange(len(words) + 1) * size)
        return offsets, (pair % size).astype(np.int32)

    def names(self, word: str) -> dict[int, str]:
        """Return the n-grams of a word that have a row, by their positions in ``keys``.

        Those that share a bucket are named together.
        """
        names: dict[int, list[str]] = {}
        marked = f"<{word}>"
        hashes, _ = _hashes([word], *self.lengths)
        texts = (
            marked[start : start + length]
            for length in range(self.lengths[0], self.lengths[1] + 1)
            for start in range(len(marked) - length + 1)
        )
        for text, place in zip(
            texts, places_of_keys(self.keys, self._keys(hashes)).tolist(), strict=False
        ):
            if place >= 0 and text not in names.setdefault(place, []):
                names[place].append(text)
        return {place: " or ".join(together) for place, together in names.items()}

    def _keys(self, hashes: UInt64) -> UInt64:
        if self.buckets is None:
            return hashes
        return buckets_of(hashes, self.buckets).view(np.uint64)


def _pieces(words: pa.Array) -> Iterator[list[str]]:
    """Cut words into lists of about ``PIECE`` bytes."""
    _, ends = bytes_of(words)
    start = 0
    while start < len(words):
        stop = max(int(np.searchsorted(ends, ends[start] + PIECE, side="right")) - 1, start + 1)
        yield words.slice(start, stop - start).to_pylist()
        start = stop


def _numbered(keys: UInt64) -> tuple[UInt64, Int32]:
    """Return the distinct keys, and the number of each of the keys among these."""
    encoded = integers(keys.view(np.int64)).dictionary_encode()
    return as_numpy(encoded.dictionary).view(np.uint64), as_numpy(encoded.indices)


def _hashes(words: list[str], low: int, high: int) -> tuple[UInt64, Int64]:
    """Return the hashes of all n-grams, and the number of the word of each, both ``[m]``.

    A word of one character has none: it is its own n-gram.

    Args:
        words: at least one.
        low: the shortest n-gram.
        high: the longest.
    """
    text = f"<{'><'.join(words)}>".encode("utf-32-le")
    # Of 0 nothing would be left.
    marked = mixed(np.frombuffer(text, np.uint32).astype(np.uint64) + np.uint64(1))
    lengths = np.array([len(word) + 2 for word in words])
    word = np.arange(len(words)).repeat(lengths)
    # How many characters the word has from here on: none of a word that has no n-grams.
    left = (lengths.cumsum() * (lengths > 3))[word] - np.arange(len(word))
    # Row n - 1: of the n characters from here on.
    rolling = np.zeros((high, len(marked)), np.uint64)
    rolling[0] = marked
    for n in range(1, high):
        rolling[n, :-n] = rolling[n - 1, :-n] * MULTIPLIER + marked[n:]
    (at,) = (left >= np.arange(low, high + 1)[:, None]).reshape(-1).nonzero()
    return mixed(rolling[low - 1 :].reshape(-1)[at]), word[at % len(word)]
