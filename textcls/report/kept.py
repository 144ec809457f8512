"""Columns of the input beside predictions: as JSON values, as cells of a CSV, as Arrow columns."""

from __future__ import annotations

import json
import math
from typing import Any

import pyarrow as pa

from textcls.corpus.reading import JSON
from textcls.errors import InputError


def json_values(column: pa.ChunkedArray, field: pa.Field) -> list[Any]:
    """Return the values of a kept column for ``json.dumps``, with their types."""
    values: list[Any] = column.to_pylist()
    if _is_json(field):
        return [None if value is None else json.loads(value) for value in values]
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return values
    return [_jsonable(value) for value in values]


def cells(column: pa.ChunkedArray, field: pa.Field) -> list[str]:
    """Return the values of a kept column as they are written in a CSV; null is empty."""
    return [_cell(value) for value in json_values(column, field)]


def arrow_field(field: pa.Field, name: str) -> pa.Field:
    """Return what a kept column is in a Parquet file."""
    is_text = _is_json(field) or pa.types.is_null(field.type)
    return pa.field(name, pa.string() if is_text else field.type)


def arrow_column(
    column: pa.ChunkedArray, field: pa.Field, type: pa.DataType, where: str
) -> pa.ChunkedArray:
    """Return a kept column for a Parquet file.

    Args:
        column: the values.
        field: of the input.
        type: of the column in the file that is written.
        where: the input, for messages.

    Raises:
        InputError: its values are not of this type: another file's were.
    """
    if _is_json(field):
        texts = [None if v is None else _cell(v) for v in json_values(column, field)]
        column = pa.chunked_array([pa.array(texts, pa.string(), from_pandas=False)])
    try:
        return column.cast(type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"{where}: column '{field.name:.40}' holds {column.type}, that of the files before it "
            f"{type}: write --format jsonl"
        ) from None


def _is_json(field: pa.Field) -> bool:
    return bool(field.metadata == {key.encode(): value.encode() for key, value in JSON.items()})


def _jsonable(value: Any) -> Any:
    """Return a value of an Arrow column as JSON can hold it."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _jsonable(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_jsonable(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if value is None or isinstance(value, str | int) else str(value)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | dict | list):
        return json.dumps(value, ensure_ascii=False)
    return str(value)
