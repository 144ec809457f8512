"""The rows of a split, out of its files: texts as Arrow arrays, labels as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int64, booleans
from textcls.config import Reading
from textcls.corpus.columnar import as_strings
from textcls.corpus.columns import describe_columns
from textcls.corpus.delimited import DelimitedFile
from textcls.corpus.labels import LabelReader
from textcls.corpus.tables import TableFile, plural
from textcls.errors import InputError

Place = Callable[[int], str]


class RowReader:
    """The texts and labels of one split, out of one file or several.

    Args:
        files: of the split; all have these columns.
        reading: what the user says of them.
        text_columns, label_column: what to read.

    Attributes:
        chunks: the texts, Arrow strings, null where a row has none.
        labels: collected, not yet numbered.
        where: the files, for messages.

    Raises:
        InputError: a file lacks a column, or a row cannot be read.
    """

    def __init__(
        self,
        files: Sequence[TableFile],
        reading: Reading,
        text_columns: tuple[str, ...],
        label_column: str,
    ) -> None:
        self._files = files
        first = files[0]
        self.where = first.facts.path
        if len(files) > 1:
            self.where += f" and {len(files) - 1} more"
        self.chunks: list[pa.Array] = []
        self.labels = LabelReader(reading, label_column, first.class_names.get(label_column))
        self._starts: list[int] = []  # the number of each file's first row
        self._dropped: list[int] = []  # rows that repeat a header
        rows = 0
        for file in files:
            for column in (*text_columns, label_column):
                if column not in file.columns:
                    raise InputError(f"{describe_columns(file)}: there is no column '{column:.40}'")
            if file.class_names.get(label_column) != first.class_names.get(label_column):
                raise InputError(
                    f"{file.facts.path}: numbers its labels otherwise than {first.facts.path}"
                )
            self._starts.append(rows)
            for table in file.batches((*text_columns, label_column)):
                rows += self._add(table, file, text_columns, label_column, rows)
        if self._dropped:
            first.facts.notes.append(
                f"{plural(len(self._dropped), 'row repeats', 'rows repeat')} the header: left out"
            )

    def _add(
        self,
        table: pa.Table,
        file: TableFile,
        text_columns: tuple[str, ...],
        label_column: str,
        before: int,
    ) -> int:
        if isinstance(file, DelimitedFile) and file.dialect.header:
            repeats = _header_rows(table, label_column)
            if len(repeats):
                self._dropped += (repeats + before + len(self._dropped)).tolist()
                table = table.filter(booleans(~np.isin(np.arange(len(table)), repeats)))

        def place(row: int) -> str:
            return self.place(before + row)

        self.chunks += join_columns(table, text_columns, place).chunks
        _check_utf8(table.column(label_column), place)
        self.labels.add(table.column(label_column), place)
        return int(table.num_rows)

    def place(self, row: int) -> str:
        """Say in which file and where in it a row is."""
        # Rows that were left out count in the file.
        for dropped in self._dropped:
            row += dropped <= row
        at = int(np.searchsorted(self._starts, row, side="right")) - 1
        file = self._files[at]
        return f"{file.facts.path}: {file.locate(row - self._starts[at])}"


def _header_rows(table: pa.Table, label_column: str) -> Int64:
    """Return the numbers of rows whose every field is the name of its column, int64 ``[n]``."""
    # (pyarrow would import pandas to compare with a value of Python's: only where that may be.)
    if label_column not in pc.unique(table.column(label_column)).to_pylist():
        return np.zeros(0, np.int64)
    same = [pc.fill_null(pc.equal(table[name], name), False) for name in table.column_names]
    return np.flatnonzero(np.logical_and.reduce([column.to_numpy() for column in same]))


def join_columns(
    table: pa.Table, columns: Sequence[str], place: Place | None = None
) -> pa.ChunkedArray:
    """Return the texts of a table: of several columns, joined by a space.

    Args:
        table: with these columns.
        columns: of text.
        place: says where a row is, for messages; None: the text is known to be UTF-8.

    Returns:
        Arrow strings, null where a row has no text in any of the columns.

    Raises:
        InputError: a column that holds no text, or bytes that are no UTF-8.
    """
    parts = []
    for name in columns:
        try:
            part = as_strings(table.column(name))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            at = f"{place(0)}: " if place else ""
            kind = table.column(name).type
            raise InputError(f"{at}column '{name:.40}' holds {kind}, not text") from None
        if place is not None:
            _check_utf8(part, place)
        parts.append(part)
    if len(parts) == 1:
        return parts[0]
    return pc.binary_join_element_wise(
        *[part.cast(pa.large_string()) for part in parts],
        pa.scalar(" ", pa.large_string()),
        null_handling="skip",
    )


def _check_utf8(column: pa.ChunkedArray, place: Place) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        values = column.cast(pa.large_binary()).to_pylist()
        row = next(i for i, value in enumerate(values) if not _is_utf8(value or b""))
        raise InputError(f"{place(row)} is not UTF-8 text: mend the file") from None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
