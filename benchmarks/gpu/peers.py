"""Training by plain ``nn.EmbeddingBag``, as people write it: what a GPU's figures stand beside.

Same classifier, optimizer and batch size as textcls's rows; ids are int64, as in torch's examples.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from textcls.data.bags import Bags
from textcls.model.pooling import INIT_RANGE

LR = 0.1


class Plain:
    """The data on the device; each batch's bags are gathered there.

    The host knows how many tokens a batch has, so that nothing waits for the device here, either.

    Args:
        bags: on the CPU.
        device: where it trains.
        batch_size: bags a step.
        dim: numbers per token.
        mode: mean, sum or max.
        sparse: whether the table's gradient is sparse; torch has that for mean and sum.
    """

    def __init__(
        self, bags: Bags, device: torch.device, batch_size: int, dim: int, mode: str, sparse: bool
    ) -> None:
        assert bags.num_embeddings is not None
        torch.manual_seed(0)
        self.device, self.batch_size = device, batch_size
        self.num_steps = -(-len(bags) // batch_size)
        self.embedding = nn.EmbeddingBag(
            bags.num_embeddings, dim, mode=mode, sparse=sparse, include_last_offset=True
        )
        nn.init.uniform_(self.embedding.weight, -INIT_RANGE, INIT_RANGE)
        self.embedding.to(device)
        self.linear = nn.Linear(dim, int(bags.labels.max()) + 1).to(device)
        self.optimizer = torch.optim.Adagrad(
            [*self.embedding.parameters(), *self.linear.parameters()], LR
        )
        self._take(bags)

    def _take(self, bags: Bags) -> None:
        self.lengths = bags.lengths
        self.indices = bags.indices.long().to(self.device)
        self.starts, self.labels = bags.offsets.to(self.device), bags.labels.to(self.device)

    def epoch(self) -> Iterator[None]:
        """Train on all bags in a random order; yield after each step."""
        for batch in self._batches():
            self._step(*batch)
            yield

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield indices, offsets and labels."""
        order = torch.randperm(len(self.lengths))
        counts = [int(part.sum()) for part in torch.split(self.lengths[order], self.batch_size)]
        groups = torch.split(order.to(self.device), self.batch_size)
        for rows, count in zip(groups, counts, strict=True):
            starts = self.starts[rows]
            lengths = self.starts[rows + 1] - starts
            offsets = F.pad(lengths.cumsum(0), (1, 0))
            shift = torch.repeat_interleave(starts - offsets[:-1], lengths, output_size=count)
            places = torch.arange(count, device=self.device) + shift
            yield self.indices[places], offsets, self.labels[rows]

    def _step(self, indices: Tensor, offsets: Tensor, labels: Tensor) -> None:
        loss = F.cross_entropy(self.linear(self.embedding(indices, offsets)), labels)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()


def collate(batch: list[tuple[Tensor, int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Join bags: indices, offsets, labels."""
    rows, labels = zip(*batch, strict=True)
    offsets = torch.tensor([0, *itertools.accumulate(len(row) for row in rows)])
    return torch.cat(rows), offsets, torch.tensor(labels)


class Loading(Plain):
    """The data as a list of tensors; a ``DataLoader`` makes the batches.

    Args:
        bags, device, batch_size, dim, mode, sparse: as of :class:`Plain`.
        workers: processes of the loader; they stay from epoch to epoch.
    """

    def __init__(
        self, bags: Bags, device: torch.device, batch_size: int, dim: int, mode: str, sparse: bool,
        workers: int,
    ) -> None:  # fmt: skip
        self.workers = workers
        super().__init__(bags, device, batch_size, dim, mode, sparse)

    def _take(self, bags: Bags) -> None:
        rows = torch.split(bags.indices.long(), bags.lengths.tolist())
        data: Any = list(zip(rows, bags.labels.tolist(), strict=True))
        self.loader: DataLoader[Any] = DataLoader(
            data, self.batch_size, shuffle=True, collate_fn=collate, num_workers=self.workers,
            pin_memory=self.device.type == "cuda", persistent_workers=self.workers > 0,
        )  # fmt: skip

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for indices, offsets, labels in self.loader:
            yield self._there(indices), self._there(offsets), self._there(labels)

    def _there(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, non_blocking=True)
