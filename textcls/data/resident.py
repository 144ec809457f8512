"""A split on a GPU: kept there whole where it fits, its epochs laid out there for the kernels."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.threads import made_ahead

# The label of a slot that no bag is in: torch's losses leave it out.
NO_BAG = -100
# Device memory that laying out a token takes at its peak, in bytes: counted with the sort's own,
# and rounded up.
LAYOUT_BYTES = 128
# Tokens laid out at once: enough that what a layout costs by itself is nothing.
MAX_CHUNK = 1 << 25


class Resident:
    """The bags of a split, laid out on a device step by step, a chunk of an epoch at a time.

    Everything stands in tensors that never move, so that a step captured in a CUDA graph finds
    each chunk where the last one was. The host only counts: it knows every bag's length, and asks
    nothing of the device.

    Bags stand in *slots*, ``batch_size`` of them a step; those that the last, smaller batch leaves
    free hold bags without tokens, labelled :data:`NO_BAG`. Of each slot it is noted where its
    tokens begin in ``indices``: they are read where they are, in the whole split's indices if
    these fit on the device, else in the chunk's, which follow from the host while the chunk
    before is trained on.

    A step's *entries* are its tokens sorted by token id, bags ascending: the batch turned around
    (:class:`~textcls.data.transpose.Transpose`), which one sort gives for all steps of a chunk.
    Entries of one token are a *row*::

        step 0   bags [1, 2, 4] [4, 3]     tokens 1  2  3  4
                                           bags   0  0  1  0  1
                                           rows   0  1  2  3  3      row_starts 0 1 2 3 (5)

    Args:
        bags: the split, on the CPU or on ``device``.
        num_embeddings: token ids lie below it.
        batch_size: bags a step.
        device: where the steps run.
        free_bytes: what may be used of the device's memory; None: its half that is free.

    Attributes:
        indices: int32, the token ids that ``starts`` point into.
        starts: int64 ``[num_slots]``, where a slot's tokens begin.
        lengths: int32 ``[num_slots]``, how many they are.
        labels: int64 ``[num_slots]``.
        bags: int32 ``[num_entries]``, of each entry its bag in the step.
        rows: int32 ``[num_entries]``, of each entry its row in the chunk.
        row_tokens: int32 ``[num_rows]``, of each row its token.
        row_starts: int32 ``[num_rows + 1]``, of each row its first entry.
        step_entries: int32 ``[num_steps + 1]``, of each step its first entry.
        step_rows: int32 ``[num_steps + 1]``, of each step its first row.
        num_steps: steps an epoch.
        max_tokens: no step has more tokens.
        mean_length: tokens of a bag, rounded down.
        quiet: is held by whoever the device must not be called beside.
        is_whole: whether the whole split stays on the device.
    """

    def __init__(
        self,
        bags: Bags,
        num_embeddings: int,
        batch_size: int,
        device: torch.device,
        free_bytes: int | None = None,
    ) -> None:
        self.batch_size, self.device = batch_size, device
        self._num_embeddings = num_embeddings
        self._host_lengths: npt.NDArray[np.int64] = bags.lengths.cpu().numpy()
        self.num_steps = -(-len(bags) // batch_size)
        longest = np.sort(self._host_lengths)[-batch_size:]
        self.max_tokens = int(longest.sum())
        self.mean_length = bags.num_tokens // max(len(bags), 1)
        self.quiet = threading.Lock()

        if free_bytes is None:
            torch.cuda.empty_cache()  # what torch keeps of earlier trainings is free as well
            free_bytes = torch.cuda.mem_get_info(device)[0] // 2
        split_bytes = 4 * bags.num_tokens + 16 * len(bags)
        self.is_whole = bags.device.type != "cpu" or split_bytes <= free_bytes // 2
        if self.is_whole:
            free_bytes -= split_bytes
        room = min(bags.num_tokens, free_bytes // LAYOUT_BYTES, MAX_CHUNK)
        self._capacity = max(room, self.max_tokens)

        self._split = bags.to(device) if self.is_whole else bags
        num_slots, capacity = self.num_steps * batch_size, self._capacity
        self.indices = self._split.indices if self.is_whole else self._int32(capacity)
        self.starts = torch.zeros(num_slots, dtype=torch.int64, device=device)
        self.lengths = self._int32(num_slots)
        self.labels = torch.zeros(num_slots, dtype=torch.int64, device=device)
        self.bags, self.rows = self._int32(capacity), self._int32(capacity)
        self.row_tokens, self.row_starts = self._int32(capacity), self._int32(capacity + 1)
        self.step_entries = self._int32(self.num_steps + 1)
        self.step_rows = self._int32(self.num_steps + 1)

    def _int32(self, size: int) -> Tensor:
        return torch.zeros(size, dtype=torch.int32, device=self.device)

    def chunks(self, order: Tensor, first_step: int = 0) -> Iterator[tuple[range, list[int]]]:
        """Lay out an epoch from ``first_step`` on, chunk by chunk.

        Args:
            order: int64 ``[num_bags]``, a permutation of the bags, on the CPU.
            first_step: so many batches are left out at the beginning.

        Yields:
            The steps that are laid out now, in slots from 0 on, and how many tokens each has.
        """
        ends = np.cumsum(self._host_lengths[order.numpy()])[self.batch_size - 1 :: self.batch_size]
        tokens = np.diff(ends, prepend=0).tolist()
        if len(tokens) < self.num_steps:  # the last batch is a smaller one
            tokens.append(int(self._host_lengths.sum()) - sum(tokens))
        chunks = self._cut(tokens, first_step)
        rows = [order[c.start * self.batch_size : c.stop * self.batch_size] for c in chunks]
        found = self._taken(rows) if self.is_whole else self._streamed(rows)
        for steps, (bags, part) in zip(chunks, found, strict=True):
            counts = tokens[steps.start : steps.stop]
            self._lay_out(bags, part, sum(counts))
            yield steps, counts

    def _cut(self, tokens: list[int], first_step: int) -> list[range]:
        """Cut an epoch into runs of steps that have room."""
        chunks, start, held = [], first_step, 0
        for step in range(first_step, len(tokens)):
            if held + tokens[step] > self._capacity:
                chunks.append(range(start, step))
                start, held = step, 0
            held += tokens[step]
        if start < len(tokens):
            chunks.append(range(start, len(tokens)))
        return chunks

    def _taken(self, rows: list[Tensor]) -> Iterator[tuple[Bags, Tensor]]:
        """Take the bags of each chunk from the split, which is there."""
        for part in rows:
            if self.device.type == "cuda":
                part = part.pin_memory()  # so that the copy is not waited for
            yield self._split, part.to(self.device, non_blocking=True)

    def _streamed(self, rows: list[Tensor]) -> Iterator[tuple[Bags, Tensor]]:
        """Bring the bags of each chunk while the one before is trained on.

        A thread gathers them and begins their copy, on a stream of its own.
        """
        side: torch.cuda.Stream | None = None
        if self.device.type == "cuda":
            side = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

        def bring(part: Tensor) -> tuple[Bags, torch.cuda.Event | None]:
            gathered = self._split.select(part)
            if side is None:
                return gathered.to(self.device), None
            with self.quiet, torch.cuda.stream(side):
                there = gathered.pin_memory().to(self.device, non_blocking=True)
                return there, side.record_event()

        for bags, arrived in made_ahead(bring, rows, ahead=1):
            if arrived is not None:
                current = torch.cuda.current_stream(self.device)
                current.wait_event(arrived)
                for tensor in (bags.indices, bags.offsets, bags.labels):
                    tensor.record_stream(current)
            self.indices[: bags.num_tokens] = bags.indices
            yield bags, torch.arange(len(bags), device=self.device)

    def _lay_out(self, bags: Bags, rows: Tensor, num_tokens: int) -> None:
        """Fill the tensors for the steps that bags ``rows`` of ``bags`` make.

        Args:
            bags: on the device.
            rows: int64 ``[n]``, on the device.
            num_tokens: of those bags together: the host knows it.
        """
        num_bags, size = len(rows), self.batch_size
        num_steps = -(-num_bags // size)
        starts = bags.offsets[rows]
        lengths = bags.offsets[rows + 1] - starts
        self.starts[:num_bags] = starts
        self.lengths.zero_()
        self.lengths[:num_bags] = lengths
        self.labels.fill_(NO_BAG)
        self.labels[:num_bags] = bags.labels[rows]
        if not num_tokens:
            self.step_entries.zero_()
            self.step_rows.zero_()
            return

        # Token by token: the slot it is in, and where its id stands.
        ends = torch.zeros(num_bags + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(lengths, 0, out=ends[1:])
        slots = torch.repeat_interleave(
            torch.arange(num_bags, dtype=torch.int32, device=self.device),
            lengths,
            output_size=num_tokens,
        )
        places = torch.arange(num_tokens, device=self.device)
        places += (starts - ends[:-1])[slots]
        tokens = bags.indices[places]
        # Sorted by step and token; sort's stability keeps the bags of a token ascending.
        fits = num_steps * self._num_embeddings < 2**31
        kind = torch.int32 if fits else torch.int64  # a sort takes half as long by int32
        keys = (slots // size).to(kind).mul_(self._num_embeddings).add_(tokens)
        keys, by_token = keys.sort(stable=True)
        self.bags[:num_tokens] = (slots % size)[by_token]

        begins = torch.ones(num_tokens, dtype=torch.bool, device=self.device)
        torch.ne(keys[1:], keys[:-1], out=begins[1:])
        begun = torch.zeros(num_tokens + 1, dtype=torch.int64, device=self.device)
        torch.cumsum(begins, 0, out=begun[1:])  # rows begun before each entry
        self.rows[:num_tokens] = begun[1:] - 1
        # Beyond the last row stands where its entries end.
        row_starts = begins.nonzero_static(size=num_tokens + 1, fill_value=num_tokens)[:, 0]
        self.row_starts[: num_tokens + 1] = row_starts
        first_keys = keys[row_starts[:num_tokens].clamp(max=num_tokens - 1)]
        self.row_tokens[:num_tokens] = first_keys % self._num_embeddings

        first_bags = torch.arange(num_steps + 1, device=self.device) * size
        step_entries = ends[first_bags.clamp_(max=num_bags)]
        self.step_entries[: num_steps + 1] = step_entries
        self.step_rows[: num_steps + 1] = begun[step_entries]
