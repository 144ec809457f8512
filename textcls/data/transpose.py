"""A batch turned around: not the tokens of each bag, but the bags of each token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


@dataclass(frozen=True)
class Transpose:
    """The same pairs of bag and token as a batch has, by token instead of by bag.

    ::

        bags    0: [1, 2, 4]     1: [4, 3, 2, 9]           indices, offsets of the batch
        tokens  1: [0]  2: [0, 1]  3: [1]  4: [0, 1]  9: [1]
                rows [1, 2, 3, 4, 9]   bags [0, 0, 1, 1, 0, 1, 1]   offsets [0, 1, 3, 4, 6, 7]

    Attributes:
        rows: int64 ``[num_rows]``, the distinct token ids of the batch, ascending.
        bags: int32 ``[num_tokens]``, the bags of each token in turn, ascending; a bag stands as
            often as the token stands in it.
        offsets: int32 ``[num_rows + 1]``, where each row's bags begin in ``bags``.
        positions: int64 ``[num_tokens]``, where each pair stood in the batch's indices; only
            where asked for.
    """

    rows: Tensor
    bags: Tensor
    offsets: Tensor
    positions: Tensor | None = None


def transpose(indices: Tensor, offsets: Tensor, with_positions: bool = False) -> Transpose:
    """Transpose a batch by one sort of its (token, bag) pairs.

    Each pair is packed into one integer, so that the order is total: the result is the same
    whatever the sort's algorithm or the number of threads.

    Args:
        indices: int32 or int64 ``[num_tokens]``.
        offsets: int32 or int64 ``[num_bags + 1]``.
        with_positions: give ``positions`` too, which weights of single tokens need.
    """
    if indices.device.type != "cpu":
        return _transpose_on_device(indices, offsets, with_positions)
    tokens, lengths = indices.numpy(), np.diff(offsets.numpy())
    of_bag = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    # Equal tokens stand in the order of their bags, or, which comes to the same, of positions.
    second = np.arange(len(tokens), dtype=np.int32) if with_positions else of_bag
    bits = (len(tokens) if with_positions else len(lengths)).bit_length()
    highest = int(tokens.max(initial=0)).bit_length()
    # NumPy sorts 32 bits twice as fast as 64; nearly all batches fit.
    keys: npt.NDArray[np.unsignedinteger] = tokens.astype(
        np.uint32 if highest + bits <= 32 else np.uint64
    )
    unsigned = keys.dtype.type
    keys <<= unsigned(bits)
    keys |= second.astype(keys.dtype)
    keys.sort()
    second = (keys & unsigned((1 << bits) - 1)).astype(np.int32)
    keys >>= unsigned(bits)
    begins = np.ones(len(keys), bool)
    np.not_equal(keys[1:], keys[:-1], out=begins[1:])
    starts = np.flatnonzero(begins)
    return Transpose(
        torch.from_numpy(keys[starts].astype(np.int64)),
        torch.from_numpy(of_bag[second] if with_positions else second),
        torch.from_numpy(np.append(starts, len(keys)).astype(np.int32)),
        torch.from_numpy(second.astype(np.int64)) if with_positions else None,
    )


def _transpose_on_device(indices: Tensor, offsets: Tensor, with_positions: bool) -> Transpose:
    of_bag = torch.repeat_interleave(
        torch.arange(len(offsets) - 1, device=indices.device, dtype=torch.int32),
        offsets.diff(),
        output_size=len(indices),
    )
    tokens, positions = indices.sort(stable=True)
    rows, counts = torch.unique_consecutive(tokens, return_counts=True)
    starts = torch.zeros(len(rows) + 1, dtype=torch.int32, device=indices.device)
    torch.cumsum(counts, 0, out=starts[1:])
    return Transpose(rows.long(), of_bag[positions], starts, positions if with_positions else None)
