"""The sums of the rows of words that were seen, which are kept for later texts."""

from __future__ import annotations

import threading
from itertools import repeat
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from textcls.arrow import Int64, lengths_of
from textcls.fasttext_models.encoding import Dictionary
from textcls.fasttext_models.hashing import UInt32
from textcls.fasttext_models.matrices import Float32, Matrix

# Numbers that are kept: 64 MiB.
_KEPT_NUMBERS = 1 << 24


class Table(NamedTuple):
    """What is known of words.

    Attributes:
        sums: float32 ``[capacity, dim + 1]``, of the rows of a word, and how many these are.
        hashes: uint32 ``[capacity]``.
        is_word: bool ``[capacity]``: not a label.
    """

    sums: Float32
    hashes: UInt32
    is_word: npt.NDArray[np.bool_]


class KnownWords:
    """The words that were seen. Threads may share it.

    Args:
        dictionary: that says which rows a word has.
        matrix: of these rows.
    """

    def __init__(self, dictionary: Dictionary, matrix: Matrix) -> None:
        self._dictionary, self._matrix = dictionary, matrix
        self._width = dictionary.arguments.dim + 1
        self._most = max(_KEPT_NUMBERS // self._width, 1)
        self._store = _Store(self._width)

    def of(self, words: list[bytes]) -> tuple[Int64, Table]:
        """Return the slots of distinct words in a table, int64 ``[num_words]``, and this table."""
        store = self._store
        slots = store.slots_of(words)
        (places,) = (slots < 0).nonzero()
        if len(places):
            if store.size and store.size + len(places) > self._most:
                store, places = _Store(self._width), np.arange(len(words))
            new = [words[place] for place in places.tolist()]
            slots[places] = store.add(new, self._rows_of(new), self._most)
            self._store = store
        return slots, store.table

    def _rows_of(self, words: list[bytes]) -> Table:
        rows = self._dictionary.rows_of(words)
        sums = np.empty((len(words), self._width), np.float32)
        sums[:, :-1] = self._matrix.sums(rows.ids, rows.offsets)
        sums[:, -1] = lengths_of(rows.offsets)
        return Table(sums, rows.hashes, rows.is_word)


class _Store:
    """Words and their slots in a table.

    A slot that others have taken is never written again, so that they read it without a lock.
    """

    def __init__(self, width: int) -> None:
        self.lock = threading.Lock()
        self.size = 0
        self.slot_of: dict[bytes, int] = {}
        sums = np.zeros((0, width), np.float32)
        self.table = Table(sums, np.zeros(0, np.uint32), np.zeros(0, np.bool_))

    def slots_of(self, words: list[bytes]) -> Int64:
        """Return the slot of each word, int64 ``[num_words]``; -1: it has none."""
        return np.fromiter(map(self.slot_of.get, words, repeat(-1)), np.int64, len(words))

    def add(self, words: list[bytes], known: Table, most: int) -> Int64:
        """Give words a slot that have none yet, and return the slot of each.

        Args:
            words: distinct ones.
            known: of them, in their order.
            most: slots that there should be.
        """
        with self.lock:
            slots = self.slots_of(words)
            (places,) = (slots < 0).nonzero()  # others may have added some meanwhile
            first, last = self.size, self.size + len(places)
            if last > len(self.table.sums):  # twice as much: few copies
                capacity = max(last, min(2 * last, most))
                self.table = Table(*(_enlarged(part, first, capacity) for part in self.table))
            for part, added in zip(self.table, known, strict=True):
                part[first:last] = added[places]
            slots[places] = np.arange(first, last)
            self.size = last
            new = [words[place] for place in places.tolist()]
            self.slot_of.update(zip(new, range(first, last), strict=True))
            return slots


def _enlarged(array: npt.NDArray[Any], used: int, size: int) -> npt.NDArray[Any]:
    found = np.zeros((size, *array.shape[1:]), array.dtype)
    found[:used] = array[:used]
    return found
