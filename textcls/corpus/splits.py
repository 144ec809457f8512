"""A split: texts and labels; and how rows are held out of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

from textcls.arrow import Int64, booleans

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
class Split:
    """Texts and labels of one split.

    Attributes:
        chunks: the texts as Arrow string arrays, in order; null where a row has no text.
            Tokenizing takes them out of the list, so that a large corpus is not held twice.
        labels: int64 ``[num_texts]``, positions in ``Corpus.label_names``.
        where: the file or split that the rows come from, for messages.
    """

    chunks: list[pa.Array]
    labels: Int64
    where: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def texts(self) -> pa.ChunkedArray:
        """All texts, Arrow strings ``[num_texts]``."""
        return pa.chunked_array(self.chunks)

    def fingerprint(self, label_names: Sequence[str]) -> str:
        """Return a hash of texts and labels, however they are chunked; no text is an empty one."""
        rest, letters = xxhash.xxh3_64("\n".join(label_names).encode()), xxhash.xxh3_64()
        rest.update(self.labels.data)
        for chunk in self.chunks:
            data, ends = bytes_of(chunk)
            rest.update(np.diff(ends).data)
            letters.update(data[ends[0] : ends[-1]])
        return rest.hexdigest() + letters.hexdigest()

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
            Split(inside[::-1], self.labels[held], self.where),
            Split(outside[::-1], self.labels[~held], self.where),
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
