"""The matrices of a fastText model: of floats in the mapped file, or quantised."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from textcls.arrow import Int64
from textcls.forking import compute_alone_after_fork

compute_alone_after_fork()

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

# Numbers of quantised rows that are restored once and kept: 16 MiB.
_FEW_NUMBERS = 1 << 22
# Numbers of rows that are restored at a time, where they are many.
_AT_ONCE = 1 << 20
# Where NumPy is faster than a call into torch.
_FEW_ROWS = 64
CENTROIDS = 256


class Matrix(Protocol):
    """Rows of floats, however they are stored."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""

    def rows(self, ids: Int64) -> Float32:
        """Return rows, float32 ``[len(ids), width]``."""

    def sums(self, ids: Int64, offsets: Int64) -> Float32:
        """Return sums of rows, float32 ``[len(offsets) - 1, width]``; of no row: zeros."""


@dataclass(frozen=True, eq=False)
class Dense:
    """Floats, as they lie in the file.

    Attributes:
        data: float32 ``[rows, width]``, mapped, at any address: processes share one copy.
    """

    data: Float32

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    def rows(self, ids: Int64) -> Float32:
        """Return rows, float32 ``[len(ids), width]``."""
        # By bytes, since floats at odd addresses are copied one by one.
        rows, width = self.shape
        by_bytes = np.ndarray((rows, width * 4), np.uint8, self.data)
        found: Float32 = by_bytes[ids].view(np.float32)
        return found

    def sums(self, ids: Int64, offsets: Int64) -> Float32:
        """Return sums of rows, float32 ``[len(offsets) - 1, width]``; of no row: zeros."""
        if len(offsets) == 2 and len(ids) <= _FEW_ROWS:
            return _added(self.rows(ids))
        return sums_of(self.data, ids, offsets)

    def with_zeros(self, count: int) -> Float32:
        """Return rows of zeros and these rows, float32 ``[count + rows, width]``.

        Where what precedes them in the file has room for the zeros, these are written over it, in a
        copy of its pages that is this process's own: the rows stay mapped.
        """
        rows, width = self.shape
        root: npt.NDArray[Any] = self.data
        while isinstance(root.base, np.ndarray):
            root = root.base
        start = self.data.ctypes.data - root.ctypes.data - count * width * 4
        if not isinstance(root, np.memmap) or root.dtype != np.uint8 or start < 0:
            return np.concatenate([np.zeros((count, width), np.float32), self.data])
        found: Float32 = np.ndarray((count + rows, width), np.float32, root, start)
        found[:count] = 0
        return found


class Norms(NamedTuple):
    """What rows are multiplied by.

    Attributes:
        codes: uint8 ``[rows]``.
        values: float32 ``[256]``.
    """

    codes: UInt8
    values: Float32


@dataclass(frozen=True, eq=False)
class Quantised:
    """Rows as codes of a product quantiser.

    Attributes:
        codes: uint8 ``[rows, parts]``.
        centroids: float32 ``[parts - 1, 256, part]``, of all parts of a row but the last.
        last: float32 ``[256, rest]``, of the last.
        norms: that rows are multiplied by; None: they are not.
    """

    codes: UInt8
    centroids: Float32
    last: Float32
    norms: Norms | None

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        parts, _, part = self.centroids.shape
        return len(self.codes), parts * part + self.last.shape[1]

    def rows(self, ids: Int64) -> Float32:
        """Return rows, float32 ``[len(ids), width]``."""
        found = np.empty((len(ids), self.shape[1]), np.float32)
        parts, _, part = self.centroids.shape
        codes = self.codes[ids]
        whole = found[:, : parts * part].reshape(len(ids), parts, part)
        whole[:] = self.centroids[np.arange(parts), codes[:, :-1]]
        found[:, parts * part :] = self.last[codes[:, -1]]
        if self.norms is not None:
            found *= self.norms.values[self.norms.codes[ids], None]
        return found

    def sums(self, ids: Int64, offsets: Int64) -> Float32:
        """Return sums of rows, float32 ``[len(offsets) - 1, width]``; of no row: zeros."""
        if self._restored is not None:
            return sums_of(self._restored, ids, offsets)
        sums = np.zeros((len(offsets) - 1, self.shape[1]), np.float32)
        step = max(_AT_ONCE // self.shape[1], 1)
        for start in range(0, len(ids), step):
            stop = min(start + step, len(ids))
            first = np.searchsorted(offsets, start, "right") - 1
            last = np.searchsorted(offsets, stop)
            # The first run goes on from what it came to before.
            rows = np.concatenate([sums[first : first + 1], self.rows(ids[start:stop])])
            own = offsets[first : last + 1].clip(start, stop) - start + 1
            own[0] = 0
            sums[first:last] = sums_of(rows, None, own)
        return sums

    @cached_property
    def _restored(self) -> Float32 | None:
        """All rows, where they are few."""
        if self.shape[0] * self.shape[1] > _FEW_NUMBERS:
            return None
        return self.rows(np.arange(len(self.codes)))


def sums_of(rows: Float32, ids: Int64 | None, offsets: Int64) -> Float32:
    """Return sums of runs of rows, float32 ``[len(offsets) - 1, width]``, added in their order.

    Args:
        rows: float32 ``[num_rows, width]``.
        ids: int64 ``[n]``, of the rows of the runs; None: these are all rows, one after another.
        offsets: int64, of the runs.
    """
    if ids is not None and len(offsets) == 2 and len(ids) <= _FEW_ROWS:
        return _added(rows[ids])
    pooled = F.embedding_bag(
        torch.arange(len(rows)) if ids is None else torch.from_numpy(ids),
        torch.from_numpy(rows),
        torch.from_numpy(offsets),
        mode="sum",
        include_last_offset=True,
    )
    found: Float32 = pooled.numpy()
    return found


def _added(rows: Float32) -> Float32:
    found: Float32 = rows.sum(0, keepdims=True)
    return found
