"""The best labels of texts, in fastText's order where probabilities are equal as well.

fastText keeps the best in a heap of the C++ library, which decides between equal ones: of two that
are equal the later one stays in a full heap. One-vs-all models have many, since their
probabilities come out of a table.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64
from textcls.fasttext_models.matrices import Float32

_Item = tuple[float, int]


def best(
    logarithms: Float32, is_allowed: npt.NDArray[np.bool_] | None, k: int
) -> tuple[Int64, Int64]:
    """Return the numbers of the largest values of each row, descending, and how many these are.

    Args:
        logarithms: of the values, as fastText compares them, float32 ``[num_rows, num_labels]``.
        is_allowed: which may be among them, bool of the same shape; None: all.
        k: so many of each row at most.

    Returns:
        int64 ``[num_rows, k]``, with any numbers past the last one of a row, and int64
        ``[num_rows]``.
    """
    k = min(k, logarithms.shape[1])
    rows = np.arange(len(logarithms))[:, None]
    if k == 1:
        found = logarithms.argmax(1)[:, None]
        is_tied = logarithms == logarithms[rows, found]
        if np.count_nonzero(is_tied) == len(found):
            tied = []
        else:
            tied = (is_tied.sum(1) > 1).nonzero()[0].tolist()
    else:
        order = (-logarithms).argsort(axis=1, kind="stable")
        ranked = logarithms[rows, order[:, : k + 1]]
        tied = (ranked[:, 1:] == ranked[:, :-1]).any(1).nonzero()[0].tolist()
        found = order[:, :k]
    counts = np.full(len(found), k) if is_allowed is None else is_allowed[rows, found].sum(1)
    for row in tied:
        allowed: Sequence[int] = range(logarithms.shape[1])
        if is_allowed is not None:
            allowed = is_allowed[row].nonzero()[0].tolist()
        numbers = _by_heap(logarithms[row].tolist(), allowed, k)
        found[row, : len(numbers)], counts[row] = numbers, len(numbers)
    return found, counts


def _by_heap(values: list[float], allowed: Sequence[int], k: int) -> list[int]:
    heap: list[_Item] = []
    for number in allowed:
        item = (values[number], number)
        if len(heap) == k and item[0] < heap[0][0]:
            continue
        heap.append(item)
        _rise(heap, len(heap) - 1, item)
        if len(heap) > k:
            _sink(heap, len(heap) - 1)
            heap.pop()
    for size in range(len(heap) - 1, 0, -1):
        _sink(heap, size)
    return [number for _, number in heap]


def _rise(heap: list[_Item], hole: int, item: _Item) -> None:
    """Put an item in its place above a hole: ``std::push_heap``, smallest first."""
    while hole > 0 and heap[(hole - 1) // 2][0] > item[0]:
        heap[hole] = heap[(hole - 1) // 2]
        hole = (hole - 1) // 2
    heap[hole] = item


def _sink(heap: list[_Item], size: int) -> None:
    """Move the first item behind the ``size`` others, which stay a heap: ``std::pop_heap``."""
    item, heap[size] = heap[size], heap[0]
    hole = child = 0
    while child < (size - 1) // 2:
        child = 2 * (child + 1)
        if heap[child][0] > heap[child - 1][0]:
            child -= 1
        heap[hole] = heap[child]
        hole = child
    if size % 2 == 0 and child == (size - 2) // 2:
        child = 2 * (child + 1)
        heap[hole] = heap[child - 1]
        hole = child - 1
    _rise(heap, hole, item)
