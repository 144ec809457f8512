"""Bags: many documents as one flat run of token ids and the offsets that split it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from textcls.data.targets import Targets, places_of_runs

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class Bags:
    """Documents as flat token ids plus offsets, with a label each, or any number of labels.

    The layout that ``nn.EmbeddingBag(include_last_offset=True)`` reads::

        bag             0        1          2 (empty)
                     ┌───────┬──────────┐
        indices      │1  2  4│4  3  2  9│                 int32  [num_tokens]
                     └───────┴──────────┘
        offsets       0       3          7   7            int64  [num_bags + 1]
        labels        1       0          1                int64  [num_bags]

    Bag ``b`` is ``indices[offsets[b]:offsets[b + 1]]``; an empty bag pools to zeros. Where entries
    weigh differently, ``weights`` has a number for each of the indices.

    torch accepts a wrong last offset in silence (the last bag is then cut short or padded with
    garbage), so everything is checked here, where bags are made.

    Args:
        indices: int32 ``[num_tokens]``, token ids, ``0 <= id < num_embeddings``.
        offsets: int64 ``[num_bags + 1]``, first 0, never falling, last ``len(indices)``.
        labels: int64 ``[num_bags]``, class numbers; or ``[num_labels]``, those of one bag after
            another, where there are ``label_offsets``.
        num_embeddings: where given, the ids are checked to lie below it.
        weights: float32 ``[num_tokens]``, finite and not negative; None: every entry weighs 1.
        label_offsets: int64 ``[num_bags + 1]``, as ``offsets`` are to ``indices``; None: every bag
            has one label.
        example_weights: float32 ``[num_bags]``, finite and not negative, of each bag in the loss;
            None: all weigh the same.
        label_shares: float32 ``[num_labels]``, with ``label_offsets``: how probable each label is,
            above 0, summing to 1 in each bag; None: labels are certain.
        ordered: whether the numbers of classes are ranks.

    Raises:
        ValueError: a shape, dtype, device or value that breaks the above.
    """

    indices: Tensor
    offsets: Tensor
    labels: Tensor
    num_embeddings: int | None = None
    weights: Tensor | None = None
    label_offsets: Tensor | None = None
    example_weights: Tensor | None = None
    label_shares: Tensor | None = None
    ordered: bool = False

    def __post_init__(self) -> None:
        indices, offsets, labels, weights = self.indices, self.offsets, self.labels, self.weights
        for name, tensor, dtype in (
            ("indices", indices, torch.int32),
            ("offsets", offsets, torch.int64),
            ("labels", labels, torch.int64),
            ("weights", weights, torch.float32),
            ("label_offsets", self.label_offsets, torch.int64),
            ("example_weights", self.example_weights, torch.float32),
            ("label_shares", self.label_shares, torch.float32),
        ):
            if tensor is not None and (tensor.dtype != dtype or tensor.dim() != 1):
                raise ValueError(
                    f"{name} must be {dtype} of one dimension, "
                    f"not {tensor.dtype} of shape {tuple(tensor.shape)}"
                )
        if len({one.device for one in self._tensors if one is not None}) > 1:
            raise ValueError("indices, offsets, labels and weights must be on one device")
        if self.label_offsets is None:
            if len(offsets) != len(labels) + 1:
                raise ValueError(
                    f"{len(labels)} labels need {len(labels) + 1} offsets, not {len(offsets)}"
                )
        elif len(offsets) != len(self.label_offsets):
            raise ValueError(f"{len(offsets)} offsets need as many of labels")
        else:
            check_offsets(self.label_offsets, len(labels), "labels")
        check_offsets(offsets, len(indices), "indices")
        # By NumPy: of a single text, torch's fixed cost by call would be most of the time.
        classes = labels.cpu().numpy()
        if classes.min(initial=0) < 0:
            raise ValueError("labels must not be negative")
        check_ids(indices, self.num_embeddings)
        if weights is not None:
            check_weights(weights, len(indices), "indices")
        if self.example_weights is not None:
            check_weights(self.example_weights, len(self), "bags")
        if self.label_shares is not None:
            self._check_shares(self.label_shares)

    def _check_shares(self, shares: Tensor) -> None:
        if self.label_offsets is None or len(shares) != len(self.labels):
            raise ValueError("labels with shares need label_offsets, and each label a share")
        targets = self.targets
        sums = shares.new_zeros(len(self)).index_add_(0, targets.bags, shares)
        if not (bool((shares > 0).all()) and torch.allclose(sums, torch.ones_like(sums), 1e-4)):
            raise ValueError("the shares of a bag's labels must be above 0 and sum to 1")

    @property
    def _tensors(self) -> tuple[Tensor | None, ...]:
        return self.indices, self.offsets, *self.targets, self.weights

    @classmethod
    def trusted(
        cls, indices: Tensor, offsets: Tensor, targets: Targets, weights: Tensor | None, of: Bags
    ) -> Bags:
        """Make bags out of checked bags, without the checks (and their device syncs)."""
        bags = object.__new__(cls)
        for name, value in (
            ("indices", indices),
            ("offsets", offsets),
            ("labels", targets.ids),
            ("num_embeddings", of.num_embeddings),
            ("weights", weights),
            ("label_offsets", targets.offsets),
            ("example_weights", targets.weights),
            ("label_shares", targets.shares),
            ("ordered", of.ordered),
        ):
            object.__setattr__(bags, name, value)
        return bags

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __eq__(self, other: object) -> bool:
        """Say whether the same ids, offsets, labels and weights are on the same device."""
        if not isinstance(other, Bags):
            return NotImplemented
        return (
            self.num_embeddings == other.num_embeddings
            and self.device == other.device
            and all(
                mine is others
                or (mine is not None and others is not None and torch.equal(mine, others))
                for mine, others in zip(self._tensors, other._tensors, strict=True)
            )
        )

    # Equal bags would need equal hashes, for which all their ids would have to be read.
    __hash__ = None  # type: ignore[assignment]

    @property
    def targets(self) -> Targets:
        """The labels, and what each bag weighs in the loss."""
        return Targets(self.labels, self.label_offsets, self.example_weights, self.label_shares)

    @property
    def num_tokens(self) -> int:
        """How many token ids all bags hold together."""
        return len(self.indices)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """How many bags and tokens each part has that is in memory as a whole: there is one."""
        return [(len(self), self.num_tokens)]

    @property
    def has_weights(self) -> bool:
        """Whether entries have weights."""
        return self.weights is not None

    @property
    def lengths(self) -> Tensor:
        """Tokens per bag: int64 ``[num_bags]``."""
        return self.offsets.diff()

    @property
    def device(self) -> torch.device:
        """The device of all tensors."""
        return self.indices.device

    def tensors(self) -> dict[str, Tensor]:
        """Return the arguments of the class that are tensors, by name."""
        found = {
            "indices": self.indices,
            "offsets": self.offsets,
            "labels": self.labels,
            "weights": self.weights,
            "label_offsets": self.label_offsets,
            "example_weights": self.example_weights,
            "label_shares": self.label_shares,
        }
        return {name: tensor for name, tensor in found.items() if tensor is not None}

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Bags:
        """Return the bags on ``device`` (themselves where they are there already).

        With ``non_blocking`` nobody waits for the copy, if it is of bags in pinned memory.
        """
        return self._each(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Bags:
        """Return the bags in memory that cannot be swapped, for copies that nobody waits for."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Bags:
        weights = None if self.weights is None else change(self.weights)
        targets = self.targets.each(change)
        return self.trusted(change(self.indices), change(self.offsets), targets, weights, self)

    def slice(self, start: int, stop: int) -> Bags:
        """Return bags ``start`` to ``stop - 1``; their indices and weights are views.

        Raises:
            ValueError: not ``0 <= start <= stop <= len(self)``.
        """
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"no bags {start} to {stop} among {len(self)}")
        offsets = self.offsets[start : stop + 1]
        first, last = int(offsets[0]), int(offsets[-1])
        weights = None if self.weights is None else self.weights[first:last]
        targets = self.targets.slice(start, stop)
        return self.trusted(self.indices[first:last], offsets - first, targets, weights, self)

    def select(self, rows: Tensor) -> Bags:
        """Gather bags in any order, with repeats if wanted.

        Args:
            rows: int64 ``[n]`` of bag numbers, ``0 <= row < len(self)``, on the bags' device.
        """
        weights = self.weights
        if self.device.type == "cpu":
            offsets, indices = _taken(self._ids_as_binary, rows, np.int32)
            if weights is not None:
                _, weights = _taken(self._weights_as_binary, rows, np.float32)
        else:
            lengths = self.lengths[rows]
            offsets = torch.zeros(len(rows) + 1, dtype=torch.int64, device=self.device)
            torch.cumsum(lengths, 0, out=offsets[1:])
            places = places_of_runs(self.offsets[rows], offsets)
            indices = self.indices[places]
            weights = None if weights is None else weights[places]
        return self.trusted(indices, offsets, self.targets.select(rows), weights, self)

    @cached_property
    def _ids_as_binary(self) -> pa.LargeBinaryArray:
        return _as_binary(self.offsets, self.indices)

    @cached_property
    def _weights_as_binary(self) -> pa.LargeBinaryArray:
        assert self.weights is not None
        return _as_binary(self.offsets, self.weights)

    @staticmethod
    def concatenate(parts: Sequence[Bags]) -> Bags:
        """Join bags one after another.

        Raises:
            ValueError: no parts, parts over different vocabularies or devices, or of which some
                have weights, of entries or of bags, and some have none.
        """
        if not parts:
            raise ValueError("nothing to concatenate")
        if len({part.num_embeddings for part in parts}) > 1:
            raise ValueError("bags over different vocabularies cannot be concatenated")
        if len({part.device for part in parts}) > 1:
            raise ValueError("bags on different devices cannot be concatenated")
        weights = [part.weights for part in parts if part.weights is not None]
        if 0 < len(weights) < len(parts):
            raise ValueError("bags with weights and bags without cannot be concatenated")
        lengths = torch.cat([part.lengths for part in parts])
        return Bags.trusted(
            torch.cat([part.indices for part in parts]),
            torch.cat([lengths.new_zeros(1), lengths.cumsum(0)]),
            Targets.concatenate([part.targets for part in parts]),
            torch.cat(weights) if weights else None,
            parts[0],
        )


def check_offsets(offsets: Tensor, end: int, what: str) -> None:
    """Check that offsets begin at 0, never fall and end at the number of what they part.

    Raises:
        ValueError: they do not.
    """
    places = offsets.cpu().numpy()
    if places[0] != 0:
        raise ValueError(f"the first offset must be 0, not {places[0]}")
    if places[-1] != end:
        raise ValueError(f"the last offset must be the number of {what}, {end}, not {places[-1]}")
    if (places[1:] < places[:-1]).any():
        raise ValueError("offsets must never fall")


def check_ids(indices: Tensor, limit: int | None) -> None:
    """Check that token ids lie below a limit, if there is one, and are not negative.

    Raises:
        ValueError: one is not.
    """
    if len(indices):
        low, high = torch.aminmax(indices)
        if int(low) < 0 or (limit is not None and int(high) >= limit):
            raise ValueError(
                f"token ids {int(low)} to {int(high)} must lie in 0 to "
                f"{'…' if limit is None else limit - 1}"
            )


def check_weights(weights: Tensor, number: int, what: str) -> None:
    """Check that there are so many weights, finite and not negative.

    Raises:
        ValueError: there are not.
    """
    if len(weights) != number:
        raise ValueError(f"{number} {what} need as many weights, not {len(weights)}")
    if len(weights):
        lightest, heaviest = (float(one) for one in torch.aminmax(weights))
        if not 0 <= lightest <= heaviest < float("inf"):  # nor is NaN
            raise ValueError(f"weights of {lightest} to {heaviest} must be finite and not negative")


def _as_binary(offsets: Tensor, values: Tensor) -> pa.LargeBinaryArray:
    """Return each bag's values, of 4 bytes, as one value of bytes.

    Arrow copies these whole, as fast as memory.
    """
    import pyarrow as pa

    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(),
        len(offsets) - 1,
        [None, pa.py_buffer(offsets.numpy() * 4), pa.py_buffer(values.numpy())],
    )


def _taken(
    bags: pa.LargeBinaryArray, rows: Tensor, dtype: type[np.generic]
) -> tuple[Tensor, Tensor]:
    """Return the offsets and the values, of 4 bytes each, of some bags."""
    from textcls.arrow import integers  # brings Arrow, which a GPU does without

    _, ends, data = bags.take(integers(rows.numpy())).buffers()
    offsets = torch.from_numpy(np.frombuffer(ends, np.int64, len(rows) + 1) // 4)
    values = np.frombuffer(data or b"", dtype, int(offsets[-1])).copy()
    return offsets, torch.from_numpy(values)
