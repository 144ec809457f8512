"""Vectors in text files, as GloVe, word2vec and fastText write them: a word and numbers a line.

A first line with two numbers, how many words and how wide, may be there or not.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from textcls.errors import InputError
from textcls.vectors.pieces import Float32
from textcls.vectors.rows import Reading, Wanted, WordVectors, header_of

# Bytes of a line: a binary file has none that end.
LONGEST_LINE = 1 << 21


def read_text(path: Path, wanted: Wanted) -> WordVectors:
    """Read the wanted vectors of a text file, line by line.

    Args:
        path: of the file.
        wanted: says which vectors to keep.

    Raises:
        InputError: the file is damaged.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        first = _line(file.readline(LONGEST_LINE + 1), path, 1)
        header = header_of(first)
        width = first.count(b" ") if header is None else header[1]
        reading = Reading(str(path), path.stat().st_size, width)
        count, position, line = 0, len(first), first
        number = 1
        if header is not None:
            number, line = 2, file.readline(LONGEST_LINE + 1)
            position += len(line)
        while line:
            line = _line(line, path, number)
            spaces = line.count(b" ")
            if not line and not file.read(LONGEST_LINE).strip():
                break  # an empty line at the end
            if spaces < width:
                raise InputError(
                    f"{path}: line {number}: has {spaces} numbers after the word, not {width} as "
                    "before: the file is damaged or cut off"
                )
            # A word may hold spaces; one that is no text is none that could be wanted.
            word = (
                line[: line.index(b" ")] if spaces == width else line.rsplit(b" ", width)[0]
            ).decode("utf-8", "replace")
            if wanted(word, count):
                vector = _numbers(line, width, path, number)
                reading.add(word, vector, f"line {number}")
            count, number = count + 1, number + 1
            reading.tell(position)
            line = file.readline(LONGEST_LINE + 1)
            position += len(line)
    if header is not None and count < header[0]:
        raise InputError(
            f"{path}: line {number}: the file ends after {count:,} of {header[0]:,} vectors: it is "
            "cut off"
        )
    return reading.done()


def _line(line: bytes, path: Path, number: int) -> bytes:
    """Return a line without what ends it."""
    if len(line) > LONGEST_LINE:
        raise InputError(
            f"{path}: line {number}: is longer than {LONGEST_LINE:,} bytes: is it a text file of "
            "vectors? (word2vec's binary files are named .bin)"
        )
    return line.replace(b"\t", b" ").rstrip()


def _numbers(line: bytes, width: int, path: Path, number: int) -> Float32:
    try:
        return np.array(line.rsplit(b" ", width)[1:], np.float32)
    except ValueError:
        pass
    wrong = next(field for field in line.rsplit(b" ", width)[1:] if not _is_number(field))
    shown = wrong[:40].decode("utf-8", "replace")
    raise InputError(f"{path}: line {number}: {shown!r} is no number")


def _is_number(field: bytes) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True
