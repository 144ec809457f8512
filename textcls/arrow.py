"""Arrow arrays out of Python and NumPy values, and back.

pyarrow's own ``array``, ``scalar`` and ``to_numpy`` import pandas first, to ask what the values
are. That takes half a second, as long as preparing many a corpus.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
_Integer = TypeVar("_Integer", bound=np.integer)


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """Have Arrow take the C library's memory meanwhile: its own allocator keeps what is freed."""
    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(before)


def release_memory() -> None:
    """Give memory that was freed back to the system, rather than keep it for what comes next."""
    pa.system_memory_pool().release_unused()  # NumPy's as well, where the C library is glibc


def offsets_of(lengths: npt.NDArray[np.integer]) -> Int64:
    """Return int64 ``[n + 1]`` offsets for ``[n]`` lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    lengths.cumsum(out=offsets[1:])
    return offsets


def places_of_runs(starts: Int64, lengths: Int64) -> Int64:
    """Return ``start, start + 1, …`` for each run, one after another, int64 ``[sum of lengths]``.

    Args:
        starts: int64 ``[n]``.
        lengths: int64 ``[n]``.
    """
    ends = np.cumsum(lengths)
    return np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts - ends + lengths, lengths)


def lengths_of(offsets: npt.NDArray[_Integer]) -> npt.NDArray[_Integer]:
    """Return ``[n]`` lengths for ``[n + 1]`` offsets: ``numpy.diff`` at a quarter of its cost."""
    return offsets[1:] - offsets[:-1]


def strings(values: Sequence[str]) -> pa.StringArray:
    """Return Python strings as an Arrow array."""
    encoded = [value.encode() for value in values]
    offsets = offsets_of(np.fromiter(map(len, encoded), np.int64, len(encoded)))
    if offsets[-1] > np.iinfo(np.int32).max:
        raise ValueError("too many characters for one array of strings")
    return pa.StringArray.from_buffers(
        len(encoded), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(b"".join(encoded))
    )


def large_strings(values: Sequence[bytes]) -> pa.LargeStringArray:
    """Return UTF-8 texts as an Arrow array with room for more than 2 GB."""
    offsets = offsets_of(np.fromiter(map(len, values), np.int64, len(values)))
    return pa.LargeStringArray.from_buffers(
        len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(values))
    )


def integers(values: Int64) -> pa.Int64Array:
    """Return int64 values as an Arrow array over the same memory."""
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def booleans(values: npt.NDArray[np.bool_]) -> pa.BooleanArray:
    """Return truth values as an Arrow array."""
    bits = np.packbits(values, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(values), [None, pa.py_buffer(bits)])


def as_numpy(array: pa.Array, null: Any = None) -> npt.NDArray[Any]:
    """Return an Arrow array of numbers or truth values as a NumPy array, mostly without a copy.

    Args:
        array: of a fixed width.
        null: stands for null, where there is any.
    """
    data = array.buffers()[1] or b""
    if pa.types.is_boolean(array.type):
        bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")
        values: npt.NDArray[Any] = bits[array.offset : array.offset + len(array)].view(np.bool_)
    else:
        dtype = np.dtype(array.type.to_pandas_dtype())
        values = np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)
    if array.null_count:
        values = np.where(as_numpy(array.is_valid()), values, null).astype(values.dtype)
    return values
