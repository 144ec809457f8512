"""Character n-grams of words: which ones a word has, and which row of the embedding each has.

The ends of a word are marked, ``<word>``; an n-gram is a run of ``low`` to ``high`` of these
characters, counted once a word. One is known by a 64-bit hash of its characters alone: no order of
words, no block and no machine can change it. Saved models depend on that. Two of ten million
different n-grams share a hash with a probability of three in a million.

All distinct words are worked on at once, as one flat array of code points.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int32, Int64, as_numpy, integers, offsets_of, strings
from textcls.corpus.splits import bytes_of
from textcls.data.counting import KeyCounter, UInt64, places_of_keys, runs_of
from textcls.data.hashing import MULTIPLIER, buckets_of

# Characters of words that are worked on at one go: they bound the memory that is needed beside.
PIECE = 1 << 17

_BEGIN, _END = ord("<"), ord(">")
_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)


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
        for start, stop, keys, word, which in none._pieces(words):
            pair, _ = runs_of(word * len(keys) + which)
            number, key = np.divmod(pair, max(len(keys), 1))
            sums = np.bincount(key, counts[start:stop][number], len(keys))  # exact below 2**53
            counter.add(keys, sums.astype(np.int64))
        keys, sums = counter.total()
        return cls(lengths, buckets, keys[sums >= max(min_freq, 1)]), len(keys)

    def __len__(self) -> int:
        return len(self.keys)

    def of_words(self, words: pa.Array) -> tuple[Int64, Int32]:
        """Return the n-grams of each word that have a row.

        Args:
            words: Arrow strings.

        Returns:
            Offsets, int64 ``[num_words + 1]``, and positions in ``keys``, int32, ascending within
            each word.
        """
        lengths, places = np.zeros(len(words), np.int64), [np.zeros(0, np.int32)]
        for start, stop, keys, word, which in self._pieces(words):
            at = places_of_keys(self.keys, keys)[which]
            pair, _ = runs_of((word * len(self.keys) + at)[at >= 0])
            number, place = np.divmod(pair, max(len(self.keys), 1))
            lengths[start:stop] = np.bincount(number, minlength=stop - start)
            places.append(place.astype(np.int32))
        return offsets_of(lengths), np.concatenate(places)

    def names(self, word: str) -> dict[int, str]:
        """Return the n-grams of a word that have a row, by their positions in ``keys``.

        Those that share a bucket are named together.
        """
        names: dict[int, list[str]] = {}
        marked = f"<{word}>"
        lengths = np.array([len(word)])
        hashes, _ = _hashes(strings([word]), lengths, *self.lengths)
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

    def _pieces(self, words: pa.Array) -> Iterator[tuple[int, int, UInt64, Int64, Int64]]:
        """Yield for pieces of the words all their n-grams, repeats within a word included.

        Yields:
            From which word to which, without it; the distinct keys, uint64 ``[k]``; for each n-gram
            the number of its word in the piece, int64 ``[m]``, and of its key, int64 ``[m]``.
        """
        lengths = as_numpy(pc.utf8_length(words)).astype(np.int64)
        ends = np.cumsum(lengths + 2)
        start = 0
        while start < len(words):
            before = int(ends[start - 1]) if start else 0
            stop = max(int(np.searchsorted(ends, before + PIECE, side="right")), start + 1)
            piece = words.slice(start, stop - start)
            hashes, word = _hashes(piece, lengths[start:stop], *self.lengths)
            encoded = integers(self._keys(hashes).view(np.int64)).dictionary_encode()
            keys = as_numpy(encoded.dictionary).view(np.uint64)
            yield start, stop, keys, word, as_numpy(encoded.indices).astype(np.int64)
            start = stop


def _hashes(words: pa.Array, lengths: Int64, low: int, high: int) -> tuple[UInt64, Int64]:
    """Return the hashes of all n-grams, and the number of the word of each, both ``[m]``.

    A word of one character has none: it is its own n-gram.

    Args:
        words: Arrow strings.
        lengths: of these, in characters, int64 ``[num_words]``.
        low: the shortest n-gram.
        high: the longest.
    """
    data, ends = bytes_of(words)
    text = data[ends[0] : ends[-1]].tobytes().decode()
    starts = offsets_of(lengths + 2)
    characters = np.empty(starts[-1], np.uint32)
    is_mark = np.zeros(len(characters), np.bool_)
    is_mark[starts[:-1]] = is_mark[starts[1:] - 1] = True
    characters[~is_mark] = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    characters[starts[:-1]], characters[starts[1:] - 1] = _BEGIN, _END

    mixed = _mix(characters.astype(np.uint64) + np.uint64(1))  # of 0 nothing would be left
    word = np.repeat(np.arange(len(words)), lengths + 2)
    # How many characters the word has from here on: none of a word that has no n-grams.
    left = np.repeat(np.where(lengths > 1, starts[1:], 0), lengths + 2) - np.arange(len(word))
    rolling, hashes, of_word = mixed, [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    for length in range(1, high + 1):
        if length > 1:
            rolling = rolling[:-1] * MULTIPLIER + mixed[length - 1 :]
        if length >= low:
            whole = left[: len(rolling)] >= length
            hashes.append(_mix(rolling[whole]))
            of_word.append(word[: len(rolling)][whole])
    return np.concatenate(hashes), np.concatenate(of_word)


def _mix(values: UInt64) -> UInt64:
    """Return values in which each bit depends on every bit: the end of SplitMix64."""
    values = (values ^ (values >> _SHIFTS[0])) * _MIX[0]
    values = (values ^ (values >> _SHIFTS[1])) * _MIX[1]
    return values ^ (values >> _SHIFTS[2])
