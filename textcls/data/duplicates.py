"""Texts that several rows have, found without holding any text twice.

Texts are compared by a 64-bit hash of their bytes; among ten million different texts, two share a
hash with a probability of three in a million.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from textcls.arrow import Int64, as_numpy, integers
from textcls.corpus.splits import RowLabels, bytes_of

Bools = npt.NDArray[np.bool_]
UInt64 = npt.NDArray[np.uint64]

# Texts are hashed one by one, so many of them at a time.
_HASHED_ROWS = 1 << 16
# How many of the rows that are in another split are listed.
LISTED_ROWS = 5


def hash_texts(chunks: Sequence[pa.Array]) -> UInt64:
    """Return a hash of each text, uint64 ``[num_texts]``; null hashes as an empty text."""
    parts = [np.zeros(0, np.uint64)]
    for chunk in chunks:
        for start in range(0, len(chunk), _HASHED_ROWS):
            data, places = bytes_of(chunk.slice(start, _HASHED_ROWS))
            ends = places.tolist()
            texts = (data[a:b] for a, b in itertools.pairwise(ends))
            hashes = map(xxhash.xxh3_64_intdigest, texts)
            parts.append(np.fromiter(hashes, np.uint64, len(ends) - 1))
    return np.concatenate(parts)


def are_empty(chunks: Sequence[pa.Array]) -> Bools:
    """Say which texts are null or hold nothing but white space: bool ``[num_texts]``."""
    parts = [np.zeros(0, np.bool_)]
    for chunk in chunks:
        is_nothing = as_numpy(pc.binary_length(chunk), null=0) == 0
        parts.append(is_nothing | as_numpy(pc.utf8_is_space(chunk), null=True))
    return np.concatenate(parts)


@dataclass(frozen=True)
class Texts:
    """What is counted and compared of texts.

    Attributes:
        hashes: uint64 ``[num_texts]``.
        are_empty: bool ``[num_texts]``.
        labels: of as many rows.
    """

    hashes: UInt64
    are_empty: Bools
    labels: RowLabels

    @classmethod
    def of(cls, chunks: Sequence[pa.Array], labels: RowLabels) -> Texts:
        """Return it of Arrow strings, ``[num_texts]`` in all, and their labels."""
        return cls(hash_texts(chunks), are_empty(chunks), labels)

    def slice(self, start: int, stop: int) -> Texts:
        """Return it of texts ``start`` to ``stop - 1``."""
        rows = slice(start, stop)
        return Texts(self.hashes[rows], self.are_empty[rows], self.labels.slice(start, stop))


@dataclass(frozen=True)
class Compared:
    """The texts of a split that are not empty, or some of these.

    Attributes:
        rows: int64 ``[n]``, their rows in the split.
        hashes: uint64 ``[n]``.
        labels: int64 ``[n]``, the same for the same labels.
    """

    rows: Int64
    hashes: UInt64
    labels: Int64

    @classmethod
    def of(cls, texts: Texts, first_row: int = 0) -> Compared:
        """Return those of some texts, whose first is row ``first_row`` of its split."""
        (rows,) = (~texts.are_empty).nonzero()
        return cls(rows + first_row, texts.hashes[rows], texts.labels.sets()[rows])

    @classmethod
    def concatenate(cls, parts: Sequence[Compared]) -> Compared:
        """Join texts of rows that follow one another."""
        none = cls(np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros(0, np.int64))
        return cls(
            *(
                np.concatenate([getattr(part, name) for part in (none, *parts)])
                for name in ("rows", "hashes", "labels")
            )
        )

    def share(self, number: int, of: int) -> Compared:
        """Return those texts whose hashes are in one of ``of`` equal shares of all hashes."""
        if of == 1:
            return self
        (places,) = (
            (self.hashes >> np.uint64(32)) * np.uint64(of) >> np.uint64(32) == number
        ).nonzero()
        return Compared(self.rows[places], self.hashes[places], self.labels[places])


def compare(shares: Iterable[Mapping[str, Compared]]) -> dict[str, dict[str, Any]]:
    """Count rows whose text another row has, in the same split and in the splits before it.

    A row contradicts where its text has another label in another row of the split.

    Args:
        shares: the texts of each split; several times, if of different shares of all hashes.
    """
    facts: dict[str, dict[str, Any]] = {}
    for splits in shares:
        for split, found in _compare(splits).items():
            known = facts.setdefault(split, defaultdict(int))
            for name, value in found.items():
                if isinstance(value, int):
                    known[name] += value
                    continue
                before = known.setdefault(name, {"rows": 0, "other_label": 0, "first": []})
                known[name] = {
                    "rows": before["rows"] + value["rows"],
                    "other_label": before["other_label"] + value["other_label"],
                    "first": sorted(before["first"] + value["first"])[:LISTED_ROWS],
                }
    return {split: dict(found) for split, found in facts.items()}


def _compare(splits: Mapping[str, Compared]) -> dict[str, dict[str, Any]]:
    hashes = np.concatenate([texts.hashes for texts in splits.values()])
    hashes.sort()
    # Texts that stand once, mostly nearly all, need no comparison.
    repeated = pc.unique(_as_arrow(hashes[1:][hashes[1:] == hashes[:-1]]))
    numbers, rows, labels = {}, {}, {}
    for split, texts in splits.items():
        found = pc.index_in(_as_arrow(texts.hashes), value_set=repeated)
        rows[split] = np.flatnonzero(as_numpy(found.is_valid()))
        numbers[split] = as_numpy(found.drop_null()).astype(np.int64)
        labels[split] = texts.labels[rows[split]]
    different = np.unique(np.concatenate(list(labels.values())))
    facts: dict[str, dict[str, Any]] = {}
    # By split: how many labels each repeated text has there, and these pairs of text and label.
    before: dict[str, tuple[Int64, Int64]] = {}
    for split, number in numbers.items():
        pair = number * len(different) + np.searchsorted(different, labels[split])
        pairs = np.unique(pair)
        num_labels = np.bincount(pairs // max(len(different), 1), minlength=len(repeated))
        facts[split] = {
            "duplicates": len(number) - int(np.count_nonzero(num_labels)),
            "contradicting": int(np.count_nonzero(num_labels[number] > 1)),
        }
        for other, (labels_there, pairs_there) in before.items():
            found = labels_there[number] > 0
            in_split = splits[split].rows[rows[split][found]]
            facts[split][f"in_{other}"] = {
                "rows": int(np.count_nonzero(found)),
                "other_label": int(np.count_nonzero(found & ~np.isin(pair, pairs_there))),
                "first": (in_split[:LISTED_ROWS] + 1).tolist(),
            }
        before[split] = num_labels, pairs
    return facts


def _as_arrow(hashes: UInt64) -> pa.Int64Array:
    return integers(hashes.view(np.int64))
