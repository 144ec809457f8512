"""Predictions as csv, tsv, jsonl or parquet: a row for each text, written as it comes."""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet

from textcls.errors import InputError
from textcls.report.kept import arrow_column, arrow_field, cells, json_values
from textcls.report.predicted import other_names

FORMATS = ("csv", "tsv", "jsonl", "parquet")
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_COMPRESSIONS = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}


def format_by_name(path: Path) -> str:
    """Return the format that a file's name asks for, compressed or not.

    Raises:
        InputError: it asks for none of ours.
    """
    found = suffix_of(path)
    if found == "parquet" and compression_by_name(path):
        raise InputError(
            f"--out {shlex.quote(str(path))}: a Parquet file is packed already: name it .parquet"
        )
    if found not in FORMATS:
        raise InputError(
            f"--out {shlex.quote(str(path))}: name it .csv, .tsv, .jsonl or .parquet, or say which "
            "it is, as in --format csv"
        )
    return found


def suffix_of(path: Path) -> str:
    """Return the ending of a file's name, without that of its compression: ``csv``."""
    name = path.with_suffix("") if compression_by_name(path) else path
    return name.suffix.lower().removeprefix(".")


def compression_by_name(path: Path) -> str | None:
    """Return the compression that a file's name asks for, as pyarrow names it."""
    return _COMPRESSIONS.get(path.suffix.lower())


def list_delimiter(wanted: str | None, label_names: Sequence[str]) -> str | None:
    """Return what can stand between the labels of a csv's cell, and between their probabilities.

    Args:
        wanted: what stood there in the model's own data; None: a comma.
        label_names: that may be written.

    Returns:
        None: nothing so wanted, since a label holds it, or a number may.
    """
    delimiter = wanted or ","
    is_of_numbers = set(delimiter) <= set("0123456789.e+-")
    return None if is_of_numbers or any(delimiter in name for name in label_names) else delimiter


class PredictionWriter:
    """Writes a row for each text: what is predicted of it.

    Columns of the input that are kept come first; one that has the name of ours is put as
    ``input_NAME``.

    Use as a context manager: leaving it completes the file.

    Args:
        file: is written to, and not closed.
        format: one of ``FORMATS``.
        schema: of what is predicted, as :class:`~.predicted.Predicted` has it.
        delimiter: stands in csv and tsv between what a list holds; None: lists are written as JSON.

    Attributes:
        renamed: kept columns that have another name in the output, and that name; known once the
            first rows are written.
    """

    def __init__(
        self,
        file: BinaryIO,
        format: str,
        schema: pa.Schema,
        delimiter: str | None = ",",
    ) -> None:
        self.format = format
        self.delimiter = delimiter
        self.schema = schema  # of what is ours; then also of what is kept
        self.renamed: dict[str, str] = {}
        self._kept: pa.Schema | None = None
        self._file = file
        self._parquet: pa.parquet.ParquetWriter | None = None

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._kept is None:
            self._begin(pa.schema([]))  # without a row there are still columns
        if self._parquet is not None:  # its end says where everything is
            self._parquet.close()

    def _begin(self, kept: pa.Schema) -> pa.Schema:
        """Write what comes before the first row; not before there is one, or there will be none."""
        self._kept = kept
        self.renamed = other_names(kept.names, self.schema.names)
        fields = [arrow_field(field, self.renamed.get(field.name, field.name)) for field in kept]
        self.schema = pa.schema([*fields, *self.schema])
        if self.format == "parquet":
            self._parquet = pa.parquet.ParquetWriter(self._file, self.schema)
        elif self.format in _DELIMITERS:
            self._write_csv([self.schema.names])
        return kept

    def write(self, answers: pa.Table, kept: pa.Table | None = None, where: str = "") -> None:
        """Write the rows of some texts.

        Args:
            answers: what is predicted, of the schema.
            kept: columns of the input with as many rows, as of
                :class:`~textcls.corpus.reading.Piece`; the same columns each time.
            where: the input, for messages.

        Raises:
            InputError: the input has other columns than the one before it.
        """
        kept = pa.table({}) if kept is None else kept
        first = self._begin(kept.schema) if self._kept is None else self._kept
        if set(kept.column_names) != set(first.names):
            raise InputError(
                f"{where}: keeps the columns {_listing(kept.schema)}, the file before it "
                f"{_listing(first)}: name those that all files have, as in --keep id"
            )
        theirs = [(kept.column(name), kept.schema.field(name)) for name in first.names]
        ours = [column.combine_chunks() for column in answers.columns]
        if self._parquet is not None:
            of_schema = zip(theirs, self.schema, strict=False)
            columns = [arrow_column(*pair, field.type, where) for pair, field in of_schema]
            self._parquet.write_table(pa.table([*columns, *ours], schema=self.schema))
        elif self.format in _DELIMITERS:
            texts = [*(cells(*pair) for pair in theirs), *map(self._cells, ours)]
            self._write_csv(zip(*texts, strict=True))
        else:
            values = [json_values(*pair) for pair in theirs]
            values += [_shown(column) for column in ours]
            lines = [
                json.dumps(dict(zip(self.schema.names, row, strict=True)), ensure_ascii=False)
                for row in zip(*values, strict=True)
            ]
            self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()

    def _cells(self, column: pa.Array) -> list[Any]:
        """Return the values of a column of ours as they are written in a CSV."""
        values = _shown(column)
        if not pa.types.is_list(column.type):
            return ["" if value is None else value for value in values]
        if self.delimiter is None:
            return [json.dumps(row, ensure_ascii=False) for row in values]
        return [self.delimiter.join(map(str, row)) for row in values]

    def _write_csv(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, delimiter=_DELIMITERS[self.format], lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())


def _listing(schema: pa.Schema) -> str:
    more = f" and {len(schema) - 8} more" if len(schema) > 8 else ""
    return f"{', '.join(schema.names[:8]) or 'none':.80}{more}"


def _shown(column: pa.Array) -> list[Any]:
    """Return values as they are written; probabilities to seven digits, which is all they have."""
    if pa.types.is_list(column.type):
        flat = _shown(column.flatten())
        return [flat[a:b] for a, b in pairwise(column.offsets.to_pylist())]
    values: list[Any] = column.to_pylist()
    if pa.types.is_floating(column.type):
        return [None if value is None else float(f"{value:.7g}") for value in values]
    return values
