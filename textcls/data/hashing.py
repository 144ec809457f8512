"""Hashes of n-grams, and the buckets that they fall into: saved models depend on both."""

from __future__ import annotations

import numpy as np

from textcls.arrow import Int64
from textcls.data.counting import UInt64

# The hash of an n-gram is that of its beginning, one piece shorter, times this, plus its last
# piece's. It is odd, of bits without a pattern: 2**64 / golden ratio.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


_MIX = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SHIFTS = np.uint64(30), np.uint64(27), np.uint64(31)


def mixed(values: UInt64) -> UInt64:
    """Return numbers of which every bit depends on all bits of the given ones, uint64.

    It is the finalizer of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", 2014).
    """
    values = (values ^ (values >> _SHIFTS[0])) * _MIX[0]
    values = (values ^ (values >> _SHIFTS[1])) * _MIX[1]
    return values ^ (values >> _SHIFTS[2])


def buckets_of(hashes: UInt64, buckets: int) -> Int64:
    """Return the bucket of each hash, int64.

    It is the upper half of the hash, as a fraction of 1, times ``buckets``: as even as a remainder,
    without a division, and of the upper bits, which every bit of what is hashed moves.
    """
    numbers = hashes >> _HALF
    numbers *= np.uint64(buckets)
    numbers >>= _HALF
    return numbers.view(np.int64)
