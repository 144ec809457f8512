"""The features of texts: counted, weighed, and with unknown words taken apart."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32, Int64, lengths_of, offsets_of
from textcls.data.counting import runs_of, starts_of
from textcls.data.token_weights import Float32

# Features that are sorted at one go.
SORTED = 1 << 15


class Encoded(NamedTuple):
    """Bags before they have labels.

    Attributes:
        indices: int32 ``[num_indices]``.
        offsets: int64 ``[num_texts + 1]``.
        weights: float32 ``[num_indices]``; None: every entry weighs 1.
    """

    indices: Int32
    offsets: Int64
    weights: Float32 | None = None


class Features(NamedTuple):
    """The features of some texts, text by text.

    Attributes:
        ids: int32 ``[n]``: rows, or numbers past them for unknown words.
        counts: int32 ``[n]``; None: nothing goes by them.
        ends: int64 ``[num_texts + 1]``, the offsets of the texts in them.
        num_words: int64 ``[num_texts]``.
    """

    ids: Int32
    counts: Int32 | None
    ends: Int64
    num_words: Int64


class Unknown(NamedTuple):
    """What unknown words consist of: ids ``indices[offsets[w]:offsets[w + 1]]``.

    Attributes:
        offsets: int64 ``[num_words + 1]``.
        indices: int32 ``[n]``, rows.
        weights: float32 ``[n]``, of these in a bag that has the word once.
    """

    offsets: Int64
    indices: Int32
    weights: Float32

    def with_those_of(self, other: Unknown) -> Unknown:
        """Return what the same words consist of by both: by another after what is here."""
        offsets = [one.offsets for one in (self, other)]
        word = [np.arange(len(ends) - 1).repeat(lengths_of(ends)) for ends in offsets]
        order = np.concatenate(word).argsort(kind="stable")
        return Unknown(
            self.offsets + other.offsets,
            np.concatenate([self.indices, other.indices])[order],
            np.concatenate([self.weights, other.weights])[order],
        )


def drained(features: deque[Features]) -> Iterator[Features]:
    """Yield features, and let go of them on the way."""
    while features:
        yield features.popleft()


def amounts(features: Features, how: str | None) -> Float32:
    """Return what features weigh by their counts, float32 ``[n]``."""
    ids, counts, _, _ = features
    if counts is None:
        return np.ones(len(ids), np.float32)
    if how == "count":
        return counts.astype(np.float32)
    return (1 + np.log(counts)).astype(np.float32)


def count_features(ids: Int32, ends: Int64, num_words: Int64, limit: int) -> Features:
    """Return the distinct features of each text, ascending, and their counts.

    Args:
        ids: int32 ``[m]``, below ``limit``, text by text.
        ends: int64 ``[num_texts + 1]``, the offsets of the texts in them.
        num_words: int64 ``[num_texts]``.
        limit: above all ids.
    """
    if len(ends) == 2:  # a single text needs no keys
        own, of_each = runs_of(ids.copy())
        return Features(own, of_each.astype(np.int32), np.array([0, len(own)]), num_words)
    bits = limit.bit_length()
    # Texts are sorted in blocks that fit into the processor's cache; and within a block a text's
    # number and an id fit into 32 bits, which NumPy sorts twice as fast as 64.
    is_narrow = bits <= 26
    dtype = np.uint32 if is_narrow else np.uint64
    cuts = _blocks(ends, 1 << (32 - bits) if is_narrow else len(ends))
    sizes = lengths_of(ends)
    number = np.arange(len(sizes)) - np.repeat(cuts[:-1], lengths_of(cuts))
    keys: npt.NDArray[np.unsignedinteger] = np.repeat(number.astype(dtype), sizes)
    unsigned = keys.dtype.type
    keys <<= unsigned(bits)
    keys |= ids.astype(dtype)
    bounds = ends[cuts]
    for start, stop in pairwise(bounds.tolist()):
        keys[start:stop].sort()
    starts = starts_of(keys, bounds)
    distinct = (keys[starts] & unsigned((1 << bits) - 1)).astype(np.int32)
    counts = np.diff(starts, append=len(keys)).astype(np.int32)
    return Features(distinct, counts, np.searchsorted(starts, ends), num_words)


def _blocks(ends: Int64, most_texts: int) -> Int64:
    """Cut texts into blocks of about ``SORTED`` features: return the first text of each, and n."""
    cuts, num_texts = [0], len(ends) - 1
    while cuts[-1] < num_texts:
        first = cuts[-1]
        fits = int(np.searchsorted(ends, ends[first] + SORTED, side="right")) - 1
        cuts.append(min(max(fits, first + 1), first + most_texts, num_texts))
    return np.array(cuts)


def flattened(features: Features, weights: Float32, unknown: Unknown, num_rows: int) -> Encoded:
    """Put what they consist of in the place of unknown words.

    Args:
        features: of texts; ids of ``num_rows`` and on stand for unknown words.
        weights: of the features; of unknown words, what their count weighs.
        unknown: what the words consist of.
        num_rows: of the embedding.
    """
    ids, _, ends, _ = features
    entries = num_entries(ids, unknown, num_rows)
    starts, feature = offsets_of(entries), np.arange(len(ids)).repeat(entries)
    flat, flat_weights = ids[feature], weights[feature]
    (at,) = (flat >= num_rows).nonzero()
    taken = unknown.offsets[flat[at] - num_rows] + at - starts[feature[at]]
    flat[at] = unknown.indices[taken]
    flat_weights[at] *= unknown.weights[taken]
    return Encoded(flat, starts[ends], flat_weights)


def num_entries(ids: Int32, unknown: Unknown, num_rows: int) -> Int64:
    """Return how many entries each feature comes to, int64 ``[len(ids)]``."""
    (places,) = (ids >= num_rows).nonzero()
    entries = np.ones(len(ids), np.int64)
    entries[places] = lengths_of(unknown.offsets)[ids[places] - num_rows]
    return entries


def parts_of(features: Features, offsets: Int64, parts: Int32, num_parts: int) -> Features:
    """Return the distinct parts of the features of texts, and how many of the features have each.

    Args:
        features: of the texts.
        offsets: those of id ``v`` are ``parts[offsets[v]:offsets[v + 1]]``; ids past these have
            none.
        parts: int32, below ``num_parts``.
        num_parts: different ones.
    """
    ids, _, ends, num_words = features
    has_parts = ids < len(offsets) - 1
    per_feature = np.zeros(len(ids), np.int64)
    places, per_feature[has_parts] = places_of(offsets, ids[has_parts])
    return count_features(parts[places], offsets_of(per_feature)[ends], num_words, num_parts)


def places_of(offsets: Int64, runs: npt.NDArray[np.integer]) -> tuple[Int64, Int64]:
    """Return the places of the values of some runs, one run after another, and how many each has.

    Args:
        offsets: run ``r`` is ``values[offsets[r]:offsets[r + 1]]``.
        runs: numbers of runs, ``[n]``.
    """
    lengths = offsets[runs + 1] - offsets[runs]
    shift = offsets[runs] - offsets_of(lengths)[:-1]
    return np.arange(lengths.sum()) + np.repeat(shift, lengths), lengths
