"""A batch as sparse matrices, and their transposes: all that a step without autograd multiplies by.

A batch of bags is a matrix of bags by rows, whose numbers are the weights of the entries, divided
by what the pooling divides by. Where words are composed, it is two in a row: bags by items, and
items by rows. A product with one of them, or with its transpose, is a weighted embedding bag over
the few rows that the batch touches, which are numbered from 0.

The batches of a group are made together, so that a call into NumPy serves all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textcls.arrow import Int32, Int64, offsets_of
from textcls.data.bags import Bags
from textcls.data.batches import Group, made_in_groups
from textcls.data.composition import Composition
from textcls.data.counting import starts_of
from textcls.data.targets import Targets
from textcls.data.token_weights import Float32
from textcls.data.windows import Window


class Matrix(NamedTuple):
    """A sparse matrix, row by row: as the arguments of a weighted embedding bag.

    Attributes:
        columns: int32 ``[n]``.
        offsets: int32 ``[num_rows + 1]``.
        weights: float32 ``[n]``.
    """

    columns: Tensor
    offsets: Tensor
    weights: Tensor


class Factor(NamedTuple):
    """A matrix and its transpose."""

    forward: Matrix
    backward: Matrix


class Operands(NamedTuple):
    """What a step takes.

    Attributes:
        rows: int64 ``[num_rows]``, the table's rows that the batch touches, ascending.
        factors: to multiply these rows by, one after another: the last gives the pooled bags.
        targets: of the bags.
        num_tokens: of the batch.
        numbers: int64 ``[num_bags]``, the bags' numbers in their split.
        entries: the bags, where they are asked for.
    """

    rows: Tensor
    factors: list[Factor]
    targets: Targets
    num_tokens: int
    numbers: Tensor
    entries: Bags | None


def operands(
    windows: Iterable[Window],
    pooling: str,
    composition: Composition | None = None,
    with_entries: bool = False,
) -> Iterator[Operands]:
    """Return the operands of each step of some windows; see :func:`textcls.data.batches.batches`.

    Args:
        windows: of an epoch, on the CPU.
        pooling: sum, mean or sqrtn.
        composition: of the words, or None.
        with_entries: give each step its bags as well.
    """

    def make(group: Group) -> list[Operands]:
        return _of_group(group, pooling, composition, with_entries)

    return made_in_groups(make, windows)


def _of_group(
    group: Group, pooling: str, composition: Composition | None, with_entries: bool
) -> list[Operands]:
    bags = group.gathered()
    lengths = bags.lengths.numpy()
    weights = np.ones(bags.num_tokens, np.float32) if bags.weights is None else bags.weights.numpy()
    weights = _normalised(weights, lengths, pooling)
    cuts = np.array(group.cuts)
    rows, row_cuts, outer = _factors(bags.indices.numpy(), lengths, weights, cuts)
    factors = [[factor] for factor in outer]
    if composition is not None:
        parts = composition.bags.select(torch.from_numpy(rows))
        assert parts.weights is not None
        rows, row_cuts, inner = _factors(
            parts.indices.numpy(), parts.lengths.numpy(), parts.weights.numpy(), row_cuts
        )
        factors = [[first, *rest] for first, rest in zip(inner, factors, strict=True)]
    of_batch = torch.from_numpy(rows).split_with_sizes(np.diff(row_cuts).tolist())
    steps = list(pairwise(group.cuts))
    numbers = group.numbers.split_with_sizes(np.diff(cuts).tolist())
    targets = [bags.targets.slice(*step) for step in steps]
    num_tokens = np.diff(bags.offsets.numpy()[cuts]).tolist()
    entries = [bags.slice(*step) if with_entries else None for step in steps]
    return list(map(Operands, of_batch, factors, targets, num_tokens, numbers, entries))


def _normalised(weights: Float32, lengths: Int64, pooling: str) -> Float32:
    """Return weights divided by what their bag is divided by."""
    if pooling == "sum":
        return weights
    filled = lengths[lengths > 0]
    if not len(filled):
        return weights
    terms = weights if pooling == "mean" else weights * weights
    norms = np.add.reduceat(terms, np.cumsum(filled) - filled)
    norms[norms == 0] = 1
    if pooling == "sqrtn":
        norms = np.sqrt(norms)
    normalised: Float32 = weights / np.repeat(norms, filled)
    return normalised


def _factors(
    ids: Int32, lengths: Int64, weights: Float32, cuts: Int64
) -> tuple[Int64, Int64, list[Factor]]:
    """Return the distinct ids of each batch, ascending, and its bags as matrices over these.

    Args:
        ids: of the entries of all bags, int32 ``[n]``.
        lengths: of the bags, ``[num_bags]``.
        weights: of the entries.
        cuts: the bags that each batch begins with, and how many there are, ``[num_batches + 1]``.

    Returns:
        The ids, int64; where each batch's begin, ``[num_batches + 1]``; a factor for each batch.
    """
    offsets = offsets_of(lengths)
    starts = offsets[cuts]
    sizes = np.diff(starts)
    of_bag = np.repeat(
        np.arange(len(lengths), dtype=np.int32) - np.repeat(cuts[:-1], np.diff(cuts)).astype("i4"),
        lengths,
    )
    # As in transpose: a pair packed into an integer, whose order is total. In batches one by one,
    # which fit into the processor's cache.
    first_of_batch = np.repeat(starts[:-1], sizes)
    bits = int(sizes.max(initial=0)).bit_length()
    dtype = np.uint32 if int(ids.max(initial=0)).bit_length() + bits <= 32 else np.uint64
    keys: npt.NDArray[np.unsignedinteger] = ids.astype(dtype)
    unsigned = keys.dtype.type
    keys <<= unsigned(bits)
    keys |= (np.arange(len(ids)) - first_of_batch).astype(dtype)
    for start, stop in pairwise(starts.tolist()):
        keys[start:stop].sort()
    order = (keys & unsigned((1 << bits) - 1)).astype(np.int64)
    order += first_of_batch
    keys >>= unsigned(bits)
    firsts = starts_of(keys, starts)
    row_cuts = np.searchsorted(firsts, starts)
    ends = np.append(firsts, len(ids))
    numbers = np.repeat(np.arange(len(firsts), dtype=np.int32), np.diff(ends))
    numbers -= np.repeat(row_cuts[:-1], sizes).astype(np.int32)
    columns = np.empty(len(ids), np.int32)
    columns[order] = numbers
    parts = [
        torch.from_numpy(values).split_with_sizes(sizes.tolist())
        for values in (columns, weights, of_bag[order], weights[order])
    ]
    factors = []
    for batch, (column, weight, bag, turned) in enumerate(zip(*parts, strict=True)):
        start, cut, row_cut = starts[batch], cuts[batch : batch + 2], row_cuts[batch : batch + 2]
        forward = (offsets[cut[0] : cut[1] + 1] - start).astype(np.int32)
        backward = (ends[row_cut[0] : row_cut[1] + 1] - start).astype(np.int32)
        factors.append(
            Factor(
                Matrix(column, torch.from_numpy(forward), weight),
                Matrix(bag, torch.from_numpy(backward), turned),
            )
        )
    return keys[firsts].astype(np.int64), row_cuts, factors
