"""Vectors in word2vec's binary files: a line with two numbers, then a word and floats by turns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from textcls.errors import InputError
from textcls.vectors.rows import Reading, Wanted, WordVectors, header_of

BLOCK = 1 << 24
LONGEST_WORD = 1 << 14


def read_binary(path: Path, wanted: Wanted) -> WordVectors:
    """Read the wanted vectors of a binary file of word2vec.

    Args:
        path: of the file.
        wanted: says which vectors to keep.

    Raises:
        InputError: the file is damaged, or of another kind.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first = file.readline(LONGEST_WORD)
        header = header_of(first)
        if header is None:
            raise InputError(
                f"{path}: line 1: does not say how many vectors there are, and how wide, as binary "
                "files of word2vec do"
            )
        total, width = header
        reading = Reading(str(path), path.stat().st_size, width)
        buffer, at, position = b"", 0, len(first)
        for count in range(total):
            where = f"vector {count + 1:,} of {total:,}"
            if len(buffer) - at < LONGEST_WORD + 4 * width:
                position += at
                reading.tell(position)
                buffer, at = buffer[at:] + file.read(BLOCK), 0
            # The word2vec of old writes a line break after each vector, others do not.
            start = at + 1 if buffer[at : at + 1] == b"\n" else at
            end = buffer.find(b" ", start, start + LONGEST_WORD)
            at = end + 1 + 4 * width
            if end < 0 or at > len(buffer):
                raise InputError(f"{path}: {where}: the file is damaged or cut off here")
            word = buffer[start:end].decode("utf-8", "replace")
            if wanted(word, count):
                reading.add(word, np.frombuffer(buffer, "<f4", width, end + 1), where)
    return reading.done()
