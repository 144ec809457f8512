"""Predictions as csv, jsonl or parquet: a row for each text, written as it comes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from textcls.errors import InputError
from textcls.model.classifier import Float32, top

FORMATS = ("csv", "jsonl", "parquet")


def format_by_name(path: Path) -> str:
    """Return the format that a file's name asks for.

    Raises:
        InputError: it asks for none of ours.
    """
    suffix = path.suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise InputError(f"--out {path}: name it .csv, .jsonl or .parquet")
    return suffix


class PredictionWriter:
    """Writes a row for each text: the best labels with their probabilities, or all of these.

    The columns are ``label``, ``probability``; then ``label_2``, ``probability_2``, … for more than
    one label; then, where all probabilities are wanted, ``p(NAME)`` for each class. Labels that are
    less probable than the threshold are empty (null), and so are their probabilities.

    Use as a context manager: leaving it completes the file.

    Args:
        file: is written to, and not closed.
        format: one of ``FORMATS``.
        label_names: of class 0, 1, 2, …
        labels: so many labels a text; fewer where there are fewer classes.
        threshold: the least probability of a label.
        probabilities: give those of all classes as well.
    """

    def __init__(
        self,
        file: BinaryIO,
        format: str,
        label_names: Sequence[str],
        labels: int = 1,
        threshold: float = 0.0,
        probabilities: bool = False,
    ) -> None:
        self.format = format
        self.label_names = pa.array(label_names, pa.string())
        self.labels = min(labels, len(label_names))
        self.threshold = threshold
        self.probabilities = probabilities
        fields = []
        for rank in range(1, self.labels + 1):
            end = "" if rank == 1 else f"_{rank}"
            fields += [(f"label{end}", pa.string()), (f"probability{end}", pa.float32())]
        if probabilities:
            fields += [(f"p({name})", pa.float32()) for name in label_names]
        self.schema = pa.schema(fields)
        self._file = file
        self._parquet: pa.parquet.ParquetWriter | None = None
        self._begun = False

    def __enter__(self) -> PredictionWriter:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._begin()  # without a row there are still columns
        if self._parquet is not None:  # its end says where everything is
            self._parquet.close()

    def _begin(self) -> None:
        """Write what comes before the first row; not before there is one, or there will be none."""
        if self._begun:
            return
        self._begun = True
        if self.format == "parquet":
            self._parquet = pa.parquet.ParquetWriter(self._file, self.schema)
        elif self.format == "csv":
            self._write_csv([self.schema.names])

    def write(self, probabilities: Float32) -> None:
        """Write the rows of some texts.

        Args:
            probabilities: float32 ``[num_texts, num_classes]``.
        """
        self._begin()
        classes, values = top(probabilities, self.labels)
        columns = []
        for rank in range(self.labels):
            left_out = values[:, rank] < self.threshold
            columns.append(self.label_names.take(pa.array(classes[:, rank], mask=left_out)))
            columns.append(pa.array(values[:, rank], mask=left_out))
        if self.probabilities:
            columns += [pa.array(np.ascontiguousarray(column)) for column in probabilities.T]
        if self._parquet is not None:
            self._parquet.write_table(pa.table(columns, schema=self.schema))
        elif self.format == "csv":
            self._write_csv(self._rows(columns, ""))
        else:
            names = self.schema.names
            lines = [
                json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False)
                for row in self._rows(columns, None)
            ]
            self._file.write("".join(f"{line}\n" for line in lines).encode())
        self._file.flush()

    def _rows(self, columns: Sequence[pa.Array], missing: Any) -> Iterator[tuple[Any, ...]]:
        return zip(*[_shown(column, missing) for column in columns], strict=True)

    def _write_csv(self, rows: Any) -> None:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())


def _shown(column: pa.Array, missing: Any) -> list[Any]:
    """Return values as they are written; probabilities to seven digits, which is all they have."""
    values = column.to_pylist()
    if pa.types.is_floating(column.type):
        values = [None if value is None else float(f"{value:.7g}") for value in values]
    return [missing if value is None else value for value in values]
