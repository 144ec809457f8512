"""Parquet, Arrow and Excel files, and data sets of Hugging Face ``datasets``, as Arrow tables."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from textcls.config import Reading
from textcls.corpus.dialect import column_names, has_header
from textcls.corpus.opening import Errors, Unpacked
from textcls.corpus.tables import (
    BATCH_BYTES,
    BATCH_ROWS,
    HEAD_ROWS,
    FileFacts,
    TableFile,
    cell,
    nullable_strings,
)
from textcls.errors import InputError, first_line, raise_if_out_of_memory

# What is read of a column of a Parquet file at one go.
_BUFFER_BYTES = 1 << 20


class ArrowFile(TableFile):
    """A Parquet file, or one of Arrow's own (Feather, a stream).

    Args:
        unpacked: the file.
        is_parquet: which of them.
        errors: ``replace`` puts U+FFFD in the place of bytes that are no UTF-8.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, unpacked: Unpacked, is_parquet: bool, errors: Errors = "strict") -> None:
        self._unpacked, self._is_parquet, self._errors = unpacked, is_parquet, errors
        self.path = unpacked.path
        self.facts = FileFacts(
            str(self.path),
            "parquet" if is_parquet else "arrow",
            compression=unpacked.compression,
        )
        with self._opened() as (schema, tables):
            names = list(schema.names)
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise InputError(f"{self.path}: two columns have one name, {twice:.40}")
            if not names:
                raise InputError(f"{self.path}: has no columns")
            self.class_names = _class_names_of_schema(schema)
            self.facts.columns = tuple(names)
            first = next(tables(names, HEAD_ROWS), None)
            self.head = schema.empty_table() if first is None else first.slice(0, HEAD_ROWS)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        self.facts.rows = 0
        with self._opened() as (_, tables):
            for table in tables(list(dict.fromkeys(columns)), BATCH_ROWS):
                self.facts.rows += table.num_rows
                if self._errors == "replace":
                    table = _mended(table)
                yield table

    @contextlib.contextmanager
    def _opened(self) -> Iterator[tuple[pa.Schema, Any]]:
        try:
            with contextlib.ExitStack() as stack:
                if self._unpacked.compression is not None:
                    # Its end says where everything is, so it is needed whole.
                    whole = stack.enter_context(self._unpacked.open()).read()
                    source: Any = pa.BufferReader(whole)
                elif self._is_parquet:  # what is mapped would stay in memory
                    source = stack.enter_context(pa.OSFile(str(self.path)))
                else:
                    source = stack.enter_context(pa.memory_map(str(self.path)))
                yield self._reader(source)
        except MemoryError:  # Arrow's is both: it is no fault of the file's
            raise
        except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
            raise_if_out_of_memory(error)
            # (What pyarrow says of it is about the format's inner parts.)
            reason = " (a name in it is not UTF-8)" if isinstance(error, UnicodeDecodeError) else ""
            raise InputError(
                f"{self.path}: is no {self.facts.format} file, or a damaged one{reason}: "
                "write it again"
            ) from None

    def _reader(self, source: Any) -> tuple[pa.Schema, Any]:
        if self._is_parquet:
            from pyarrow.parquet import ParquetFile

            # By pages, since a row group may be the whole file.
            file = ParquetFile(source, pre_buffer=False, buffer_size=_BUFFER_BYTES)
            about = file.metadata
            size = sum(about.row_group(i).total_byte_size for i in range(about.num_row_groups))
            most = max(1, BATCH_BYTES * about.num_rows // max(1, size))

            def tables(columns: list[str], rows: int) -> Iterator[pa.Table]:
                for batch in file.iter_batches(min(rows, most), columns=columns, use_threads=False):
                    yield pa.Table.from_batches([batch])

            return file.schema_arrow, tables
        with contextlib.suppress(pa.ArrowInvalid):
            file = pa.ipc.open_file(source)
            batches = (file.get_batch(i) for i in range(file.num_record_batches))
            return file.schema, lambda columns, _: (
                pa.Table.from_batches([batch]).select(columns) for batch in batches
            )
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return stream.schema, lambda columns, _: (
            pa.Table.from_batches([batch]).select(columns) for batch in stream
        )


class DatasetTable(TableFile):
    """A data set of Hugging Face ``datasets``: of the hub, of ``save_to_disk``, or made in Python.

    Args:
        dataset: a ``datasets.Dataset``.
        where: what it is called in messages.
    """

    def __init__(self, dataset: Any, where: str) -> None:
        # The table behind a dataset ignores select() and the like: with_format("arrow") does not.
        self._dataset = dataset.with_format("arrow")
        self.path = where
        self.facts = FileFacts(where, "dataset", columns=tuple(dataset.column_names))
        self.class_names = {
            column: list(feature.names)
            for column, feature in dataset.features.items()
            if hasattr(feature, "names")
        }
        self.head = self._dataset[:HEAD_ROWS]

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        self.facts.rows = len(self._dataset)
        chosen = self._dataset.select_columns(list(dict.fromkeys(columns)))
        if len(chosen):
            yield from chosen.iter(BATCH_ROWS)


class Workbook(TableFile):
    """The first sheet of an Excel workbook that holds anything; every value is text.

    Args:
        unpacked: the file.
        reading: what the user says of it.

    Raises:
        InputError: openpyxl, which reads it, is not installed; the file is damaged or empty.
    """

    def __init__(self, unpacked: Unpacked, reading: Reading) -> None:
        self.path = unpacked.path
        self.facts = FileFacts(str(self.path), "xlsx")
        notes = self.facts.notes
        head = [list(row) for _, row in islice(self._sheet_rows(notes), HEAD_ROWS + 1)]
        if not head:
            raise InputError(f"{self.path}: is empty")
        width = max(map(len, head))
        first, *rest = [[value or "" for value in row] + [""] * (width - len(row)) for row in head]
        names = None if reading.columns is None else list(reading.columns)
        header = reading.header
        if header is None:
            header = has_header(first, rest, names, self.path)
        self.facts.header = header
        found = column_names(first, notes) if header else column_names([""] * width, [])
        columns = tuple(names or found)
        if len(columns) != width or len(set(columns)) != width:
            raise InputError(
                f"{self.path}: needs {width} different column names, not {', '.join(columns):.80}"
            )
        self.facts.columns = columns
        rows = rest if header else [first, *rest]
        values = zip(*rows, strict=True) if rows else [()] * width
        arrays = [nullable_strings([value or None for value in column])[0] for column in values]
        self.head = pa.table(arrays, names=list(columns))

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        wanted = [(name, self.columns.index(name)) for name in columns]
        rows = islice(self._sheet_rows(), int(bool(self.facts.header)), None)
        self.facts.rows = 0
        while numbered := list(islice(rows, BATCH_ROWS)):
            part = [row for _, row in numbered]
            wide = next((n for n, row in numbered if any(row[len(self.columns) :])), None)
            if wide is not None:
                raise InputError(
                    f"{self.path}: row {wide:,} of the sheet has cells beyond the last column, "
                    f"{self.columns[-1]:.40}: name all columns in the first row"
                )
            self.facts.rows += len(part)
            values = {n: [row[i] if i < len(row) else None for row in part] for n, i in wanted}
            yield pa.table({name: nullable_strings(column)[0] for name, column in values.items()})

    def locate(self, row: int) -> str:
        """Say in which row of the sheet a row is."""
        number, _ = next(islice(self._sheet_rows(), row + int(bool(self.facts.header)), None))
        return f"row {number:,} of the sheet"

    def _sheet_rows(self, notes: list[str] | None = None) -> Iterator[tuple[int, list[str | None]]]:
        """Yield the number and the cells of each row that is not blank."""
        try:
            import openpyxl
        except ImportError:
            raise InputError(
                f"{self.path}: is an Excel workbook, which needs pip install 'textcls[excel]': "
                "install it, or save the sheet as .csv"
            ) from None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of styles that it does not know
                with contextlib.ExitStack() as stack:
                    # (Of a path, openpyxl reads only what ends in .xlsx or .xlsm.)
                    file = stack.enter_context(self.path.open("rb"))
                    book = openpyxl.load_workbook(file, read_only=True, data_only=True)
                    stack.callback(book.close)
                    for sheet in book.worksheets:
                        sheet.reset_dimensions()  # which other programs get wrong
                        is_blank = True
                        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                            row = [cell(value) for value in cells]
                            if not any(value is not None and value.strip() for value in row):
                                continue
                            if is_blank and notes is not None and len(book.worksheets) > 1:
                                others = [s.title for s in book.worksheets if s is not sheet]
                                names = ", ".join(others)
                                notes.append(f"sheet {sheet.title} is read, not {names:.80}")
                            is_blank = False
                            yield number, row
                        if not is_blank:
                            return
        except (InputError, MemoryError):
            raise
        except Exception as error:  # zipfile, the XML parser and openpyxl each raise their own
            raise InputError(
                f"{self.path}: is no Excel workbook that can be read ({first_line(error):.100}): "
                "save it as .csv"
            ) from None


def _class_names_of_schema(schema: pa.Schema) -> Mapping[str, list[str]]:
    """Return the label names that ``datasets`` wrote into a file, by column."""
    names = {}
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):
        known = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        for column, feature in known.items():
            if feature.get("_type") == "ClassLabel":
                names[column] = [str(name) for name in feature["names"]]
    return names


def _mended(table: pa.Table) -> pa.Table:
    """Put U+FFFD where a string column holds bytes that are no UTF-8."""
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            texts = [
                None if value is None else value.decode("utf-8", "replace")
                for value in column.cast(pa.large_binary()).to_pylist()
            ]
            table = table.set_column(place, name, nullable_strings(texts)[0])
    return table


def as_strings(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column as strings: of whatever type that can be written as one.

    Raises:
        pa.ArrowInvalid, pa.ArrowNotImplementedError: it cannot (lists, structures).
    """
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_floating(column.type):
        whole = pc.all(pc.equal(pc.floor(column), column), skip_nulls=True).as_py()
        if whole:  # 1.0, since a missing value makes pandas's integers floats
            column = column.cast(pa.float64()).cast(pa.int64())
    return column.cast(pa.large_string() if column.type == pa.large_binary() else pa.string())
