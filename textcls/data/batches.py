"""Batches: the bags of an epoch in a fresh random order, without a Python step per document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.composition import Composition, Items
from textcls.data.sharded import ShardedBags, Split
from textcls.data.transpose import Transpose, transpose
from textcls.data.windows import Window
from textcls.threads import made_ahead, usable_cpus

# Most batches for which bags are gathered and transposed in one go: enough that handing them from
# thread to thread costs nothing, few enough that the first batch is there at once.
GROUP = 16
# Most tokens of such a group, if it is of several batches: three groups are held at once, and what
# is made ahead must not grow with the batch size.
GROUP_TOKENS = 1 << 20

CPU = torch.device("cpu")

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


def batches(
    windows: Iterable[Window],
    device: torch.device = CPU,
    transposed: bool = True,
    composition: Composition | None = None,
) -> Iterator[Batch]:
    """Return ``bags.select(places)`` for the bags of each step of some windows.

    Where a core is free beside those that torch computes with, a thread makes them ahead.

    Args:
        windows: of an epoch, on one device.
        device: that of the windows.
        transposed: give each batch its transpose.
        composition: give each batch its items; on the windows' device.
    """

    def make(group: Group) -> list[Batch]:
        gathered = group.gathered()
        numbers = group.numbers
        with_positions = gathered.weights is not None or composition is not None
        made = []
        for start, stop in pairwise(group.cuts):
            batch = gathered.slice(start, stop)
            turned = items = None
            if transposed or composition is not None:
                turned = transpose(batch.indices, batch.offsets, with_positions)
            if composition is not None and turned is not None:
                items = composition.items(batch.num_tokens, turned)
            made.append(Batch(numbers[start:stop], batch, turned, items))
        return made

    return made_in_groups(make, windows, device)


@dataclass(frozen=True)
class Group:
    """Whole steps whose bags are gathered in one go.

    Attributes:
        window: that they are of.
        first, last: of its steps, the first one and the one after them.
    """

    window: Window
    first: int
    last: int

    @property
    def cuts(self) -> list[int]:
        """Where among the group's bags its steps begin, and where the last one ends."""
        cuts = self.window.cuts[self.first : self.last + 1]
        return [cut - cuts[0] for cut in cuts]

    @property
    def numbers(self) -> Tensor:
        """The numbers of its bags in their split, int64 ``[n]``."""
        return self.window.numbers_of(self._places)

    def gathered(self) -> Bags:
        """Return its bags."""
        return self.window.bags.select(self._places)

    @property
    def _places(self) -> Tensor:
        cuts = self.window.cuts
        return self.window.order[cuts[self.first] : cuts[self.last]]


def made_in_groups(
    make: Callable[[Group], list[_T]], windows: Iterable[Window], device: torch.device = CPU
) -> Iterator[_T]:
    """Yield what ``make`` returns for groups of whole steps of windows, ahead where it can.

    Args:
        make: of a group, something for each of its steps.
        windows: of an epoch.
        device: that they are on.
    """
    parts = _groups(windows)
    is_free = device.type != "cpu" or usable_cpus() > torch.get_num_threads()
    for group in made_ahead(make, parts) if is_free else map(make, parts):
        yield from group


def _groups(windows: Iterable[Window]) -> Iterator[Group]:
    """Cut windows into groups of whole steps, as many as are made at a time."""
    for window in windows:
        first, num_tokens = 0, 0
        for step, tokens in enumerate(window.tokens):
            is_full = step - first >= GROUP or num_tokens + tokens > GROUP_TOKENS
            if step > first and is_full:
                yield Group(window, first, step)
                first, num_tokens = step, 0
            num_tokens += tokens
        if window.tokens:
            yield Group(window, first, len(window.tokens))


def runs_of_bags(bags: Split, max_tokens: int = 1 << 20, max_bags: int = 1 << 14) -> Iterator[Bags]:
    """Cut bags, in their order, into runs of bounded size, to evaluate at one go each.

    A bag longer than ``max_tokens`` makes a run of its own.
    """
    if isinstance(bags, ShardedBags):
        for shard in bags.shards():
            yield from runs_of_bags(shard, max_tokens, max_bags)
        return
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
