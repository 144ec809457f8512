"""Bags in several files, for a split that is larger than memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.shard import Shard
from textcls.data.targets import Targets
from textcls.errors import InputError


class ShardedBags:
    """The bags of a split in several files, of which memory holds what is asked for.

    Bags are numbered through all shards. When it is made, no more than the first header is read;
    the rest is checked where it is read, and all of it by :meth:`verify`. Whatever reads raises
    :class:`~textcls.errors.InputError` where a shard is missing or damaged.

    Args:
        paths: of the shards, as :func:`~textcls.data.shard.save_shard` wrote them, at least one.
        sizes: how many bags and tokens each has.
        num_embeddings: token ids lie below it.
        ordered: whether the numbers of classes are ranks.

    Raises:
        InputError: the first shard is missing or damaged.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        sizes: Sequence[tuple[int, int]],
        num_embeddings: int | None = None,
        ordered: bool = False,
    ) -> None:
        self.num_embeddings, self.ordered = num_embeddings, ordered
        self.sizes = [(num_bags, num_tokens) for num_bags, num_tokens in sizes]
        self._shards = [
            Shard(path, *size, num_embeddings, ordered)
            for path, size in zip(paths, sizes, strict=True)
        ]
        # The number of the first bag of each shard, and how many bags there are.
        self._starts = list(accumulate((num_bags for num_bags, _ in self.sizes), initial=0))
        self._names = self._shards[0].names()

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def num_tokens(self) -> int:
        """How many token ids all bags hold together."""
        return sum(num_tokens for _, num_tokens in self.sizes)

    @property
    def lengths(self) -> Tensor:
        """Tokens per bag: int64 ``[num_bags]``."""
        return torch.cat([self._alike(shard).lengths() for shard in self._shards])

    @property
    def has_weights(self) -> bool:
        """Whether entries have weights."""
        return "weights" in self._names

    @cached_property
    def targets(self) -> Targets:
        """The labels, and what each bag weighs in the loss: in memory from here on."""
        return Targets.concatenate([self._alike(shard).targets() for shard in self._shards])

    def shards(self) -> Iterator[Bags]:
        """Yield the bags of one shard after another, mapped into memory while they are in use."""
        for shard in self._shards:
            yield self._alike(shard).mapped()

    def select(self, rows: Tensor) -> Bags:
        """Gather a few bags in any order, with repeats if wanted.

        Args:
            rows: int64 ``[n]`` of bag numbers, ``0 <= row < len(self)``.
        """
        distinct, places = torch.unique(rows, return_inverse=True)
        parts = [shard.mapped().select(own) for shard, own in self._by_shard(distinct)]
        return Bags.concatenate(parts or [self._shards[0].mapped().slice(0, 0)]).select(places)

    def slice(self, start: int, stop: int) -> Bags:
        """Return bags ``start`` to ``stop - 1``, in memory.

        Raises:
            ValueError: not ``0 <= start <= stop <= len(self)``.
        """
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"no bags {start} to {stop} among {len(self)}")
        return self.read(torch.arange(start, stop))

    def read(self, rows: Tensor, after: Bags | None = None) -> Bags:
        """Read bags into memory that is allocated once; of whole shards, no page stays mapped.

        Args:
            rows: int64 ``[n]`` of bag numbers, ascending, each once.
            after: bags that the result begins with.
        """
        if after is None:
            after = self.select(rows[:0])
        parts = list(self._by_shard(rows))
        lengths = [shard.lengths()[own] for shard, own in parts]
        offsets = torch.cat([after.offsets, *lengths])
        offsets[len(after) :].cumsum_(0)
        indices = torch.empty(int(offsets[-1]), dtype=torch.int32)
        weights = torch.empty(len(indices)) if self.has_weights else None
        stop = after.num_tokens
        _put(after, indices[:stop], None if weights is None else weights[:stop])
        for (shard, own), own_lengths in zip(parts, lengths, strict=True):
            start, stop = stop, stop + int(own_lengths.sum())
            room = indices[start:stop], None if weights is None else weights[start:stop]
            if len(own) == shard.num_bags:
                shard.read(*room)
            else:
                _put(shard.mapped().select(own), *room)
        targets = Targets.concatenate([after.targets, self.targets.select(rows)])
        return Bags.trusted(indices, offsets, targets, weights, after)

    def followed_by(self, other: ShardedBags) -> ShardedBags:
        """Return these bags and, after them, others over the same vocabulary."""
        paths = [shard.path for shard in (*self._shards, *other._shards)]
        sizes = [*self.sizes, *other.sizes]
        return ShardedBags(paths, sizes, self.num_embeddings, self.ordered)

    def verify(self) -> None:
        """Read all shards and compare them with their checksums."""
        for shard in self._shards:
            self._alike(shard).verify()

    def _by_shard(self, rows: Tensor) -> Iterator[tuple[Shard, Tensor]]:
        """Yield the shards that ascending bags are in, and those bags' numbers there."""
        cuts = torch.searchsorted(rows, torch.tensor(self._starts)).tolist()
        for shard, first, (start, stop) in zip(
            self._shards, self._starts, pairwise(cuts), strict=False
        ):
            if start < stop:
                yield self._alike(shard), rows[start:stop] - first

    def _alike(self, shard: Shard) -> Shard:
        """Check that a shard has the tensors that the first one has."""
        if shard.names() != self._names:
            raise InputError(
                f"{shard.path}: has other tensors than {self._shards[0].path.name}: remove its "
                "folder, and it is made anew"
            )
        return shard


# What training and tests take: all bags of a split.
Split: TypeAlias = Bags | ShardedBags


def in_memory(bags: Split, max_tokens: int = 1 << 25) -> Bags:
    """Return bags that are in memory: of sharded ones some, evenly spaced, if they are too many.

    Args:
        bags: of a split.
        max_tokens: of sharded ones about so many tokens at most.
    """
    if isinstance(bags, Bags):
        return bags
    count = min(len(bags), max(1, len(bags) * max_tokens // max(bags.num_tokens, 1)))
    return bags.select(torch.arange(count) * len(bags) // count)


def _put(bags: Bags, indices: Tensor, weights: Tensor | None) -> None:
    """Copy the entries of bags into given memory."""
    indices.copy_(bags.indices)
    if weights is not None and bags.weights is not None:
        weights.copy_(bags.weights)
