"""Batches: the bags of an epoch in a fresh random order, without a Python step per document."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from textcls.data.bags import Bags

# Bags are gathered for so many batches at a time: the gather's fixed cost disappears, and the
# copy stays small beside the corpus.
GROUP = 64


def epoch_order(num_bags: int, seed: int, epoch: int) -> Tensor:
    """Return a permutation, int64 ``[num_bags]``, that depends on seed and epoch only.

    It is drawn on the CPU, so that it is the same on every device, and apart from torch's global
    generator, so that an interrupted epoch can be taken up where it stopped.
    """
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0]))
    return torch.randperm(num_bags, generator=generator)


def batches(
    bags: Bags, order: Tensor, batch_size: int, skip: int = 0
) -> Iterator[tuple[Tensor, Bags]]:
    """Yield ``(rows, bags.select(rows))`` for each batch of ``order``.

    Args:
        bags: the whole split.
        order: int64 ``[n]`` bag numbers, on the bags' device.
        batch_size: bags a batch; the last one may be smaller.
        skip: so many batches are left out at the beginning.
    """
    for group in torch.split(order[skip * batch_size :], batch_size * GROUP):
        gathered = bags.select(group)
        for start in range(0, len(group), batch_size):
            stop = min(start + batch_size, len(group))
            yield group[start:stop], gathered.slice(start, stop)


def runs_of_bags(bags: Bags, max_tokens: int = 1 << 20, max_bags: int = 1 << 14) -> Iterator[Bags]:
    """Cut bags, in their order, into runs of bounded size, to evaluate at one go each.

    A bag longer than ``max_tokens`` makes a run of its own.
    """
    offsets = bags.offsets.cpu()
    start = 0
    while start < len(bags):
        fits = int(torch.searchsorted(offsets, offsets[start] + max_tokens, right=True)) - 1
        stop = min(max(fits, start + 1), start + max_bags, len(bags))
        yield bags.slice(start, stop)
        start = stop
