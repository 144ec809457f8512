"""Files of rows: what all formats have in common."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from textcls.arrow import large_strings

# A batch has this many rows, fewer where they are long.
BATCH_ROWS = 8_192
BATCH_BYTES = 1 << 22
# The first rows, by which is decided what the columns are.
HEAD_ROWS = 200

Format = Literal[
    "csv", "jsonl", "json", "parquet", "arrow", "xlsx", "fasttext", "lines", "texts", "dataset"
]


@dataclass
class FileFacts:
    """How one file was read. What counts rows is complete once all of them were read.

    Attributes:
        path: the file, or the data set and its split.
        format: by content where that says it, else by the name.
        rows: documents.
        columns: all of the file's, in order.
        multiline: fields of a CSV file that span several lines.
        notes: sentences for the user on what was found out, dropped or normalised.
    """

    path: str
    format: Format
    rows: int = 0
    columns: tuple[str, ...] = ()
    compression: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quoting: str | None = None
    header: bool | None = None
    multiline: int = 0
    notes: list[str] = dataclasses.field(default_factory=list)


class TableFile(ABC):
    """A file of rows, opened: its columns are known, its rows not yet read.

    Attributes:
        facts: how it is read.
        columns: its columns by name, in order.
        head: the first rows, at most ``HEAD_ROWS``, with all columns.
        class_names: the label names of columns of numbers, where the file itself gives them.
        kept: columns that are passed on as they are: those of a JSON file as JSON writes values.
        lists: columns in which a value may be a list, and is passed on as one.
    """

    facts: FileFacts
    head: pa.Table
    class_names: Mapping[str, list[str]] = {}
    kept: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in order."""
        return self.facts.columns

    @abstractmethod
    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows, some thousand at a time, with these columns.

        Raises:
            InputError: a row that cannot be read; the message names its line.
        """

    def locate(self, row: int) -> str:
        """Say where a row is, for messages.

        Args:
            row: its number, from 0.
        """
        return f"row {row + 1:,}"


def nullable_strings(values: Sequence[str | None]) -> tuple[pa.LargeStringArray, int]:
    """Return an Arrow string array, and how many values held half a character.

    A lone surrogate, which JSON can escape but no text holds, becomes U+FFFD.
    """
    mended = 0
    encoded = []
    for value in values:
        try:
            encoded.append((value or "").encode())
        except UnicodeEncodeError:
            encoded.append(whole(value or "").encode())
            mended += 1
    array = large_strings(encoded)
    there = np.packbits(np.array([v is not None for v in values], np.bool_), bitorder="little")
    _, ends, data = array.buffers()
    # (pa.array would import pandas to ask what the values are.)
    return pa.Array.from_buffers(array.type, len(array), [pa.py_buffer(there), ends, data]), mended


def whole(text: str) -> str:
    """Return a text with U+FFFD for halves of characters (lone surrogates)."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cell(value: Any) -> str | None:
    """Return a value of a loosely typed cell (JSON, Excel) as its text; None for none."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if value != value:
            return None  # NaN: how pandas writes that there is nothing
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def is_number(value: str) -> bool:
    """Say whether a cell is written as a number."""
    try:
        float(value)
    except ValueError:
        return False
    return True


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"
