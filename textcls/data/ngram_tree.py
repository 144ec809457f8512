"""Exact n-grams of words as numbers: counted without strings, and found again in other texts.

An n-gram is its beginning, one word shorter, and its last word: two numbers of 32 bits that make
one key of 64. Beginnings of one word are words; longer ones are numbered by their keys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int32, Int64, as_numpy, integers, lengths_of, strings
from textcls.data.counting import KeyCounter, places_of_keys, runs_of
from textcls.data.tokens import Index, Tokens, look_up
from textcls.data.train_tokens import TrainTokens

Bools = npt.NDArray[np.bool_]
# From the words of many texts, and whether another word of the same text follows each, to the ids
# of the 2-grams that begin at each, of the 3-grams, …; -1 for none.
Find = Callable[[Int32, Bools], Iterator[Int32]]

# Tokens of which keys are made at one go, and keys that are sorted at one go: together they bound
# the memory that is needed beside the corpus.
PIECE = 1 << 18
SORTED_KEYS = 1 << 24
# Where there are more keys than that, they are sorted in several passes, up to so many: each pass
# holds its share of them alone, and making the keys anew takes far less time than sorting.
FEW_KEYS, MANY_PASSES = 1 << 20, 6
# Of texts on the disk, so many keys of one length are held, at 16 bytes each.
CAPACITY = 1 << 24
# On so many tokens it is measured which words begin a share of the n-grams.
_SAMPLED = 1 << 16

_SPACE = strings([" "])[0]  # pyarrow would import pandas to make a scalar of a Python string


class CountedNgrams(NamedTuple):
    """The n-grams of texts that stand often enough.

    Attributes:
        names: Arrow strings ``[n]``: the words, joined by a space.
        counts: how often each stands, int64 ``[n]``.
        distinct: how many different ones there are. Of n-grams of 3 words and more, only those
            whose beginnings stand often enough are counted: no others can.
        keys: for each length their keys, ascending, ``names`` being in that order. Words are
            numbered as in the texts' dictionary. None: a word of it holds a space, so that the
            names may be those of words too.
        error: by how much a count may be too low; 0: all are exact.
    """

    names: pa.Array
    counts: Int64
    distinct: int
    keys: list[Int64] | None
    error: int = 0


class NgramTree:
    """Says which ids the n-grams of texts have.

    Each beginning is a node, numbered by the position of its key among those of its length.

    Args:
        words: Arrow strings, distinct: the words of the n-grams, in the order of their numbers.
        levels: for each length from 2 on its keys, int64 ``[n]``, ascending, and the ids of these
            n-grams, int32 ``[n]``; -1: it is only the beginning of another.
    """

    def __init__(self, words: pa.Array, levels: Sequence[tuple[Int64, Int32]]) -> None:
        self._words = Index(words)
        # One id more, at the end, is found where there is no key.
        self._levels = [(keys, np.append(ids, np.int32(-1))) for keys, ids in levels]

    @classmethod
    def of_counted(cls, words: pa.Array, keys: Sequence[Int64], ids: Int32) -> NgramTree:
        """Return the tree of counted n-grams.

        Args:
            words: the dictionary of the texts.
            keys: see :class:`CountedNgrams`.
            ids: of these n-grams, one length after another; -1: it has none.
        """
        ends = np.cumsum([len(level) for level in keys])[:-1]
        return cls(words, list(zip(keys, np.split(ids, ends), strict=True)))

    @classmethod
    def of_names(cls, names: pa.Array, longest: int) -> NgramTree:
        """Return the tree of those among ``names`` that hold spaces; the ids are their places."""
        at = np.flatnonzero(as_numpy(pc.match_substring(names, " ")))
        split = pc.split_pattern(names.take(integers(at)), " ")
        encoded = split.flatten().dictionary_encode()
        words = as_numpy(encoded.indices)
        starts = as_numpy(split.offsets).astype(np.int64)
        lengths = np.diff(starts)
        starts = starts[:-1]
        nodes = words[starts]
        levels = []
        for length in range(2, longest + 1):
            here = lengths >= length
            at, starts, lengths = at[here], starts[here], lengths[here]
            own = nodes[here].astype(np.int64) << 32 | words[starts + length - 1]
            keys, _ = runs_of(own.copy())
            nodes = places_of_keys(keys, own)
            ids = np.full(len(keys), -1, np.int32)
            ids[nodes[lengths == length]] = at[lengths == length]
            levels.append((keys, ids))
        return cls(encoded.dictionary, levels)

    def finder(self, dictionary: pa.Array) -> Find:
        """Return a function that finds the n-grams of texts with such a dictionary."""
        numbers = self._words.positions(dictionary)

        def find(codes: Int32, follows: Bools) -> Iterator[Int32]:
            words = nodes = numbers[codes]
            for length, (keys, ids) in enumerate(self._levels, start=2):
                at, wanted = _keys(nodes, words, follows, length)
                nodes = np.full(max(len(codes) - length + 1, 0), -1, np.int32)
                nodes[at] = places_of_keys(keys, wanted)
                yield ids[nodes]

        return find


def count_ngrams(tokens: TrainTokens, longest: int, min_freq: int) -> CountedNgrams:
    """Count the n-grams of 2 to ``longest`` words that stand ``min_freq`` times or more.

    A word that holds a space itself is part of no n-gram, whose name could be another's. Of texts
    that are not in memory, the table of each length has at most ``CAPACITY`` n-grams.

    Args:
        tokens: of the texts.
        longest: at least 2.
        min_freq: at least 1.
    """
    spaced = pc.match_substring(tokens.dictionary, " ")
    is_spaced = pc.any(spaced).as_py()
    own_numbers = np.arange(len(spaced), dtype=np.int32)
    own_numbers[as_numpy(spaced)] = -1
    counted: _InMemory | _OnDisk = (
        _InMemory(tokens, own_numbers)
        if isinstance(tokens, Tokens)
        else _OnDisk(tokens, own_numbers)
    )
    names = tokens.dictionary
    all_names, all_counts, all_keys, distinct = [], [], [], 0
    for length in range(2, longest + 1):
        keys, counts, different = counted.keys(length, min_freq)
        distinct += different
        names = pc.binary_join_element_wise(
            names.take(integers(keys >> 32)),
            tokens.dictionary.take(integers(keys & 0xFFFFFFFF)),
            _SPACE,
        )
        all_names.append(names)
        all_counts.append(counts)
        all_keys.append(keys)
        if length < longest:
            counted.go_on(length, keys)
    return CountedNgrams(
        pa.concat_arrays(all_names),
        np.concatenate(all_counts),
        distinct,
        None if is_spaced else all_keys,
        counted.error,
    )


class _InMemory:
    """Counts the keys of texts whose tokens are in memory."""

    error = 0

    def __init__(self, tokens: Tokens, numbers: Int32) -> None:
        self._words = look_up(numbers, tokens.codes) if (numbers < 0).any() else tokens.codes
        self._follows = are_followed(tokens.offsets)
        self._beginnings = self._words

    def keys(self, length: int, min_freq: int) -> tuple[Int64, Int64, int]:
        """Return the keys that stand ``min_freq`` times, their counts, how many keys there are."""
        return _count_keys(self._beginnings, self._words, self._follows, length, min_freq)

    def go_on(self, length: int, keys: Int64) -> None:
        """Take the n-grams with these keys for the beginnings of the next ones."""
        self._beginnings = _longer(self._beginnings, self._words, self._follows, length, keys)


class _OnDisk:
    """Counts the keys of texts whose tokens are on the disk; see :class:`_InMemory`.

    Attributes:
        error: by how much a count may be too low.
    """

    def __init__(self, tokens: TrainTokens, numbers: Int32) -> None:
        self._tokens, self._numbers, self._index = tokens, numbers, Index(tokens.dictionary)
        self._levels: list[Int64] = []
        self.error = 0

    def keys(self, length: int, min_freq: int) -> tuple[Int64, Int64, int]:
        counter = KeyCounter(CAPACITY)
        for part in self._tokens.parts():
            places = self._index.positions(part.dictionary)
            words = look_up(np.append(self._numbers, np.int32(-1))[places], part.codes)
            beginnings, own_follows = words, are_followed(part.offsets)
            for shorter, keys in enumerate(self._levels, start=2):
                beginnings = _longer(beginnings, words, own_follows, shorter, keys)
            for _, _, found in _keys_in_pieces(beginnings, words, own_follows, length):
                own, counts = runs_of(found)
                counter.add(own.view(np.uint64), counts)
        distinct, counts = counter.total()
        self.error = max(self.error, counter.error)
        often = counts >= min_freq
        return distinct.view(np.int64)[often], counts[often], len(distinct)

    def go_on(self, length: int, keys: Int64) -> None:
        self._levels.append(keys)


def are_followed(offsets: Int64) -> Bools:
    """Return for each token of texts whether another of the same text follows it."""
    found = np.ones(offsets[-1], np.bool_)
    found[offsets[1:][lengths_of(offsets) > 0] - 1] = False
    return found


def _longer(beginnings: Int32, words: Int32, follows: Bools, length: int, keys: Int64) -> Int32:
    """Return which of some n-grams begins at each word, int32 ``[len(words)]``; -1 for none.

    Args:
        beginnings: the same for n-grams that are one word shorter.
        words: of the texts.
        follows: whether another of the same text follows each, ``[len(words)]``.
        length: of the n-grams, in words.
        keys: of the n-grams, ascending.
    """
    found = np.full(len(words), -1, np.int32)
    for start, at, some in _keys_in_pieces(beginnings, words, follows, length):
        found[start + at] = places_of_keys(keys, some)
    return found


def _keys(
    beginnings: Int32, words: Int32, follows: Bools, length: int, low: int = 0, high: int = 1 << 31
) -> tuple[Int64, Int64]:
    """Return where n-grams of so many words begin, int64 ``[m]``, and their keys, int64 ``[m]``.

    Only those are returned whose beginning has a number of at least ``low`` and below ``high``.
    """
    count = max(len(words) - length + 1, 0)
    last = words[length - 1 :]
    whole = (beginnings[:count] >= low) & (last >= 0)
    if high < 1 << 31:
        whole &= beginnings[:count] < high
    whole &= follows[length - 2 : length - 2 + count]
    at = np.flatnonzero(whole)
    keys = beginnings[at].astype(np.int64)
    keys <<= 32
    keys |= last[at]
    return at, keys


def _keys_in_pieces(
    beginnings: Int32, words: Int32, follows: Bools, length: int, low: int = 0, high: int = 1 << 31
) -> Iterator[tuple[int, Int64, Int64]]:
    for start in range(0, len(words) - length + 1, PIECE):
        stop = start + PIECE
        tail = stop + length - 1  # the words of the n-grams that begin before stop
        own = beginnings[start:stop], words[start:tail], follows[start:tail]
        yield start, *_keys(*own, length, low, high)


def _count_keys(
    beginnings: Int32, words: Int32, follows: Bools, length: int, min_freq: int
) -> tuple[Int64, Int64, int]:
    """Return the keys that stand ``min_freq`` times, their counts, and how many keys there are."""
    passes = max(1 + len(words) // SORTED_KEYS, min(1 + len(words) // FEW_KEYS, MANY_PASSES))
    # A pass is for the beginnings from one number up to another, so that keys ascend over all.
    sample = np.sort(beginnings[:: 1 + len(words) // _SAMPLED])
    cuts = np.unique(sample[np.arange(1, passes) * len(sample) // passes]).clip(min=0)
    kept, kept_counts, distinct = [], [], 0
    for low, high in pairwise([0, *cuts.tolist(), 1 << 31]):
        # Sorting brings equal keys together; it beats a hash table, which misses every cache.
        keys = np.concatenate(
            [np.zeros(0, np.int64)]
            + [
                keys
                for _, _, keys in _keys_in_pieces(beginnings, words, follows, length, low, high)
            ]
        )
        different, counts = runs_of(keys)
        distinct += len(different)
        often = counts >= min_freq
        kept.append(different[often])
        kept_counts.append(counts[often])
    return np.concatenate(kept), np.concatenate(kept_counts), distinct
