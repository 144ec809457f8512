"""Hashes of n-grams, and the buckets that they fall into: saved models depend on both."""

from __future__ import annotations

import numpy as np

from textcls.arrow import Int64
from textcls.data.counting import UInt64

# The hash of an n-gram is that of its beginning, one piece shorter, times this, plus its last
# piece's. It is odd, of bits without a pattern: 2**64 / golden ratio.
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def buckets_of(hashes: UInt64, buckets: int) -> Int64:
    """Return the bucket of each hash, int64.

    It is the upper half of the hash, as a fraction of 1, times ``buckets``: as even as a remainder,
    without a division, and of the upper bits, which every bit of what is hashed moves.
    """
    numbers = hashes >> _HALF
    numbers *= np.uint64(buckets)
    numbers >>= _HALF
    return numbers.view(np.int64)
