"""Counts of 64-bit keys, gathered piece by piece in little memory."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int32, Int64, lengths_of

UInt64 = npt.NDArray[np.uint64]
_Number = TypeVar("_Number", np.int32, np.int64, np.uint64)
_Key = TypeVar("_Key", np.int64, np.uint64)

# So many keys are looked up one by one: those of a text or two.
FEW = 1_000

# Distinct keys of so many pieces' worth are held apart before they are merged.
_HELD = 1 << 21


def runs_of(values: npt.NDArray[_Number]) -> tuple[npt.NDArray[_Number], Int64]:
    """Sort ``values`` in place; return the different ones, and how often each stands.

    Sorting is several times faster than the hash table of ``numpy.unique``.
    """
    values.sort()
    starts = starts_of(values)
    return values[starts], lengths_of(np.append(starts, len(values)))


def distinct(values: npt.NDArray[_Number]) -> npt.NDArray[_Number]:
    """Sort ``values`` in place; return the different ones."""
    values.sort()
    return values[starts_of(values)]


def starts_of(values: npt.NDArray[Any], bounds: Int64 | None = None) -> Int64:
    """Return where each different one of sorted values begins, int64.

    Args:
        values: ``[n]``, equal ones side by side.
        bounds: places, from 0 to n, where one begins in any case: values are sorted between these.
    """
    begins = np.ones(len(values), np.bool_)
    np.not_equal(values[1:], values[:-1], out=begins[1:])
    if bounds is not None:
        begins[bounds[bounds < len(values)]] = True
    return begins.nonzero()[0]


def places_of_keys(keys: npt.NDArray[_Key], wanted: npt.NDArray[_Key]) -> Int32:
    """Return where each of the wanted keys stands, int32 ``[len(wanted)]``; -1 for none.

    Args:
        keys: ascending, distinct.
        wanted: in any order, with repeats or not.
    """
    if len(wanted) > FEW:  # one after another in ``keys``: several times faster
        order = np.argsort(wanted)
        places = np.empty(len(wanted), np.int32)
        places[order] = _places(keys, wanted[order])
        return places
    return _places(keys, wanted)


def _places(keys: npt.NDArray[_Key], wanted: npt.NDArray[_Key]) -> Int32:
    if not len(keys):
        return np.full(len(wanted), -1, np.int32)
    at = keys.searchsorted(wanted)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, at, -1).astype(np.int32)


class KeyCounter:
    """Adds up how often each key was seen.

    Args:
        capacity: of so many keys and more the rarest half is forgotten, as in lossy counting
            (Manku and Motwani, "Approximate Frequency Counts over Data Streams", 2002). None: all
            are kept.

    Attributes:
        error: by how much a count may be too low at most; a key that is not there was seen at most
            so many times. 0: all counts are exact.
    """

    def __init__(self, capacity: int | None = None) -> None:
        self._capacity, self.error = capacity, 0
        self._keys: list[UInt64] = [np.zeros(0, np.uint64)]
        self._counts: list[Int64] = [np.zeros(0, np.int64)]
        self._held = 0

    def add(self, keys: UInt64, counts: Int64) -> None:
        """Add counts, int64 ``[n]``, of keys, uint64 ``[n]``, in any order, with repeats or not."""
        self._keys.append(keys)
        self._counts.append(counts)
        self._held += len(keys)
        most = 2 * len(self._keys[0])
        if self._held > _HELD + (most if self._capacity is None else min(most, self._capacity)):
            self._merge()

    def total(self) -> tuple[UInt64, Int64]:
        """Return the distinct keys, ascending, and their counts."""
        self._merge()
        return self._keys[0], self._counts[0]

    def _merge(self) -> None:
        keys, counts = np.concatenate(self._keys), np.concatenate(self._counts)
        order = np.argsort(keys)
        keys, counts = keys[order], counts[order]
        starts = starts_of(keys)
        self._keys = [keys[starts]]
        self._counts = [np.add.reduceat(counts, starts) if len(starts) else counts]
        self._held = 0
        if self._capacity is not None and len(starts) > self._capacity:
            kept, least = frequent(self._counts[0], self._capacity // 2)
            self._keys, self._counts = [self._keys[0][kept]], [self._counts[0][kept]]
            self.error += least


def frequent(counts: Int64, most: int) -> tuple[Int64, int]:
    """Return the places of the largest counts, ``most`` at most, and the largest of the others.

    Equal counts are kept or left out together.

    Args:
        counts: int64 ``[n]``, n > most.
        most: at least 1.
    """
    least = int(np.partition(counts, len(counts) - most - 1)[len(counts) - most - 1])
    (kept,) = (counts > least).nonzero()
    return kept, least
