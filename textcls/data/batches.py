"""Batches: the bags of an epoch in a fresh random order, without a Python step per document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.composition import Composition, Items
from textcls.data.transpose import Transpose, transpose
from textcls.threads import made_ahead, usable_cpus

# Most batches for which bags are gathered and transposed in one go: enough that handing them from
# thread to thread costs nothing, few enough that the first batch is there at once.
GROUP = 16
# Most tokens of such a group, if it is of several batches: three groups are held at once, and what
# is made ahead must not grow with the batch size.
GROUP_TOKENS = 1 << 20

_T = TypeVar("_T")


@dataclass(frozen=True)
class Batch:
    """What a training step takes.

    Attributes:
        rows: int64 ``[num_bags]``, the bags' numbers in their split.
        bags: those bags.
        transposed: their transpose, where the backward pass wants it.
        items: what they are over composed vectors, where words are composed.
    """

    rows: Tensor
    bags: Bags
    transposed: Transpose | None
    items: Items | None = None


def epoch_order(num_bags: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation, int64 ``[num_bags]``, that depends on seed and epoch only.

    It is drawn on the CPU, so that it is the same on every device, and apart from torch's global
    generator, so that an interrupted epoch can be taken up where it stopped.
    """
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    return torch.randperm(num_bags, generator=generator)


def batches(
    bags: Bags,
    order: Tensor,
    batch_size: int,
    skip: int = 0,
    transposed: bool = True,
    composition: Composition | None = None,
) -> Iterator[Batch]:
    """Return ``bags.select(rows)`` for the rows of each batch of ``order``.

    Where a core is free beside those that torch computes with, a thread makes them ahead.

    Args:
        bags: the whole split.
        order: int64 ``[n]`` bag numbers, on the bags' device.
        batch_size: bags a batch; the last one may be smaller.
        skip: so many batches are left out at the beginning.
        transposed: give each batch its transpose.
        composition: give each batch its items; on the bags' device.
    """
    with_positions = bags.weights is not None or composition is not None

    def make(group: Tensor) -> list[Batch]:
        gathered = bags.select(group)
        made = []
        for start in range(0, len(group), batch_size):
            stop = min(start + batch_size, len(group))
            batch = gathered.slice(start, stop)
            turned = items = None
            if transposed or composition is not None:
                turned = transpose(batch.indices, batch.offsets, with_positions)
            if composition is not None and turned is not None:
                items = composition.items(batch.num_tokens, turned)
            made.append(Batch(group[start:stop], batch, turned, items))
        return made

    return made_in_groups(make, bags, order, batch_size, skip)


def made_in_groups(
    make: Callable[[Tensor], list[_T]], bags: Bags, order: Tensor, batch_size: int, skip: int
) -> Iterator[_T]:
    """Yield what ``make`` returns for groups of whole batches of ``order``, ahead where it can.

    Args:
        make: of a group's bag numbers, something for each of its batches.
        bags: the whole split.
        order: int64 ``[n]`` bag numbers, on the bags' device.
        batch_size: bags a batch; the last one may be smaller.
        skip: so many batches are left out at the beginning.
    """
    parts = _groups(bags, order[skip * batch_size :], batch_size)
    is_free = bags.device.type != "cpu" or usable_cpus() > torch.get_num_threads()
    for group in made_ahead(make, parts) if is_free else map(make, parts):
        yield from group


def _groups(bags: Bags, order: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Cut an order of bags into groups of whole batches, as many as are made at a time."""
    starts = range(0, len(order), batch_size)
    if not starts:
        return
    lengths = bags.lengths.cpu().numpy()[order.cpu().numpy()]
    first, num_tokens = 0, 0
    for start, tokens in zip(starts, np.add.reduceat(lengths, starts).tolist(), strict=True):
        is_full = start - first >= GROUP * batch_size or num_tokens + tokens > GROUP_TOKENS
        if start > first and is_full:
            yield order[first:start]
            first, num_tokens = start, 0
        num_tokens += tokens
    yield order[first:]


def runs_of_bags(bags: Bags, max_tokens: int = 1 << 20, max_bags: int = 1 << 14) -> Iterator[Bags]:
    """Cut bags, in their order, into runs of bounded size, to evaluate at one go each.

    A bag longer than ``max_tokens`` makes a run of its own.
    """
    if bags.num_tokens <= max_tokens and 0 < len(bags) <= max_bags:
        yield bags  # of a single text, cutting takes as long as looking it up
        return
    offsets = bags.offsets.cpu()
    start = 0
    while start < len(bags):
        fits = int(torch.searchsorted(offsets, offsets[start] + max_tokens, right=True)) - 1
        stop = min(max(fits, start + 1), start + max_bags, len(bags))
        yield bags.slice(start, stop)
        start = stop
