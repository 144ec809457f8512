"""The rows of a split, out of its files: texts as Arrow arrays, labels as numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int64, as_numpy, integers, large_strings, offsets_of
from textcls.config import Reading
from textcls.corpus.columnar import as_strings
from textcls.corpus.columns import describe_columns
from textcls.corpus.delimited import DelimitedFile
from textcls.corpus.labels import FoundLabels, LabelReader
from textcls.corpus.splits import RowLabels
from textcls.corpus.tables import TableFile, plural
from textcls.corpus.weights import Float64, weights_of
from textcls.errors import InputError

Bools = npt.NDArray[np.bool_]
Place = Callable[[int], str]


@dataclass(frozen=True)
class Rows:
    """Some rows of a split that follow one another.

    Attributes:
        chunks: their texts, Arrow strings, null where a row has none.
        labels: not yet numbered.
        weights: what they weigh, float64 ``[num_rows]``; None: they have no weights.
    """

    chunks: list[pa.Array]
    labels: FoundLabels
    weights: Float64 | None

    def __len__(self) -> int:
        return len(self.labels.counts)

    def slice(self, start: int, stop: int) -> Rows:
        """Return rows ``start`` to ``stop - 1`` of them."""
        codes, counts, shares = self.labels
        ends = offsets_of(counts)[start : stop + 1]
        own = slice(ends[0], ends[-1])
        labels = FoundLabels(codes[own], counts[start:stop], shares[own])
        weights = None if self.weights is None else self.weights[start:stop]
        chunks = pa.chunked_array(self.chunks).slice(start, stop - start).chunks
        return Rows(chunks, labels, weights)

    @classmethod
    def concatenate(cls, parts: Sequence[Rows]) -> Rows:
        """Join rows that follow one another; their texts are of one type then."""
        chunks = [chunk for part in parts for chunk in part.chunks]
        if len({chunk.type for chunk in chunks}) > 1:  # two formats, or two readers of one
            chunks = [chunk.cast(pa.large_string()) for chunk in chunks]
        weights = [part.weights for part in parts if part.weights is not None]
        labels = FoundLabels.concatenate([part.labels for part in parts])
        return cls(chunks, labels, np.concatenate(weights) if weights else None)


class RowReader:
    """Reads the texts and labels of one split, out of one file or several.

    Args:
        files: of the split; all have these columns.
        reading: what the user says of them.
        text_columns, label_columns: what to read.
        weight_column: of what the rows weigh; None: all weigh the same.
        soft: whether to read how probable labels are.

    Attributes:
        labels: reads the labels, and numbers them.
        where: the files, for messages.
        soft: whether it reads how probable labels are.

    Raises:
        InputError: a file lacks a column.
    """

    def __init__(
        self,
        files: Sequence[TableFile],
        reading: Reading,
        text_columns: tuple[str, ...],
        label_columns: tuple[str, ...],
        weight_column: str | None = None,
        soft: bool = False,
    ) -> None:
        first = files[0]
        self.where = first.facts.path
        if len(files) > 1:
            self.where += f" and {len(files) - 1} more"
        names = first.class_names.get(label_columns[0])
        self.labels = LabelReader(reading, label_columns, names, soft)
        self._pieces: list[_Piece] = []
        self._kept = 0
        self._files, self.soft = files, soft
        self._text, self._label, self._weight = text_columns, label_columns, weight_column
        self._columns = (*text_columns, *label_columns)
        if weight_column is not None:
            self._columns = (*self._columns, weight_column)
        for file in files:
            for column in self._columns:
                if column not in file.columns:
                    raise InputError(f"{describe_columns(file)}: there is no column '{column:.40}'")
            if file.class_names.get(label_columns[0]) != names:
                raise InputError(
                    f"{file.facts.path}: numbers its labels otherwise than {first.facts.path}"
                )

    def read(self) -> Rows:
        """Read all rows.

        Raises:
            InputError: a row cannot be read.
        """
        return Rows.concatenate(list(self.batches()))

    def batches(self) -> Iterator[Rows]:
        """Yield all rows, some thousand at a time; see :meth:`read`."""
        for file in self._files:
            read = self._headers = self._blanks = 0  # rows; the latter two are left out
            # Of several columns each says whether a row has that label: none is a list.
            only = frozenset(self._label if len(self._label) == 1 else ())
            file.kept, file.lists = (only, file.lists) if self.soft else (file.kept, only)
            for table in file.batches(self._columns):
                yield self._rows_of(table, file, read)
                read += table.num_rows
            file.facts.rows -= self._headers + self._blanks
            if self._headers:
                file.facts.notes.append(
                    f"{plural(self._headers, 'row repeats', 'rows repeat')} the header: left out"
                )
            if self._blanks:
                rows = plural(self._blanks, "row has", "rows have")
                file.facts.notes.append(f"{rows} neither text nor label: left out")

    def _rows_of(self, table: pa.Table, file: TableFile, first: int) -> Rows:
        kept = None
        if isinstance(file, DelimitedFile):
            first_label = self._label[0]
            headers = _header_rows(table, first_label) if file.dialect.header else _no_rows(table)
            blanks = _blank_rows(table, first_label)
            if (headers | blanks).any():
                self._headers += int(headers.sum())
                self._blanks += int(blanks.sum())
                kept = np.flatnonzero(~(headers | blanks))
                table = table.take(integers(kept))
        start = self._kept
        self._kept += table.num_rows
        self._pieces.append(_Piece(start, file, first, kept))

        def place(row: int) -> str:
            return self.place(start + row)

        chunks = join_columns(table, self._text, place).chunks
        labels = [table.column(name) for name in self._label]
        for column in labels:
            _check_utf8(column, place)
        found, weights = self.labels.read(labels, place), None
        if self._weight is not None:
            weights = weights_of(table.column(self._weight), self._weight, place)
        return Rows(chunks, found, weights)

    def numbered(
        self, rows: Rows, names: Sequence[str], several: bool, known: str, first: int = 0
    ) -> RowLabels:
        """Return the labels of rows as positions in ``names``, with what the rows weigh.

        Args:
            rows: that this has read.
            names: of the classes.
            several: whether rows have any number of labels.
            known: whose classes these are, for messages: ``train``.
            first: how many rows stand before these.

        Raises:
            InputError: see :meth:`~textcls.corpus.labels.LabelReader.numbered`.
        """

        def place(row: int) -> str:
            return self.place(first + row)

        labels = self.labels.numbered(rows.labels, names, several, place, known)
        return dataclasses.replace(labels, weights=rows.weights)

    def place(self, row: int) -> str:
        """Say in which file and where in it a row is."""
        piece = next(piece for piece in reversed(self._pieces) if piece.start <= row)
        row -= piece.start
        at = row if piece.kept is None else int(piece.kept[row])
        return f"{piece.file.facts.path}: {piece.file.locate(piece.first + at)}"


@dataclass(frozen=True)
class _Piece:
    """Some rows of a file that follow one another.

    Attributes:
        start: the number of the first of them that is kept, among all that are.
        file: where they are.
        first: the number of the first of them in the file.
        kept: int64 ``[n]``, which of them are kept; None: all.
    """

    start: int
    file: TableFile
    first: int
    kept: Int64 | None


def _no_rows(table: pa.Table) -> Bools:
    return np.zeros(table.num_rows, np.bool_)


def _blank_rows(table: pa.Table, label_column: str) -> Bools:
    """Say which rows hold nothing, bool ``[num_rows]``: spreadsheets write such at the end."""
    if not table.column(label_column).null_count:
        return _no_rows(table)
    nulls = [as_numpy(column.is_null().combine_chunks()) for column in table.columns]
    blank: Bools = np.logical_and.reduce(nulls)
    return blank


def _header_rows(table: pa.Table, label_column: str) -> Bools:
    """Say in which rows every field is the name of its column, bool ``[num_rows]``."""
    # (pyarrow would import pandas to compare with a value of Python's: only where that may be.)
    if label_column not in pc.unique(table.column(label_column)).to_pylist():
        return _no_rows(table)
    same = [pc.fill_null(pc.equal(table[name], name), False) for name in table.column_names]
    repeats: Bools = np.logical_and.reduce([as_numpy(c.combine_chunks()) for c in same])
    return repeats


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
    texts = parts[0]
    for part in parts[1:]:
        # (With null_handling="skip" pyarrow drops a row whose parts are all null.)
        space = large_strings([b" "])[0]
        texts, part = texts.cast(pa.large_string()), part.cast(pa.large_string())
        both = pc.binary_join_element_wise(texts, part, space)  # null where one of them is
        texts = pc.coalesce(both, texts, part)
    return texts


def _check_utf8(column: pa.ChunkedArray, place: Place) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        if pa.types.is_nested(column.type):
            raise InputError(f"{place(0)} or a row after it is not UTF-8 text") from None
        values = column.cast(pa.large_binary()).to_pylist()
        row = next(i for i, value in enumerate(values) if not _is_utf8(value or b""))
        raise InputError(f"{place(row)} is not UTF-8 text: mend the file") from None


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True
