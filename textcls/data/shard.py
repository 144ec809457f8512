"""A shard: a file with some of the bags of a split that is larger than memory.

It is a safetensors file with the tensors of some :class:`~textcls.data.bags.Bags`, by their names
there, and a checksum of them. Its offsets begin at 0. How many bags and tokens it has is written
beside it, so that a split is there without its files being opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from textcls.checksum import check, with_checksum
from textcls.data.bags import Bags, check_ids, check_offsets, check_weights
from textcls.data.targets import Targets
from textcls.errors import InputError, first_line
from textcls.files import whole_file

# A header has a line for each tensor: a longer one is none.
_LARGEST_HEADER = 1 << 16
_INT32, _INT64, _FLOAT32 = ("I32", torch.int32), ("I64", torch.int64), ("F32", torch.float32)

_Given = ParamSpec("_Given")
_Result = TypeVar("_Result")


def shard_name(split: str, number: int) -> str:
    """Return the file name of a shard of a split; ``number`` from 0."""
    return f"{split}-{number:05d}.safetensors"


def save_shard(
    path: Path, tensors: Mapping[str, Tensor | npt.NDArray[np.generic]]
) -> tuple[int, int]:
    """Write some bags of a split as a shard; it is there whole or not at all.

    Args:
        path: the file.
        tensors: the arguments of :class:`~textcls.data.bags.Bags` that are tensors, on the CPU, by
            name. All shards of a split must have the same ones.

    Returns:
        How many bags and tokens it has: the reader asks for that.

    Raises:
        ValueError: they are no bags.
        OSError: the file cannot be written.
    """
    given: dict[str, Any] = {
        name: torch.as_tensor(tensor).contiguous() for name, tensor in tensors.items()
    }
    bags = Bags(**given)  # checked where it is done once
    with whole_file(path, synced=True) as scratch:
        safetensors.torch.save_file(given, scratch, with_checksum(given))
    return len(bags), bags.num_tokens


def _named(
    method: Callable[Concatenate[Shard, _Given], _Result],
) -> Callable[Concatenate[Shard, _Given], _Result]:
    """Let a method of a shard say which file is at fault, and what to do."""

    def checked(shard: Shard, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Result:
        try:
            return method(shard, *args, **kwargs)
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{shard.path}: is missing or damaged ({first_line(error)}): remove its folder, "
                "and it is made anew"
            ) from None

    return checked


class Shard:
    """A shard that is there; nothing is read before it is asked for.

    Its methods raise :class:`~textcls.errors.InputError` where the file cannot be read, or is not
    what the size says.

    Args:
        path: the file.
        num_bags, num_tokens: how many it has.
        num_embeddings: token ids lie below it.
        ordered: whether the numbers of classes are ranks.
    """

    def __init__(
        self,
        path: Path,
        num_bags: int,
        num_tokens: int,
        num_embeddings: int | None = None,
        ordered: bool = False,
    ) -> None:
        self.path, self.num_bags, self.num_tokens = path, num_bags, num_tokens
        self.num_embeddings, self.ordered = num_embeddings, ordered

    @_named
    def names(self) -> frozenset[str]:
        """Return which tensors it has."""
        return frozenset(self._places)

    @_named
    def targets(self) -> Targets:
        """Read its labels, and what each bag weighs in the loss."""
        return Targets(
            self._tensor("labels"),
            *(
                self._tensor(name) if name in self._places else None
                for name in ("label_offsets", "example_weights", "label_shares")
            ),
        )

    @_named
    def lengths(self) -> Tensor:
        """Read how many tokens each bag has, int64 ``[num_bags]``."""
        offsets = self._tensor("offsets")
        check_offsets(offsets, self.num_tokens, "indices")
        return offsets.diff()

    @_named
    def read(self, indices: Tensor, weights: Tensor | None) -> None:
        """Read all token ids, and the weights where there are any, into given memory.

        Args:
            indices: int32 ``[num_tokens]``, contiguous.
            weights: float32 ``[num_tokens]``, contiguous.
        """
        self._fill("indices", indices)
        check_ids(indices, self.num_embeddings)
        if weights is not None:
            self._fill("weights", weights)
            check_weights(weights, self.num_tokens, "indices")

    @_named
    def mapped(self) -> Bags:
        """Return its bags, mapped into memory for as long as they are in use.

        Their offsets are checked, ids and weights are not: that would read all of them.
        """
        assert self._places  # the tensors of a shard, of its size
        tensors = safetensors.torch.load_file(self.path)
        targets = Targets(
            tensors["labels"],
            *(tensors.get(name) for name in ("label_offsets", "example_weights", "label_shares")),
        )
        check_offsets(tensors["offsets"], self.num_tokens, "indices")
        if targets.offsets is not None:
            check_offsets(targets.offsets, len(targets.ids), "labels")
        none, zero = torch.zeros(0, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)
        kind = Bags(none.int(), zero, none, self.num_embeddings, ordered=self.ordered)
        return Bags.trusted(
            tensors["indices"], tensors["offsets"], targets, tensors.get("weights"), kind
        )

    @_named
    def verify(self) -> None:
        """Read all of it, and check that it is what was written."""
        places = self._found()  # once more: the file may have changed
        with safe_open(self.path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in places}
            metadata = file.metadata()
        check(tensors, metadata)
        Bags(**tensors, num_embeddings=self.num_embeddings, ordered=self.ordered)

    @cached_property
    def _places(self) -> dict[str, tuple[int, int, torch.dtype]]:
        return self._found()

    def _found(self) -> dict[str, tuple[int, int, torch.dtype]]:
        """Return where in the file each tensor begins, how many numbers it has, of which type."""
        with self.path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > _LARGEST_HEADER:
                raise ValueError("it does not begin as a shard does")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        (num_labels,) = header["labels"]["shape"]
        wanted = {
            "indices": (_INT32, self.num_tokens),
            "offsets": (_INT64, self.num_bags + 1),
            "labels": (_INT64, num_labels if "label_offsets" in header else self.num_bags),
            "weights": (_FLOAT32, self.num_tokens),
            "label_offsets": (_INT64, self.num_bags + 1),
            "label_shares": (_FLOAT32, num_labels),
            "example_weights": (_FLOAT32, self.num_bags),
        }
        places = {}
        for name, found in header.items():
            (kind, dtype), number = wanted[name]
            if (found["dtype"], found["shape"]) != (kind, [number]):
                raise ValueError(f"{name} is not {kind} [{number}]")
            places[name] = 8 + length + found["data_offsets"][0], number, dtype
        return places

    def _tensor(self, name: str) -> Tensor:
        _, number, dtype = self._places[name]
        tensor = torch.empty(number, dtype=dtype)
        self._fill(name, tensor)
        return tensor

    def _fill(self, name: str, tensor: Tensor) -> None:
        """Read a tensor of the file into memory: a page that is mapped would stay there."""
        place, number, dtype = self._places[name]
        assert (len(tensor), tensor.dtype) == (number, dtype)
        rest = tensor.numpy().data.cast("B")
        with self.path.open("rb", buffering=0) as file:
            file.seek(place)
            while rest:  # the system reads no more than 2 GiB at once
                count = file.readinto(rest)
                if not count:
                    raise ValueError("it is cut short")
                rest = rest[count:]
