"""fastText's hashes of words and of character n-grams, of many words at once.

The hash is FNV-1a of 32 bits over *signed* bytes: a byte of 128 and more is extended to 32 bits of
which the upper 24 are set, as fastText has it
(https://github.com/facebookresearch/fastText/blob/main/src/dictionary.cc).
"""

from __future__ import annotations

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
    num_words = len(words.offsets) - 1
    marked = _marked(words)
    is_first = (marked.data & 0xC0) != 0x80
    (starts,) = is_first.nonzero()  # of characters
    ends = np.append(starts[1:], len(marked.data))
    # The characters of each word.
    bounds = offsets_of(is_first.view(np.uint8))[marked.offsets]
    word = np.repeat(np.arange(num_words), lengths_of(bounds))
    left = bounds[1:][word] - np.arange(len(starts))  # from here to the end of the word
    grid = np.empty((len(starts), max(longest, 0)), np.uint32)
    there = np.zeros(grid.shape, np.bool_)
    hashes = np.full(len(starts), _START)
    for n in range(1, longest + 1):
        (fits,) = (left >= n).nonzero()
        if not len(fits):
            break
        longer = hashes[fits]
        last = fits + n - 1
        _append(longer, marked.data, starts[last], (ends - starts)[last])
        hashes[fits] = longer
        if n >= shortest:
            grid[fits, n - 1] = longer
            there[fits, n - 1] = True
    if shortest <= 1 <= longest:
        there[bounds[:-1], 0] = False
        there[bounds[1:] - 1, 0] = False
    by_word = offsets_of(there.sum(1))[bounds]
    return grid[there], by_word


def char_ngram_texts(word: bytes, shortest: int, longest: int) -> list[bytes]:
    """Return the character n-grams of a single word, as :func:`char_ngrams_of` hashes them."""
    marked = b"<" + word + b">"
    starts = [place for place, byte in enumerate(marked) if byte & 0xC0 != 0x80]
    bounds, count = [*starts, len(marked)], len(starts)
    return [
        marked[bounds[first] : bounds[first + n]]
        for first in range(count)
        for n in range(max(shortest, 1), min(longest, count - first) + 1)
        if not (n == 1 and first in (0, count - 1))
    ]


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
    prime = int(_PRIME)
    for byte in rest:
        value = (value ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * prime & 0xFFFFFFFF
    return value
