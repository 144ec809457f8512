"""The best labels of texts, in fastText's order where probabilities are equal as well.

fastText keeps the best in a heap of the C++ library, which decides between equal ones: of two that
are equal the later one stays in a full heap. One-vs-all models have many, since their
probabilities come out of a table.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64
from textcls.fasttext_models.losses import Float64

_Item = tuple[float, int]


def best(values: Float64, k: int, least: float) -> list[Int64]:
    """Return the numbers of the largest values of each row, descending.

    Args:
        values: float64 ``[num_rows, num_labels]``.
        k: so many of each row at most.
        least: smaller values are left out.
    """
    k = min(k, values.shape[1])
    # As fastText compares them.
    logarithms = np.log(np.maximum(values, np.finfo(np.float64).tiny)).astype(np.float32)
    if k == 1:
        order = logarithms.argmax(1)[:, None]
        is_tied = (logarithms == logarithms.max(1, keepdims=True)).sum(1) > 1
    else:
        order = np.argsort(-logarithms, axis=1, kind="stable")
        ranked = np.take_along_axis(logarithms, order, 1)[:, : k + 1]
        is_tied = (ranked[:, 1:] == ranked[:, :-1]).any(1)
        order = order[:, :k]
    large_enough = values >= least
    chosen = [row[kept[row]] for row, kept in zip(order, large_enough, strict=True)]
    for number in is_tied.nonzero()[0].tolist():
        chosen[number] = _by_heap(logarithms[number], large_enough[number], k)
    return chosen


def _by_heap(values: npt.NDArray[np.float32], allowed: npt.NDArray[np.bool_], k: int) -> Int64:
    heap: list[_Item] = []
    for number in np.flatnonzero(allowed).tolist():
        item = (float(values[number]), number)
        if len(heap) == k and item[0] < heap[0][0]:
            continue
        heap.append(item)
        _rise(heap, len(heap) - 1, item)
        if len(heap) > k:
            _sink(heap, len(heap) - 1)
            heap.pop()
    for size in range(len(heap) - 1, 0, -1):
        _sink(heap, size)
    return np.array([number for _, number in heap], np.int64)


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
