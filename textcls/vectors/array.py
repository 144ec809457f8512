"""Vectors in NumPy's files: the numbers in one, ``.npy``, a word a line in another, ``.txt``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from textcls.errors import InputError, first_line
from textcls.vectors.rows import MOST_WIDTH, Wanted, WordVectors

ARRAY = ".npy"


def words_beside(path: Path) -> Path:
    """Return the file of the words of a file of vectors.

    Raises:
        InputError: there is none.
    """
    words = path.with_suffix(".txt")
    if not words.is_file():
        raise InputError(f"{path}: there is no {words.name} beside it, with a word in each line")
    return words


def read_array(path: Path, wanted: Wanted) -> WordVectors:
    """Read the wanted vectors of a ``.npy`` file, and no others.

    Args:
        path: of the file; its words are in the file of the same name in ``.txt``.
        wanted: says which vectors to keep.

    Raises:
        InputError: a file is damaged, or they do not fit each other.
        OSError: one cannot be read.
    """
    beside = words_beside(path)
    try:
        table = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: is no .npy file of numbers ({first_line(error)})") from None
    if table.ndim != 2 or table.dtype.kind != "f" or not 0 < table.shape[1] <= MOST_WIDTH:
        raise InputError(
            f"{path}: has {table.dtype} {list(table.shape)}, where vectors are floats "
            "[num_words, width]"
        )
    places: dict[str, int] = {}
    count = 0
    with beside.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
        for count, line in enumerate(lines, 1):
            word = line.rstrip("\r\n")
            if word not in places and wanted(word, count - 1):
                places[word] = count - 1
    if count != len(table):
        raise InputError(f"{beside}: has {count:,} words, {path.name} {len(table):,} vectors")
    with np.errstate(over="ignore"):  # told below
        vectors = np.asarray(table[list(places.values())], np.float32)
    for place, vector in zip(places.values(), vectors, strict=True):
        if not np.isfinite(vector).all():
            raise InputError(f"{path}: vector {place + 1:,}: a number of it is not finite")
    return WordVectors(list(places), vectors)
