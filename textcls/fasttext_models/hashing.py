"""fastText's hashes of words and of character n-grams, of many words at once.

The hash is FNV-1a of 32 bits over *signed* bytes: a byte of 128 and more is extended to 32 bits of
which the upper 24 are set, as fastText has it
(https://github.com/facebookresearch/fastText/blob/main/src/dictionary.cc).
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64, lengths_of, offsets_of, places_of_runs

UInt8 = npt.NDArray[np.uint8]
UInt32 = npt.NDArray[np.uint32]

_START, _PRIME = np.uint32(2166136261), np.uint32(16777619)
# Bytes of a word that are hashed in step with those of other words; the few past them one by one.
_IN_STEP = 64
_SIGNED = np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int32).view(np.uint32)


class Words(NamedTuple):
    """Words one after another.

    Attributes:
        data: uint8 ``[num_bytes]``.
        offsets: int64 ``[num_words + 1]``, where each begins and ends.
    """

    data: UInt8
    offsets: Int64

    @classmethod
    def of(cls, words: list[bytes]) -> Words:
        """Lay out words."""
        lengths = np.fromiter(map(len, words), np.int64, len(words))
        return cls(np.frombuffer(b"".join(words), np.uint8), offsets_of(lengths))

    def take(self, places: Int64) -> Words:
        """Return some of the words."""
        if len(places) == len(self.offsets) - 1:
            return self
        lengths = lengths_of(self.offsets)[places]
        return Words(self.data[places_of_runs(self.offsets[places], lengths)], offsets_of(lengths))

    def begin_with(self, prefix: bytes) -> npt.NDArray[np.bool_]:
        """Say which words begin with some bytes, bool ``[num_words]``."""
        found = lengths_of(self.offsets) >= len(prefix)
        for place, byte in enumerate(prefix):
            found[found] = self.data[self.offsets[:-1][found] + place] == byte
        return found


def hashes_of(words: Words) -> UInt32:
    """Return the hash of each word, uint32 ``[num_words]``."""
    hashes = np.full(len(words.offsets) - 1, _START)
    _append(hashes, words.data, words.offsets[:-1], lengths_of(words.offsets))
    return hashes


class Grid(NamedTuple):
    """Hashes of the n-grams of characters of words that lie one after another.

    Attributes:
        hashes: uint32 ``[num_characters, longest - shortest + 1]``, by the beginning of the n-gram
            and its length.
        there: bool, of the same shape: whether there is such an n-gram.
        offsets: int64 ``[num_words + 1]``, of the words in the rows.
    """

    hashes: UInt32
    there: npt.NDArray[np.bool_]
    offsets: Int64


def char_ngrams_of(words: Words, shortest: int, longest: int) -> tuple[UInt32, Int64]:
    """Return the hashes of the character n-grams of each word, its ends marked by ``<`` and ``>``.

    They are in fastText's order, by their beginning and then by length, as often as they occur. A
    character is a byte and the continuation bytes of UTF-8 after it. A single mark is none.

    Args:
        words: to take apart.
        shortest: n-gram, in characters.
        longest: n-gram.

    Returns:
        uint32 ``[num_ngrams]``, and their offsets by word, int64 ``[num_words + 1]``.
    """
    grid = char_ngram_grid(words, shortest, longest)
    return grid.hashes[grid.there], counts_before(grid.there, grid.offsets)


def char_ngram_grid(words: Words, shortest: int, longest: int) -> Grid:
    """Return the n-grams of :func:`char_ngrams_of` as they are hashed, with gaps."""
    shortest = max(shortest, 1)
    marked = _marked(words)
    is_first = (marked.data & 0xC0) != 0x80
    (starts,) = is_first.nonzero()  # of characters
    lengths = np.append(starts[1:], len(marked.data)) - starts
    first, more = _characters(marked.data, starts, lengths)
    # The characters of each word.
    bounds = offsets_of(is_first.view(np.uint8))[marked.offsets]
    left = np.repeat(bounds[1:], lengths_of(bounds)) - np.arange(len(starts))
    shape = len(starts), max(longest - shortest + 1, 0)
    grid, there = np.zeros(shape, np.uint32), np.zeros(shape, np.bool_)
    hashes = np.full(len(starts), _START)
    for n in range(1, min(longest, len(starts)) + 1):
        # Those of n characters are those of n - 1 from the same place, and one more.
        hashes = (hashes[: len(starts) - n + 1] ^ first[n - 1 :]) * _PRIME
        for places, values in more:
            begun = np.searchsorted(places, n - 1)
            from_here = places[begun:] - (n - 1)
            hashes[from_here] = (hashes[from_here] ^ values[begun:]) * _PRIME
        if n >= shortest:
            grid[: len(hashes), n - shortest] = hashes
            np.greater_equal(left, n, out=there[:, n - shortest])
    if shortest == 1 <= longest:
        there[bounds[:-1], 0] = False
        there[bounds[1:] - 1, 0] = False
    return Grid(grid, there, bounds)


def counts_before(there: npt.NDArray[np.bool_], offsets: Int64) -> Int64:
    """Return how many are there in the rows before each offset, int64 ``[len(offsets)]``.

    Args:
        there: bool ``[num_rows, width]``.
        offsets: of runs of rows.
    """
    found: Int64 = offsets_of(there.reshape(-1).view(np.uint8))[offsets * there.shape[1]]
    return found


def _characters(
    data: UInt8, starts: Int64, lengths: Int64
) -> tuple[UInt32, list[tuple[Int64, UInt32]]]:
    """Return the first bytes of characters, and those after it: of which characters, and values."""
    signed = _SIGNED[data]
    more: list[tuple[Int64, UInt32]] = []
    (places,) = (lengths > 1).nonzero()
    while len(places):
        more.append((places, signed[starts[places] + len(more) + 1]))
        places = places[lengths[places] > len(more) + 1]
    return signed[starts], more


def char_ngram_texts(word: bytes, shortest: int, longest: int) -> list[bytes]:
    """Return the character n-grams of a single word, as :func:`char_ngrams_of` hashes them."""
    bounds = _bounds_of_characters(word)
    marked, count = b"<" + word + b">", len(bounds) - 1
    return [
        marked[bounds[first] : bounds[first + n]]
        for first in range(count)
        for n in range(max(shortest, 1), min(longest, count - first) + 1)
        if not (n == 1 and first in (0, count - 1))
    ]


def hash_of(word: bytes) -> int:
    """Return the hash of a single word."""
    return _hash_on(int(_START), word)


def char_ngram_hashes(word: bytes, shortest: int, longest: int) -> list[int]:
    """Return what :func:`char_ngrams_of` does of a single word, without the cost of its calls."""
    bounds = _bounds_of_characters(word)
    signed = [byte if byte < 128 else byte | 0xFFFFFF00 for byte in b"<" + word + b">"]
    characters = [signed[start:stop] for start, stop in pairwise(bounds)]
    found = []
    for first in range(len(characters)):
        value = 2166136261
        for n, character in enumerate(characters[first : first + longest], 1):
            for byte in character:
                value = (value ^ byte) * 16777619 & 0xFFFFFFFF
            if n >= shortest and (n > 1 or 0 < first < len(characters) - 1):
                found.append(value)
    return found


def _bounds_of_characters(word: bytes) -> list[int]:
    """Return where the characters of a word between marks begin, and where the last one ends."""
    inside = [place for place, byte in enumerate(word, 1) if byte & 0xC0 != 0x80]
    return [0, *inside, len(word) + 1, len(word) + 2]


def _marked(words: Words) -> Words:
    """Return the words between marks."""
    lengths = lengths_of(words.offsets)
    offsets = offsets_of(lengths + 2)
    data = np.empty(offsets[-1], np.uint8)
    inside = np.ones(len(data), np.bool_)
    inside[offsets[:-1]] = inside[offsets[1:] - 1] = False
    data[offsets[:-1]], data[offsets[1:] - 1] = ord("<"), ord(">")
    data[inside] = words.data[words.offsets[0] : words.offsets[-1]]
    return Words(data, offsets)


def _append(hashes: UInt32, data: UInt8, starts: Int64, lengths: Int64) -> None:
    """Go on with hashes by ``lengths`` bytes of the data each, in place."""
    active = np.flatnonzero(lengths > 0)
    for place in range(_IN_STEP):
        if not len(active):
            return
        if len(active) == len(hashes):
            np.bitwise_xor(hashes, _SIGNED[data[starts + place]], out=hashes)
            hashes *= _PRIME
        else:
            longer = hashes[active] ^ _SIGNED[data[starts[active] + place]]
            hashes[active] = longer * _PRIME
        active = active[lengths[active] > place + 1]
    for number in active.tolist():
        rest = data[starts[number] + _IN_STEP : starts[number] + lengths[number]].tobytes()
        hashes[number] = _hash_on(int(hashes[number]), rest)


def _hash_on(value: int, rest: bytes) -> int:
    for byte in rest:
        value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * 16777619 & 0xFFFFFFFF
    return value
