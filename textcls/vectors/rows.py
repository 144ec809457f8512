"""What files of vectors are read into, and how far a long reading has come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from textcls.errors import InputError
from textcls.vectors.pieces import Float32, PieceVectors

log = logging.getLogger("textcls")

# Says of a word and its place in the file, from 0, whether its vector is wanted.
Wanted = Callable[[str, int], bool]

# Numbers that a vector may have.
MOST_WIDTH = 1 << 16
_SECONDS = 5.0


class WordVectors(NamedTuple):
    """Vectors of words.

    Attributes:
        words: as the file has them, in its order.
        vectors: float32 ``[len(words), width]``.
        pieces: those of which any other word consists; None: there are none.
    """

    words: list[str]
    vectors: Float32
    pieces: PieceVectors | None = None


class Reading:
    """Collects the vectors of a file that is read from its beginning to its end.

    Args:
        path: of the file.
        size: its bytes.
        width: numbers of each vector.
    """

    def __init__(self, path: str, size: int, width: int) -> None:
        if not 0 < width <= MOST_WIDTH:
            raise InputError(f"{path}: line 1: vectors of {width} numbers cannot be used")
        self.path, self.width, self._size = path, width, max(size, 1)
        self._words: list[str] = []
        self._vectors = np.empty((1024, width), np.float32)
        self._told = time.monotonic()

    def add(self, word: str, vector: Float32, where: str) -> None:
        """Take a vector, of a word that may have one already: the first counts.

        Args:
            word: whose it is.
            vector: float32 ``[width]``.
            where: it stands in the file, for a message.

        Raises:
            InputError: a number of it is not finite.
        """
        if not np.isfinite(vector).all():
            raise InputError(f"{self.path}: {where}: a number of the vector is not finite")
        if len(self._words) == len(self._vectors):
            grown = np.empty((2 * len(self._vectors), self.width), np.float32)
            grown[: len(self._words)] = self._vectors
            self._vectors = grown
        self._vectors[len(self._words)] = vector
        self._words.append(word)

    def tell(self, position: int) -> None:
        """Log now and then how far the reading has come, in bytes."""
        if time.monotonic() - self._told >= _SECONDS:
            self._told = time.monotonic()
            log.info(
                "%s: %.0f %% of %.1f GB read", self.path, 100 * position / self._size,
                self._size / 1e9,
            )  # fmt: skip

    def done(self) -> WordVectors:
        """Return what was collected."""
        return WordVectors(self._words, self._vectors[: len(self._words)].copy())


def header_of(line: bytes) -> tuple[int, int] | None:
    """Return how many vectors a file says it has, and their width; None: the line is no header."""
    fields = line.split()
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 12 for field in fields):
        return None
    return int(fields[0]), int(fields[1])
