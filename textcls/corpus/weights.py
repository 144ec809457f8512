"""What rows weigh in the loss, out of a column of numbers."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from textcls.arrow import as_numpy
from textcls.corpus.columnar import as_strings
from textcls.corpus.label_lists import Place
from textcls.errors import InputError

Float64 = npt.NDArray[np.float64]


def weights_of(column: pa.ChunkedArray, name: str, place: Place) -> Float64:
    """Return the weights of some rows, float64 ``[num_rows]``.

    Args:
        column: of numbers, or of text that says such.
        name: of the column.
        place: says where one of these rows is, for messages.

    Raises:
        InputError: a weight is missing, no number, not finite or below 0.
    """
    weights = numbers_of(column, name, place)
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        row = int(bad[0])
        said = str(column[row].as_py() or "").strip()
        has = f"has the weight '{said:.40}'" if said else "has no weight"
        raise InputError(
            f"{place(row)} {has} in column '{name:.40}': give a number that is 0 or more"
        )
    return weights


def numbers_of(
    column: pa.ChunkedArray,
    name: str,
    place: Place,
    missing: float = np.nan,
    what: str = "weights",
) -> Float64:
    """Return the numbers of some rows, float64 ``[num_rows]``, NaN where there is none.

    Args:
        column: of numbers, or of text that says such.
        name: of the column.
        place: says where one of these rows is, for messages.
        missing: stands for null.
        what: the numbers are, for messages.

    Raises:
        InputError: it holds something else.
    """
    if pa.types.is_floating(column.type) or pa.types.is_integer(column.type):
        numbers: Float64 = as_numpy(column.cast(pa.float64()).combine_chunks(), null=missing)
        return numbers
    try:
        texts = as_strings(column).combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(
            f"{place(0)}: column '{name:.40}' holds {column.type}, not {what}"
        ) from None
    try:
        numbers = as_numpy(texts.cast(pa.float64()), null=missing)
    except pa.ArrowInvalid:  # blanks around a number, or none at all
        numbers = np.array([_number(text, missing) for text in texts.to_pylist()], np.float64)
    return numbers


def _number(text: str | None, missing: float) -> float:
    try:
        return missing if text is None else float(text)
    except ValueError:
        return np.nan
