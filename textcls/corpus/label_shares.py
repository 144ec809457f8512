"""How probable the labels of rows are, out of the ways in which files write that.

That is a column of numbers for each label; an object of numbers by label; a list of numbers in the
order of ``data.label_names``; or labels as they are, of which each counts 1: one that is certain,
or those that annotators gave, one after another. Numbers need not sum to 1 here.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int64, as_numpy, integers, strings
from textcls.config import Reading
from textcls.corpus.label_lists import Place, is_list, labels_of
from textcls.corpus.tables import TableFile
from textcls.corpus.weights import Float64, numbers_of
from textcls.errors import InputError
from textcls.naming import option

# What ``textcls predict --probabilities`` calls its columns.
PREDICTED = "p(*)"
# How far probabilities may be from a sum of 1, as they are written to a few digits.
TOLERANCE = 1e-3


class Shares(NamedTuple):
    """How probable the labels of some rows are.

    Attributes:
        labels: Arrow strings ``[num_labels]``, row by row, null where a label is missing.
        counts: int64 ``[num_rows]``, how many of them each row has.
        shares: float64 ``[num_labels]``, finite and not negative.
    """

    labels: pa.Array
    counts: Int64
    shares: Float64


def shares_of(
    columns: Sequence[pa.ChunkedArray],
    names: Sequence[str],
    labels: Sequence[str],
    reading: Reading,
    place: Place,
) -> Shares:
    """Return how probable the labels of some rows are.

    Args:
        columns: one of labels, or of several one for each label.
        names: of the columns.
        labels: of several columns, which label each is for.
        reading: its ``label_names`` are those of lists.
        place: says where one of these rows is, for messages.

    Raises:
        InputError: a value that is no share, or a row whose shares are all 0.
    """
    if len(columns) > 1:
        each = [_numbers(c, name, place) for c, name in zip(columns, names, strict=True)]
        found = _of_table(np.stack(each, 1), labels)
    else:
        found = _of_column(columns[0].combine_chunks(), names[0], reading, place)
    _check(found, place)
    return found


def _check(found: Shares, place: Place) -> None:
    row = np.repeat(np.arange(len(found.counts)), found.counts)
    bad = np.flatnonzero(~(np.isfinite(found.shares) & (found.shares >= 0)))
    if len(bad):
        at, value = int(bad[0]), found.shares[bad[0]]
        has = "has no number" if np.isnan(value) else f"has {value:g}"
        raise InputError(
            f"{place(int(row[at]))} {has} for the label '{found.labels[at].as_py():.40}': give a "
            "probability or a count, 0 or more"
        )
    nothing = (np.bincount(row, found.shares, len(found.counts)) == 0) & (found.counts > 0)
    if nothing.any():
        at = int(np.flatnonzero(nothing)[0])
        raise InputError(
            f"{place(at)} has 0 for every label: give one a probability or take the row out"
        )


def _of_table(shares: Float64, labels: Sequence[str]) -> Shares:
    """Return shares, ``[num_rows, num_labels]``, row by row."""
    num_rows, num_labels = shares.shape
    names = strings(list(labels)).take(integers(np.tile(np.arange(num_labels), num_rows)))
    return Shares(names, np.full(num_rows, num_labels), shares.ravel())


def _of_column(column: pa.Array, name: str, reading: Reading, place: Place) -> Shares:
    kind = column.type
    if pa.types.is_struct(kind):
        fields = [pa.chunked_array([part]) for part in column.flatten()]
        each = [_numbers(part, name, place, missing=0.0) for part in fields]
        labels = [kind.field(i).name for i in range(kind.num_fields)]
        # A row without an object has no label.
        there = as_numpy(column.is_valid())
        found = _of_table(np.stack(each, 1)[there], labels)
        return found._replace(counts=np.where(there, len(labels), 0))
    if pa.types.is_map(kind):
        ends = as_numpy(column.offsets).astype(np.int64)
        keys, items = (
            part.slice(ends[0], ends[-1] - ends[0]) for part in (column.keys, column.items)
        )
        shares = _numbers(pa.chunked_array([items]), name, place)
        return Shares(keys.cast(pa.string()), np.diff(ends), shares)
    if is_list(kind) and _is_of_numbers(kind.value_type):
        counts = as_numpy(pc.list_value_length(column), null=0).astype(np.int64)
        items = _numbers(pa.chunked_array([pc.list_flatten(column)]), name, place)
        return _of_lists(items, counts, reading, name, place)
    if is_list(kind):
        return _of_certain(*labels_of([pa.chunked_array([column])], [name], None, place))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        written = pc.match_substring_regex(column, r'^\s*[{\["]')
        if pc.any(written).as_py():
            return _of_written(column.to_pylist(), reading, name, place)
    delimiter = reading.label_delimiter
    return _of_certain(*labels_of([pa.chunked_array([column])], [name], delimiter, place))


def _numbers(column: pa.ChunkedArray, name: str, place: Place, missing: float = np.nan) -> Float64:
    return numbers_of(column, name, place, missing, "probabilities")


def _is_of_numbers(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind))


def _of_certain(labels: pa.Array, counts: Int64) -> Shares:
    return Shares(labels, counts, np.ones(len(labels)))


def _of_lists(items: Float64, counts: Int64, reading: Reading, name: str, place: Place) -> Shares:
    for row in np.flatnonzero(counts):
        names = _names_for(int(counts[row]), reading, name, place, int(row))
        if (counts[counts > 0] == len(names)).all():
            return _of_table(items.reshape(-1, len(names)), names)._replace(counts=counts)
    return Shares(strings([]), counts, items)


def _names_for(count: int, reading: Reading, name: str, place: Place, row: int) -> tuple[str, ...]:
    """Return the labels that the numbers of a list are for."""
    names = reading.label_names
    if names is None:
        raise InputError(
            f"{place(row)}: column '{name:.40}' holds lists of numbers: name their labels, as in "
            f"{option('label_names', 'negative', 'positive')}"
        )
    if count != len(names):
        raise InputError(
            f"{place(row)} has {count} numbers in column '{name:.40}', but "
            f"{option('label_names')} names {len(names)} labels"
        )
    return names


def _of_written(values: Sequence[str | None], reading: Reading, name: str, place: Place) -> Shares:
    """Return the shares of texts, some of which hold objects or lists."""
    labels: list[str] = []
    shares: list[float] = []
    counts = np.zeros(len(values), np.int64)
    for row, value in enumerate(values):
        found = _parsed(value)
        if _are_numbers(found):
            found = dict(zip(_names_for(len(found), reading, name, place, row), found, strict=True))
        if isinstance(found, dict):
            shares += map(_number, found.values())
        else:
            found = [] if found is None else found if isinstance(found, list) else [found]
            shares += [1.0] * len(found)
        labels += map(str, found)
        counts[row] = len(found)
    return Shares(strings(labels), counts, np.array(shares, np.float64))


def _are_numbers(value: Any) -> bool:
    """Say whether this is a list of numbers, of which labels may be missing."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(one, int | float) for one in value)


def _parsed(value: str | None) -> Any:
    """Return the object or list that a text holds, as JSON or Python writes them, or the text."""
    if value is None or not value.lstrip().startswith(("{", "[", '"')):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(value.strip())
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return value


def _number(value: Any) -> float:
    try:
        return 0.0 if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return np.nan


def columns_of_shares(columns: Sequence[str], pattern: str = PREDICTED) -> tuple[str, ...]:
    """Return the columns that a pattern with one ``*`` is for."""
    before, _, after = pattern.partition("*")
    least = len(before) + len(after)
    return tuple(
        name
        for name in columns
        if len(name) > least and name.startswith(before) and name.endswith(after)
    )


def labels_of_columns(reading: Reading, columns: Sequence[str]) -> tuple[str, ...]:
    """Return the labels that columns are for: what ``*`` stands for, else their names.

    Args:
        reading: its ``label`` may be a pattern.
        columns: that were chosen by it.
    """
    given = reading.label or ()
    pattern = given[0] if len(given) == 1 and "*" in given[0] else PREDICTED
    if columns_of_shares(columns, pattern) != tuple(columns):
        return tuple(columns)
    before, _, after = pattern.partition("*")
    return tuple(name[len(before) : len(name) - len(after)] for name in columns)


def are_shares(file: TableFile, columns: Sequence[str]) -> bool:
    """Say whether columns of labels plainly hold probabilities, by the first rows.

    That is: objects of numbers that are not all 0 or 1, as they are where a row has any number of
    labels; lists of fractions; or columns of fractions that sum to 1 in every row.
    """
    if len(columns) == 1:
        column = file.head.column(columns[0])
        try:
            values = [_parsed(v) if isinstance(v, str) else v for v in column.to_pylist()]
        except UnicodeDecodeError:  # of which the reader of rows says where it is
            return False
        if pa.types.is_map(column.type):
            values = [None if value is None else dict(value) for value in values]
        objects = [[*map(_number, v.values())] for v in values if isinstance(v, dict)]
        lists = [value for value in values if _are_numbers(value)]
        counts = any(one not in (0, 1) for each in objects for one in each)
        return counts or any(one % 1 > 0 for each in lists for one in each)
    try:
        each = [_numbers(file.head.column(name), name, str) for name in columns]
    except InputError:
        return False
    shares = np.stack(each, 1)
    if not len(shares) or not (shares >= 0).all():  # nor is NaN
        return False
    return bool((abs(shares.sum(1) - 1) < TOLERANCE).all() and ((shares % 1) > 0).any())
