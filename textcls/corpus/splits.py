"""A split: texts and labels; and how rows are held out of one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from textcls.arrow import Int64, booleans, offsets_of

SPLITS = ("train", "validation", "test")


def bytes_of(chunk: pa.Array) -> tuple[memoryview, Int64]:
    """Return the bytes of all texts of an Arrow string array, and where each begins and ends.

    Args:
        chunk: strings ``[num_texts]``; null counts as an empty text.

    Returns:
        The bytes, and int64 ``[num_texts + 1]`` positions in them. Neither is a copy of the texts,
        except where some are null.
    """
    whole = (chunk.fill_null("") if chunk.null_count else chunk).cast(pa.large_binary())
    _, ends, data = whole.buffers()
    return (
        memoryview(data or b""),
        np.frombuffer(ends, np.int64, len(whole) + 1, 8 * whole.offset),
    )


@dataclass(frozen=True)
class RowLabels:
    """The labels of rows: one each, or any number; and what each row weighs.

    Attributes:
        ids: int64 ``[num_labels]``, positions in ``Corpus.label_names``, row by row.
        offsets: int64 ``[num_rows + 1]``: those of row i are ``ids[offsets[i]:offsets[i + 1]]``,
            ascending, each once; None: every row has one.
        weights: float64 ``[num_rows]``, of each row in the loss, finite and not negative; None: all
            weigh the same.
        shares: float32 ``[num_labels]``, above 0, how probable each of a row's labels is; they sum
            to 1 in each row, which has one label at least. None: labels are certain.
    """

    ids: Int64
    offsets: Int64 | None = None
    weights: npt.NDArray[np.float64] | None = None
    shares: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids) if self.offsets is None else len(self.offsets) - 1

    @property
    def counts(self) -> Int64:
        """How many labels each row has, int64 ``[num_rows]``."""
        if self.offsets is None:
            return np.ones(len(self.ids), np.int64)
        return np.diff(self.offsets)

    @property
    def several(self) -> bool:
        """Whether a row has any number of labels, rather than one, certain or not."""
        return self.offsets is not None and self.shares is None

    def hard(self) -> RowLabels:
        """Return the most probable label of each row where labels have shares, else themselves.

        Of labels that are as probable it is the first class.
        """
        if self.shares is None or self.offsets is None:
            return self
        starts = self.offsets[:-1]
        if not len(starts):
            return RowLabels(self.ids, None, self.weights)
        most = np.repeat(np.maximum.reduceat(self.shares, starts), self.counts)
        places = np.where(self.shares == most, np.arange(len(self.ids)), len(self.ids))
        return RowLabels(self.ids[np.minimum.reduceat(places, starts)], None, self.weights)

    def select(self, wanted: npt.NDArray[np.bool_]) -> RowLabels:
        """Return those of some rows, bool ``[num_rows]``."""
        weights = None if self.weights is None else self.weights[wanted]
        if self.offsets is None:
            return RowLabels(self.ids[wanted], None, weights)
        counts = self.counts
        own = np.repeat(wanted, counts)
        shares = None if self.shares is None else self.shares[own]
        return RowLabels(self.ids[own], offsets_of(counts[wanted]), weights, shares)

    def slice(self, start: int, stop: int) -> RowLabels:
        """Return those of rows ``start`` to ``stop - 1``."""
        weights = None if self.weights is None else self.weights[start:stop]
        if self.offsets is None:
            return RowLabels(self.ids[start:stop], None, weights)
        ends = self.offsets[start : stop + 1]
        own = slice(ends[0], ends[-1])
        shares = None if self.shares is None else self.shares[own]
        return RowLabels(self.ids[own], ends - ends[0], weights, shares)

    @staticmethod
    def concatenate(parts: Sequence[RowLabels]) -> RowLabels:
        """Join the labels of splits that all have one each, or all have several.

        Where some have weights, the rows of the others weigh 1.
        """
        ids, weights = np.concatenate([part.ids for part in parts]), None
        if any(part.weights is not None for part in parts):
            weights = np.concatenate(
                [np.ones(len(part)) if part.weights is None else part.weights for part in parts]
            )
        if parts[0].offsets is None:
            return RowLabels(ids, None, weights)
        counts = np.concatenate([part.counts for part in parts])
        of_parts = [part.shares for part in parts if part.shares is not None]
        shares = np.concatenate(of_parts) if of_parts else None
        return RowLabels(ids, offsets_of(counts), weights, shares)

    def hashed(self, label_names: Sequence[str]) -> xxhash.xxh3_64:
        """Return a hash of them, to be updated with more, such as the lengths of texts."""
        found = xxhash.xxh3_64("\n".join(label_names).encode())
        found.update(np.ascontiguousarray(self.ids).data)
        # Rows of one certain label are the same test, whatever the labels of train are like.
        if self.several or (self.shares is not None and len(self.ids) > len(self)):
            found.update(self.counts.data)
            if self.shares is not None:
                found.update(np.ascontiguousarray(self.shares).data)
        return found

    def lists(self) -> list[list[int]]:
        """Return the labels of each row."""
        ends = np.cumsum(self.counts)[:-1]
        return [row.tolist() for row in np.split(self.ids, ends)]

    def one_each(self) -> Int64:
        """Return one number for each row, int64 ``[num_rows]``, by which rows can be spread.

        Of several labels it is the rarest, which splits would lack soonest; of none, one more than
        all others. Of labels with shares it is the most probable.
        """
        if self.offsets is None or self.shares is not None:
            return self.hard().ids
        rarity = np.bincount(self.ids, minlength=1)[self.ids]
        row = np.repeat(np.arange(len(self)), self.counts)
        order = np.lexsort((self.ids, rarity, row))
        found = np.full(len(self), self.ids.max(initial=-1) + 1, np.int64)
        first = order[np.r_[True, row[order][1:] != row[order][:-1]]] if len(order) else order
        found[row[first]] = self.ids[first]
        return found

    def sets(self) -> Int64:
        """Return one number for each row, int64 ``[num_rows]``: rows of the same labels share it.

        It is a hash, unless every row has one label. Of labels with shares it is the most probable.
        """
        if self.offsets is None or self.shares is not None:
            return self.hard().ids
        ends = (self.offsets * 8).tolist()
        data = self.ids.tobytes()
        hashes = (xxhash.xxh3_64_intdigest(data[a:b]) >> 1 for a, b in itertools.pairwise(ends))
        return np.fromiter(hashes, np.int64, len(self))


class HashedTexts:
    """Adds up the texts that :meth:`Split.fingerprint` is a hash of, some after others."""

    def __init__(self) -> None:
        self._letters = xxhash.xxh3_64()
        self._lengths = [np.zeros(0, np.int64)]

    def add(self, chunks: Sequence[pa.Array]) -> None:
        """Add the texts that follow; no text is an empty one."""
        for chunk in chunks:
            data, ends = bytes_of(chunk)
            self._letters.update(data[ends[0] : ends[-1]])
            self._lengths.append(np.diff(ends))

    def fingerprint(self, labels: RowLabels, label_names: Sequence[str]) -> str:
        """Return the hash of all texts, with their labels."""
        rest = labels.hashed(label_names)
        rest.update(np.concatenate(self._lengths).data)
        return str(rest.hexdigest() + self._letters.hexdigest())


@dataclass(frozen=True)
class Split:
    """Texts and labels of one split.

    Attributes:
        chunks: the texts as Arrow string arrays, in order; null where a row has no text.
            Tokenizing takes them out of the list, so that a large corpus is not held twice.
        labels: of as many rows.
        where: the file or split that the rows come from, for messages.
    """

    chunks: list[pa.Array]
    labels: RowLabels
    where: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def texts(self) -> pa.ChunkedArray:
        """All texts, Arrow strings ``[num_texts]``."""
        return pa.chunked_array(self.chunks)

    def fingerprint(self, label_names: Sequence[str]) -> str:
        """Return a hash of texts and labels, however they are chunked; no text is an empty one."""
        texts = HashedTexts()
        texts.add(self.chunks)
        return texts.fingerprint(self.labels, label_names)

    def cut(self, held: npt.NDArray[np.bool_]) -> tuple[Split, Split]:
        """Return the rows where ``held``, bool ``[num_texts]``, and the others, in their order.

        The texts are taken out of this split on the way.
        """
        inside: list[pa.Array] = []
        outside: list[pa.Array] = []
        stop = len(held)
        while self.chunks:
            chunk = self.chunks.pop()
            wanted = held[stop - len(chunk) : stop]
            inside.append(chunk.filter(booleans(wanted)))
            outside.append(chunk.filter(booleans(~wanted)))
            stop -= len(chunk)
        return (
            Split(inside[::-1], self.labels.select(held), self.where),
            Split(outside[::-1], self.labels.select(~held), self.where),
        )


def stratified_cut(
    labels: Int64, fraction: float, rng: np.random.Generator, least: int = 2
) -> npt.NDArray[np.bool_]:
    """Choose rows to hold out: of each class the given fraction, to the nearest row.

    Of a class with ``least`` rows or more at least one is held out, whatever the fraction; of every
    class at least one row stays. (scikit-learn's and datasets' stratified splits refuse classes of
    a single row, which real label sets have.)

    Args:
        labels: int64 ``[n]``.
        fraction: between 0 and 1.
        rng: decides which rows.
        least: at least 2.

    Returns:
        bool ``[n]``, True for the held out.
    """
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    wanted = np.floor(counts * fraction + 0.5)
    wanted = np.minimum(np.maximum(wanted, counts >= least), np.maximum(counts - 1, 0))
    held = np.zeros(len(labels), np.bool_)
    held[order] = rank < wanted[labels[order]]
    return held
