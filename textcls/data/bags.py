"""Bags: many documents as one flat run of token ids and the offsets that split it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Bags:
    """Documents as flat token ids plus offsets, with a label each.

    The layout that ``nn.EmbeddingBag(include_last_offset=True)`` reads::

        bag             0        1          2 (empty)
                     ┌───────┬──────────┐
        indices      │1  2  4│4  3  2  9│                 int32  [num_tokens]
                     └───────┴──────────┘
        offsets       0       3          7   7            int64  [num_bags + 1]
        labels        1       0          1                int64  [num_bags]

    Bag ``b`` is ``indices[offsets[b]:offsets[b + 1]]``; an empty bag pools to zeros.

    torch accepts a wrong last offset in silence (the last bag is then cut short or padded with
    garbage), so everything is checked here, where bags are made.

    Args:
        indices: int32 ``[num_tokens]``, token ids, ``0 <= id < num_embeddings``.
        offsets: int64 ``[num_bags + 1]``, first 0, never falling, last ``len(indices)``.
        labels: int64 ``[num_bags]``, class numbers.

    Attributes:
        num_embeddings: where given, the ids were checked to lie below it.

    Raises:
        ValueError: a shape, dtype, device or value that breaks the above.
    """

    indices: Tensor
    offsets: Tensor
    labels: Tensor
    num_embeddings: int | None = None

    def __post_init__(self) -> None:
        indices, offsets, labels = self.indices, self.offsets, self.labels
        for name, tensor, dtype in (
            ("indices", indices, torch.int32),
            ("offsets", offsets, torch.int64),
            ("labels", labels, torch.int64),
        ):
            if tensor.dtype != dtype or tensor.dim() != 1:
                raise ValueError(
                    f"{name} must be {dtype} of one dimension, "
                    f"not {tensor.dtype} of shape {tuple(tensor.shape)}"
                )
        if len({indices.device, offsets.device, labels.device}) > 1:
            raise ValueError("indices, offsets and labels must be on one device")
        if len(offsets) != len(labels) + 1:
            raise ValueError(
                f"{len(labels)} labels need {len(labels) + 1} offsets, not {len(offsets)}"
            )
        # By NumPy: of a single text, torch's fixed cost by call would be most of the time.
        places, classes = offsets.cpu().numpy(), labels.cpu().numpy()
        if places[0] != 0:
            raise ValueError(f"the first offset must be 0, not {places[0]}")
        if places[-1] != len(indices):
            raise ValueError(
                f"the last offset must be the number of indices, {len(indices)}, not {places[-1]}"
            )
        if (places[1:] < places[:-1]).any():
            raise ValueError("offsets must never fall")
        if classes.min(initial=0) < 0:
            raise ValueError("labels must not be negative")
        if len(indices):
            low, high = torch.aminmax(indices)
            limit = self.num_embeddings
            if int(low) < 0 or (limit is not None and int(high) >= limit):
                raise ValueError(
                    f"token ids {int(low)} to {int(high)} must lie in 0 to "
                    f"{'…' if limit is None else limit - 1}"
                )

    @classmethod
    def _trusted(cls, indices: Tensor, offsets: Tensor, labels: Tensor, of: Bags) -> Bags:
        """Make bags out of checked bags, without the checks (and their device syncs)."""
        bags = object.__new__(cls)
        for name, value in (
            ("indices", indices),
            ("offsets", offsets),
            ("labels", labels),
            ("num_embeddings", of.num_embeddings),
        ):
            object.__setattr__(bags, name, value)
        return bags

    def __len__(self) -> int:
        return len(self.labels)

    def __eq__(self, other: object) -> bool:
        """Say whether the same ids, offsets and labels are on the same device."""
        if not isinstance(other, Bags):
            return NotImplemented
        pairs = (
            (self.indices, other.indices),
            (self.offsets, other.offsets),
            (self.labels, other.labels),
        )
        return (
            self.num_embeddings == other.num_embeddings
            and self.device == other.device
            and all(torch.equal(mine, others) for mine, others in pairs)
        )

    # Equal bags would need equal hashes, for which all their ids would have to be read.
    __hash__ = None  # type: ignore[assignment]

    @property
    def num_tokens(self) -> int:
        """How many token ids all bags hold together."""
        return len(self.indices)

    @property
    def lengths(self) -> Tensor:
        """Tokens per bag: int64 ``[num_bags]``."""
        return self.offsets.diff()

    @property
    def device(self) -> torch.device:
        """The device of all three tensors."""
        return self.indices.device

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Bags:
        """Return the bags on ``device`` (themselves where they are there already).

        With ``non_blocking`` nobody waits for the copy, if it is of bags in pinned memory.
        """
        indices, offsets, labels = (
            tensor.to(device, non_blocking=non_blocking)
            for tensor in (self.indices, self.offsets, self.labels)
        )
        return self._trusted(indices, offsets, labels, self)

    def pin_memory(self) -> Bags:
        """Return the bags in memory that cannot be swapped, for copies that nobody waits for."""
        return self._trusted(
            self.indices.pin_memory(), self.offsets.pin_memory(), self.labels.pin_memory(), self
        )

    def slice(self, start: int, stop: int) -> Bags:
        """Return bags ``start`` to ``stop - 1``; their indices are a view, not a copy.

        Raises:
            ValueError: not ``0 <= start <= stop <= len(self)``.
        """
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"no bags {start} to {stop} among {len(self)}")
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        return self._trusted(
            self.indices[first:last], offsets - first, self.labels[start:stop], self
        )

    def select(self, rows: Tensor) -> Bags:
        """Gather bags in any order, with repeats if wanted.

        Args:
            rows: int64 ``[n]`` of bag numbers, ``0 <= row < len(self)``, on the bags' device.
        """
        if self.device.type == "cpu":
            from textcls.arrow import integers  # brings Arrow, which a GPU does without

            taken = self._as_binary.take(integers(rows.numpy()))
            _, ends, data = taken.buffers()
            offsets = torch.from_numpy(np.frombuffer(ends, np.int64, len(rows) + 1) // 4)
            num_tokens = int(offsets[-1])
            indices = torch.from_numpy(np.frombuffer(data or b"", np.int32, num_tokens).copy())
        else:
            lengths = self.lengths[rows]
            offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=self.device)
            torch.cumsum(lengths, 0, out=offsets[1:])
            # Token j of new bag i lies at start(old bag) + (j - start(new bag)).
            num_tokens = int(offsets[-1])
            shift = torch.repeat_interleave(
                self.offsets[rows] - offsets[:-1], lengths, output_size=num_tokens
            )
            indices = self.indices[shift.add_(torch.arange(num_tokens, device=self.device))]
        return self._trusted(indices, offsets, self.labels[rows], self)

    @cached_property
    def _as_binary(self) -> pa.LargeBinaryArray:
        """Each bag's ids as one value of bytes, which Arrow copies whole: as fast as memory."""
        import pyarrow as pa

        return pa.LargeBinaryArray.from_buffers(
            pa.large_binary(),
            len(self),
            [None, pa.py_buffer(self.offsets.numpy() * 4), pa.py_buffer(self.indices.numpy())],
        )

    @staticmethod
    def concatenate(parts: Sequence[Bags]) -> Bags:
        """Join bags one after another.

        Raises:
            ValueError: no parts, or parts over different vocabularies or devices.
        """
        if not parts:
            raise ValueError("nothing to concatenate")
        if len({part.num_embeddings for part in parts}) > 1:
            raise ValueError("bags over different vocabularies cannot be concatenated")
        if len({part.device for part in parts}) > 1:
            raise ValueError("bags on different devices cannot be concatenated")
        lengths = torch.cat([part.lengths for part in parts])
        return Bags._trusted(
            torch.cat([part.indices for part in parts]),
            torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            torch.cat([part.labels for part in parts]),
            parts[0],
        )
