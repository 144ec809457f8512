"""The labels of rows as lists, out of the ways in which files write several labels a row."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import Int64, as_numpy, integers, offsets_of, places_of_runs, strings
from textcls.corpus.columnar import as_strings
from textcls.errors import InputError
from textcls.naming import option

# How a column of a single label says that a row has it, or not; in lower case.
YES, NO = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no", ""})
Place = Callable[[int], str]


def labels_of(
    columns: Sequence[pa.ChunkedArray], names: Sequence[str], delimiter: str | None, place: Place
) -> tuple[pa.Array, Int64]:
    """Return the labels of some rows, and how many each row has.

    Args:
        columns: one of labels: text, lists, or lists written as text (``['a', 'b']``); or one for
            each label, which says by 1 or 0 whether a row has it.
        names: of the columns.
        delimiter: what stands between the labels of a text; None: a text is one label.
        place: says where one of these rows is, for messages.

    Returns:
        Arrow strings ``[num_labels]``, row by row, null where a label is missing; int64
        ``[num_rows]``.

    Raises:
        InputError: a value that is no label, or is neither 1 nor 0.
    """
    if len(columns) > 1:
        return _of_columns(columns, names, place)
    column = columns[0].combine_chunks()
    if is_list(column.type):
        counts = as_numpy(pc.list_value_length(column), null=0).astype(np.int64)
        texts = _strings(pc.list_flatten(column), names[0], place)
        if delimiter is None:
            return texts, counts
        # JSON's reader gives a text as a list of it.
        labels, parts = _split(texts, delimiter)
        rows = np.repeat(np.arange(len(counts)), counts)
        return labels, np.bincount(rows, parts, len(counts)).astype(np.int64)
    texts = _strings(column, names[0], place)
    return _of_written(texts) if delimiter is None else _split(texts, delimiter)


def _split(texts: pa.Array, delimiter: str) -> tuple[pa.Array, Int64]:
    """Return the parts of texts, one text after another, and how many each has; null has none."""
    lists = pc.split_pattern(texts, delimiter)
    return pc.list_flatten(lists), as_numpy(pc.list_value_length(lists), null=0).astype(np.int64)


def is_list(kind: pa.DataType) -> bool:
    """Say whether a column of this type holds lists."""
    return isinstance(kind, pa.ListType | pa.LargeListType | pa.FixedSizeListType)


def _strings(values: pa.Array, name: str, place: Place) -> pa.Array:
    try:
        return as_strings(pa.chunked_array([values])).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"{place(0)}: column '{name:.40}' holds {values.type}, not labels "
            "(of probabilities: data.task=soft)"
        ) from None


def _of_written(texts: pa.Array) -> tuple[pa.Array, Int64]:
    """Take ``['a', 'b']``, as pandas writes a list into a csv file, for a list."""
    encoded = texts.dictionary_encode()
    distinct = encoded.dictionary.to_pylist()
    lists = [_list_of(value) for value in distinct]
    one_each = np.ones(len(texts), np.int64)
    if any(found is None for found in lists):
        return texts, one_each
    codes = as_numpy(encoded.indices, null=len(lists))
    lengths = np.array([*(len(found or ()) for found in lists), 0], np.int64)
    counts = lengths[codes]
    flat = [label for found in lists for label in found or ()]
    at = places_of_runs(offsets_of(lengths)[:-1][codes], counts)
    return strings(flat).take(integers(at)), counts


def _list_of(value: str) -> list[str] | None:
    if not (value.startswith("[") and value.endswith("]")):
        return None
    try:
        found = ast.literal_eval(value)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if not isinstance(found, list) or any(not isinstance(label, str | int) for label in found):
        return None
    return [str(label) for label in found]


def _of_columns(
    columns: Sequence[pa.ChunkedArray], names: Sequence[str], place: Place
) -> tuple[pa.Array, Int64]:
    has = np.zeros((len(columns[0]), len(columns)), np.bool_)
    for number, (column, name) in enumerate(zip(columns, names, strict=True)):
        encoded = _strings(column.combine_chunks(), name, place).dictionary_encode("encode")
        codes = as_numpy(encoded.indices)
        says = [(value or "").strip().lower() for value in encoded.dictionary.to_pylist()]
        for code, said in enumerate(says):
            if said not in YES | NO:
                row = int(np.flatnonzero(codes == code)[0])
                raise InputError(
                    f"{place(row)}: column '{name:.40}' holds '{said:.40}', neither 1 nor 0: of "
                    f"several columns of {option('label')} each says whether a row has that label "
                    "(for probabilities set data.task=soft)"
                )
        has[:, number] = np.array([said in YES for said in says], np.bool_)[codes]
    return strings(list(names)).take(integers(has.nonzero()[1].copy())), has.sum(1)
