"""The order of an epoch: which bags each of its steps takes, as a pure function.

Of a split in several shards, an epoch is a sequence of *windows*: some shards each, whose bags are
shuffled among each other. Which shards these are is drawn anew in each epoch, so that a bag meets
others each time. All windows one after another are the epoch's sequence; a step takes a run of it,
which may begin in one window and end in another::

    shards      3  1 │ 0  4 │ 2            in an order that is drawn, as many as a window bears
    sequence   ──────┼──────┼────
    steps      0   1  2   3   4   5

Of bags that are in memory as a whole, there is one window.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# Tokens of a window at most: 512 MiB of ids, beside as much for the next window.
WINDOW_TOKENS = 1 << 27
# A window has about so many shards, whose size the memory decides in which they are made: it must
# not depend on where a training goes on.
WINDOW_SHARDS = 8


def epoch_order(num_bags: int, seed: int, epoch: int, window: int = 0) -> Tensor:
    """Return a permutation, int64 ``[num_bags]``, that depends on seed, epoch and window only.

    It is drawn on the CPU, so that it is the same on every device, and apart from torch's global
    generator, so that an interrupted epoch can be taken up where it stopped.
    """
    numbers = [seed, epoch, window] if window else [seed, epoch]
    return _drawn(num_bags, np.random.SeedSequence(numbers))


def _drawn(number: int, seeds: np.random.SeedSequence) -> Tensor:
    state = seeds.generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    return torch.randperm(number, generator=generator)


@dataclass(frozen=True)
class Sampler:
    """What a training goes through in its epochs, and which part of it one of its processes has.

    Args:
        sizes: how many bags and tokens each shard of the split has.
        batch_size: bags a step, of all processes together.
        seed: of the training.
        rank: of this process, from 0.
        world_size: how many processes train together.
        window_tokens: that a window may have, unless it is of one shard; None: what the sizes say.
    """

    sizes: Sequence[tuple[int, int]]
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    window_tokens: int | None = None

    def epoch(self, number: int) -> Epoch:
        """Return an epoch; ``number`` from 0."""
        spans = self._spans(number)
        orders: Callable[[int], Tensor]
        if len(spans) == 1:  # drawn at once, while a GPU may still be at work on the epoch before
            only = epoch_order(spans[0].num_bags, self.seed, number)
            orders = [only].__getitem__
        else:

            def orders(window: int) -> Tensor:
                return epoch_order(spans[window].num_bags, self.seed, number, window)

        return Epoch(number, self.batch_size, spans, orders, self.rank, self.world_size)

    def _spans(self, epoch: int) -> list[Span]:
        """Cut the shards of an epoch into windows."""
        starts = np.cumsum([0, *(num_bags for num_bags, _ in self.sizes)]).tolist()
        if len(self.sizes) == 1:
            order = [0]
        else:
            seeds = np.random.SeedSequence([self.seed, epoch], spawn_key=(0,))
            order = _drawn(len(self.sizes), seeds).tolist()
        most = self.window_tokens
        if most is None:
            most = min(WINDOW_TOKENS, WINDOW_SHARDS * max(tokens for _, tokens in self.sizes))
        found: list[list[int]] = []
        room = 0
        for shard in order:
            tokens = self.sizes[shard][1]
            if not found or tokens > room:
                found.append([])
                room = most
            found[-1].append(shard)
            room -= tokens
        spans, start = [], 0
        for shards in found:
            ranges = tuple(range(starts[i], starts[i + 1]) for i in sorted(shards))
            spans.append(Span(start, ranges))
            start = spans[-1].stop
        return spans


@dataclass(frozen=True)
class Span:
    """A window's place in an epoch.

    Attributes:
        start: where in the epoch's sequence its bags begin.
        bags: their numbers in the split, shard by shard, ascending.
    """

    start: int
    bags: tuple[range, ...]

    @property
    def num_bags(self) -> int:
        """How many bags it has."""
        return sum(map(len, self.bags))

    @property
    def stop(self) -> int:
        """Where in the epoch's sequence its bags end."""
        return self.start + self.num_bags

    @property
    def numbers(self) -> Tensor:
        """Its bags' numbers in the split, ascending: int64 ``[num_bags]``."""
        return torch.cat([torch.arange(part.start, part.stop) for part in self.bags])


class Epoch:
    """The order of an epoch, as one process of a training has it.

    Of each step, the processes have one run of bags after another, whose lengths differ by one at
    most.

    Args:
        number: of the epoch, from 0.
        batch_size: bags a step, of all processes together.
        spans: its windows, one after another.
        orders: of a window's number, its order: int64 ``[num_bags]``, a permutation of its bags.
        rank: of this process, from 0.
        world_size: how many processes train together.
    """

    def __init__(
        self,
        number: int,
        batch_size: int,
        spans: Sequence[Span],
        orders: Callable[[int], Tensor],
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.number, self.batch_size, self.spans = number, batch_size, spans
        self.rank, self.world_size, self._orders = rank, world_size, orders
        self.num_bags = spans[-1].stop
        self.num_steps = -(-self.num_bags // batch_size)

    @classmethod
    def of(cls, order: Tensor, batch_size: int, number: int = 0) -> Epoch:
        """Return an epoch of one window in a given order.

        Args:
            order: int64 ``[num_bags]``, a permutation, on the CPU.
            batch_size: bags a step.
            number: of the epoch, from 0.
        """
        return cls(number, batch_size, [Span(0, (range(len(order)),))], [order].__getitem__)

    @property
    def order(self) -> Tensor:
        """The order of the bags of an epoch of one window, int64 ``[num_bags]``."""
        assert len(self.spans) == 1
        return self._orders(0)

    def batch(self, step: int) -> Tensor:
        """Return the bags of a step that this process has, by their numbers in the split, int64."""
        parts = []
        for window in range(self.first_window(step), len(self.spans)):
            numbers = self.spans[window].numbers[self.places(window, step)]
            parts.append(numbers)
            if self.steps_until(window) > step:
                break
        (size,) = self.sizes(step, step + 1)
        return torch.cat(parts)[:size]

    def first_window(self, step: int) -> int:
        """Return the number of the window in which a step begins; that of the last if none does."""
        starts = [span.start for span in self.spans]
        return int(np.searchsorted(starts, step * self.batch_size, side="right")) - 1

    def steps_until(self, window: int) -> int:
        """Return how many steps have all their bags in the windows up to this one."""
        if window == len(self.spans) - 1:
            return self.num_steps
        return self.spans[window].stop // self.batch_size

    def places(self, window: int, first_step: int = 0) -> Tensor:
        """Return the bags of a window in the order in which this process takes them.

        Args:
            window: its number.
            first_step: bags of the steps before it are left out.

        Returns:
            int64 ``[n]``, places among the window's bags.
        """
        span, order = self.spans[window], self._orders(window)
        first = min(max(first_step * self.batch_size - span.start, 0), span.num_bags)
        order = order[first:]
        if self.world_size == 1:
            return order
        positions = torch.arange(span.start + first, span.stop)
        steps = positions.div(self.batch_size, rounding_mode="floor")
        within = positions - steps * self.batch_size
        sizes = (self.num_bags - steps * self.batch_size).clamp(max=self.batch_size)
        start, stop = (sizes * rank // self.world_size for rank in (self.rank, self.rank + 1))
        return order[(start <= within) & (within < stop)]

    def sizes(self, first_step: int, last_step: int) -> list[int]:
        """Return how many bags this process has of each step.

        Args:
            first_step: the first of the steps.
            last_step: the one after them.
        """
        whole = self._share(self.batch_size)
        sizes = [whole] * (last_step - first_step)
        if sizes and last_step == self.num_steps:
            sizes[-1] = self._share(self.num_bags - (last_step - 1) * self.batch_size)
        return sizes

    def _share(self, size: int) -> int:
        """Return how many bags of a step of ``size`` bags this process has."""
        return size * (self.rank + 1) // self.world_size - size * self.rank // self.world_size
