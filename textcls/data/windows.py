"""Windows: the bags of an epoch as they come into memory, one part of a split after another."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.sampler import Epoch
from textcls.data.sharded import ShardedBags, Split


@dataclass(frozen=True, eq=False)
class Window:
    """Some bags of a split and the steps that are made of them.

    Attributes:
        bags: in memory.
        order: int64 ``[n]``, places among ``bags``, on their device: those of one step after
            another.
        cuts: where in ``order`` steps begin, and where the last one ends.
        tokens: of each step.
        numbers: int64 ``[len(bags)]``, on their device: the bags' numbers in their split; None:
            their places.
    """

    bags: Bags
    order: Tensor
    cuts: list[int]
    tokens: list[int]
    numbers: Tensor | None = None

    @classmethod
    def of(
        cls, bags: Bags, order: Tensor, sizes: list[int], numbers: Tensor | None = None
    ) -> Window:
        """Return the window of steps that have so many bags each."""
        cuts = np.append(0, np.cumsum(sizes, dtype=np.int64))
        lengths = bags.lengths.cpu().numpy()[order.numpy()]
        tokens = np.diff(np.append(0, np.cumsum(lengths))[cuts])
        order = order.to(bags.device)
        return cls(bags, order, cuts.tolist(), tokens.tolist(), numbers)

    def to(self, device: torch.device) -> Window:
        """Return it on a device (itself where it is there already)."""
        if self.order.device == device:
            return self
        numbers = None if self.numbers is None else self.numbers.to(device)
        return Window(self.bags.to(device), self.order.to(device), self.cuts, self.tokens, numbers)

    def numbers_of(self, places: Tensor) -> Tensor:
        """Return the numbers in their split of the bags at some places."""
        return places if self.numbers is None else self.numbers[places]


def windows(bags: Split, epoch: Epoch, first_step: int = 0) -> Iterator[Window]:
    """Return the windows of an epoch, from the one on in which a step begins.

    Of sharded bags, a thread reads the next window while one is in use: two are in memory at once.
    Of a step that begins in one window and ends in the next, the bags of the first are kept.

    Args:
        bags: the split, whose sampler ``epoch`` is of.
        epoch: its order.
        first_step: the steps before it are left out.

    Raises:
        InputError: a shard is missing or damaged.
    """
    if isinstance(bags, Bags):
        sizes = epoch.sizes(first_step, epoch.num_steps)
        yield Window.of(bags, epoch.places(0, first_step), sizes)
        return
    reader = _Reader(bags, epoch, first_step)
    numbers = range(epoch.first_window(first_step), len(epoch.spans))
    yield from _read_ahead(reader.read, numbers)


def in_order(bags: Bags, order: Tensor, batch_size: int, first_step: int = 0) -> Iterator[Window]:
    """Return the one window of bags that are taken in a given order.

    Args:
        bags: in memory.
        order: int64 ``[n]``, numbers of bags, on the CPU.
        batch_size: bags a step; the last one may have less.
        first_step: the steps before it are left out.
    """
    return windows(bags, Epoch.of(order, batch_size), first_step)


def _read_ahead(read: Callable[[int], Window], numbers: Iterable[int]) -> Iterator[Window]:
    """Yield windows, each read by a thread while the one before it is in use.

    It begins when the one before that is no longer in use, or else when the window is asked for:
    two are in memory at once.
    """
    is_over = False

    def read_when(number: int, may_begin: threading.Event) -> Window | None:
        may_begin.wait()
        return None if is_over else read(number)

    may_begin, before, waiting = threading.Event(), None, None
    pool = ThreadPoolExecutor(1, thread_name_prefix="made-ahead")
    try:
        for number in (*numbers, None):
            may_begin.set()
            window = None if waiting is None else waiting.result()
            may_begin = threading.Event()
            _when_gone(before, may_begin.set)
            before = None if window is None else weakref.ref(window.bags)
            waiting = None if number is None else pool.submit(read_when, number, may_begin)
            if window is not None:
                yield window
    finally:  # also when the rest is not wanted any more
        is_over = True
        may_begin.set()
        pool.shutdown(cancel_futures=True)


def _when_gone(bags: weakref.ref[Bags] | None, call: Callable[[], None]) -> None:
    """Call a function when bags are no longer in memory: at once where they are not."""
    there = None if bags is None else bags()
    if there is None:
        call()
    else:
        weakref.finalize(there, call)


class _Reader:
    """Reads the windows of an epoch, one after another."""

    def __init__(self, bags: ShardedBags, epoch: Epoch, first_step: int) -> None:
        self.bags, self.epoch, self.first_step = bags, epoch, first_step
        # What is left of the windows so far: the bags of the step that the next one is to end.
        self._step, self._rest = first_step, bags.select(torch.zeros(0, dtype=torch.int64))
        self._numbers = torch.zeros(0, dtype=torch.int64)

    def read(self, window: int) -> Window:
        """Return a window; ``window``: its number, one more each time."""
        epoch = self.epoch
        numbers, places = epoch.spans[window].numbers, epoch.places(window, self.first_step)
        if epoch.world_size > 1:
            own = places.sort().values
            numbers, places = numbers[own], torch.searchsorted(own, places)
        bags = self.bags.read(numbers, self._rest)
        first = len(self._rest)
        order = torch.cat([torch.arange(first), places + first])
        numbers = torch.cat([self._numbers, numbers])

        until = epoch.steps_until(window)
        found = Window.of(bags, order, epoch.sizes(self._step, until), numbers)
        left = order[found.cuts[-1] :]
        self._step, self._rest, self._numbers = until, bags.select(left), numbers[left]
        return found
