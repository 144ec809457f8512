"""Which columns hold the text and the label."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Sequence

import pyarrow as pa

from textcls.config import Reading
from textcls.corpus.dialect import DELIMITERS, LABEL_COLUMNS, TEXT_COLUMNS
from textcls.corpus.label_lists import NO, YES
from textcls.corpus.label_shares import columns_of_shares
from textcls.corpus.tables import TableFile, is_number
from textcls.errors import InputError
from textcls.naming import can_be_typed, option

_NUMBERS = {"id", "ids", "idx", "index", "row", "uuid", "guid", "unnamed: 0"}


def choose_columns(
    reading: Reading, file: TableFile, soft: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the columns of the text, and those of the label.

    Those that the user names, the latter by a pattern, ``p(*)``, if he likes; else those whose
    names say it (``text``, ``review``, …; ``label``, ``category``, …); else, of two columns, the
    one of few distinct values is the label; else several columns of probabilities, as ``textcls
    predict`` names them, or of ones and zeros are a label each. The former go before a column that
    is named like a label where labels are probabilities, ``soft``.

    Raises:
        InputError: it is not plain which; the message names what could be meant.
    """
    columns, listing = file.columns, describe_columns(file)
    check_there("text", reading.text or (), columns, listing)
    reading = _without_pattern(reading, columns)
    check_there("label", reading.label or (), columns, listing)
    weight = () if reading.weight is None else (reading.weight,)
    check_there("weight", weight, columns, listing)
    if set(weight) & {*(reading.text or ()), *(reading.label or ())}:
        raise InputError(
            f"{option('weight', *weight)}: this column is the text or the label already"
        )
    named = [name for name in columns if not _is_unnamed(name, file) and name not in weight]
    if reading.label is not None:
        return _text(reading, file, named, reading.label), reading.label
    predicted = columns_of_shares(_without(named, reading.text))
    if soft and len(predicted) > 1:
        return _text(reading, file, _undecided(named), predicted), predicted
    label = _known_label(reading, named)
    if label is None and len(rest := _without(named, reading.text)) == 2 - bool(reading.text):
        label = _label_by_content(rest, file) if len(rest) == 2 else rest[0]
        if label is not None and len(rest) == 2:
            file.facts.notes.append(f"the label is taken to be in column {label:.60}")
    if label is None and len(predicted) > 1:
        return _text(reading, file, named, predicted), predicted
    if label is None and len(marks := _marks(reading, named, file)) > 1:
        shown = ", ".join(f"{name:.30}" for name in marks[:6])
        more = f" and {len(marks) - 6} more" if len(marks) > 6 else ""
        file.facts.notes.append(
            f"the columns {shown}{more} hold ones and zeros: each is taken for a label that a row "
            "has or not"
        )
        return _text(reading, file, named, marks), marks
    if label is None and len(columns) == 1:
        other = other_delimiter(file)
        only = " only: a text and a label are needed" if other is None else other
        raise InputError(f"{listing}{only}")
    if label is None:
        raise InputError(f"which column is the label? {listing}{_guess(reading, file, named)}")
    return _text(reading, file, named, (label,)), (label,)


def _without_pattern(reading: Reading, columns: Sequence[str]) -> Reading:
    """Return a reading that names the columns of labels that its pattern is for."""
    label = reading.label or ()
    if len(label) == 1 and "*" in label[0] and label[0] not in columns:
        found = columns_of_shares(columns, label[0])
        return dataclasses.replace(reading, label=found) if found else reading
    return reading


def _undecided(columns: Sequence[str]) -> list[str]:
    """Leave out what ``textcls predict`` writes beside the text and the probabilities."""
    return [name for name in columns if not re.fullmatch(r"(label|probability)(_\d+)?", name)]


def _text(
    reading: Reading, file: TableFile, columns: Sequence[str], labels: Sequence[str]
) -> tuple[str, ...]:
    if reading.text is not None:
        return reading.text
    return choose_text(file, [column for column in columns if column not in labels], labels[0])


def _marks(reading: Reading, columns: Sequence[str], file: TableFile) -> tuple[str, ...]:
    """Return the columns that hold nothing but ones and zeros, and both of them somewhere."""
    found = {name: {value.lower() for value in _values(name, file)} for name in columns}
    marks = [name for name, values in found.items() if values and values <= YES | NO]
    is_both = {bool(value in YES) for name in marks for value in found[name]} == {True, False}
    return tuple(name for name in marks if name not in (reading.text or ())) if is_both else ()


def choose_text(file: TableFile, columns: Sequence[str], label: str | None) -> tuple[str]:
    """Return the one column of text among those that hold no label.

    Raises:
        InputError: there is none, or it is not plain which.
    """
    known = [column for column in columns if column.lower() in TEXT_COLUMNS]
    if len(known) == 1:
        return (known[0],)
    if not known and len(columns) == 1 and not _is_numbers(columns[0], file):
        return (columns[0],)
    listing = describe_columns(file)
    if not columns or (not known and all(_is_numbers(name, file) for name in columns)):
        raise InputError(
            f"{listing}: none of them looks like text: "
            f"{'name it' if columns else 'name another label'}, as in {option('text', 'COLUMN')}"
        )
    longest = max(known or columns, key=lambda name: _mean_length(name, file))
    join = ""
    if len(columns) > 1 and can_be_typed(*columns[:2]) and len(listing) < 160:
        join = f", or {option('text', *columns[:2])} to join several"
    raise InputError(f"which column is the text? {listing}: say {_to_type('text', longest)}{join}")


def describe_columns(file: TableFile) -> str:
    """Say which columns a file has, for messages."""
    columns = file.columns
    if len(columns) == 1:
        return f"{file.facts.path} has the column {columns[0]:.60}"
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    shown = ", ".join(f"{column:.30}" for column in columns[:12])
    return f"{file.facts.path} has the columns {shown:.100}{more}"


def check_there(key: str, wanted: Sequence[str], columns: Sequence[str], listing: str) -> None:
    """Check that a file has the columns that the user names.

    Raises:
        InputError: it lacks one; the message names the nearest that it has.
    """
    for column in wanted:
        if column in columns:
            continue
        several = [part.strip() for part in column.split(",")]
        if len(several) > 1 and set(several) <= set(columns):
            raise InputError(f"{option(key, column)}: write several as {option(key, *several)}")
        lower = {name.lower().strip(): name for name in columns}
        near = difflib.get_close_matches(column.lower().strip(), lower, 1, 0.75)
        mend = f"; did you mean {option(key, lower[near[0]])}?" if near else ""
        raise InputError(f"{option(key, column)}: there is no such column; {listing}{mend}")


def other_delimiter(file: TableFile) -> str | None:
    """Return the end of a message on a file of one column that another delimiter may split."""
    name, used = file.columns[0], file.facts.delimiter
    signs = [*DELIMITERS, *([" "] if ' "' in name else []), *re.findall(r"[^\w\s.\-'\"()#]", name)]
    other = next((sign for sign in signs if sign in name and can_be_typed(sign)), None)
    if used is None or other in (None, used):
        return None
    return f" only, by the delimiter {used!r}: say {option('delimiter', other)}"


def _known_label(reading: Reading, columns: Sequence[str]) -> str | None:
    rest = _without(columns, reading.text)
    known = [column for column in rest if column.lower() in LABEL_COLUMNS]
    if len(known) == 1:
        return known[0]
    others = [column for column in rest if column.lower() not in TEXT_COLUMNS]
    # Two columns, one of them plainly the text: the other is the label.
    if not known and len(rest) == 2 and len(others) == 1:
        return others[0]
    return None


def _without(columns: Sequence[str], text: Sequence[str] | None) -> list[str]:
    return [column for column in columns if column not in (text or ())]


def _is_unnamed(column: str, file: TableFile) -> bool:
    """Say whether a header line left a column without a name."""
    return file.facts.header is True and column.startswith("column_") and column[7:].isdecimal()


def _label_by_content(columns: Sequence[str], file: TableFile) -> str | None:
    """Return which of two columns has few distinct values, if the other has many."""
    values = {name: _values(name, file) for name in columns}
    few = [name for name, v in values.items() if v and 2 * len(set(v)) <= len(v)]
    if len(few) != 1:
        return None
    other = next(name for name in columns if name not in few)
    return None if _is_numbers(other, file) else few[0]


def _guess(reading: Reading, file: TableFile, columns: Sequence[str]) -> str:
    """Return the end of a message: what to say, with the most plausible columns."""
    # Lists and objects, as JSON has them, are neither.
    columns = _without(columns, reading.text)
    rest = [name for name in columns if not _is_nested(name, file)]
    likely = [n for n in rest if (v := _values(n, file)) and 1 < len(set(v)) <= len(v) / 2]
    likely = [n for n in likely if n.lower() in LABEL_COLUMNS] or likely
    if not likely and len(rest) == len(columns):
        likely = rest
    if not likely:
        return f": say {option('text', 'COLUMN')} {option('label', 'COLUMN')}"
    label = min(likely, key=lambda name: (_mean_length(name, file), name))
    texts = [name for name in rest if name != label]
    if reading.text is not None or not texts:
        return f": say {_to_type('label', label)}"
    text = max(texts, key=lambda name: (name.lower() in TEXT_COLUMNS, _mean_length(name, file)))
    if not can_be_typed(text, label):
        text = label = "COLUMN"
    return f": say {option('text', text)} {option('label', label)}"


def _is_nested(column: str, file: TableFile) -> bool:
    kind = file.head.schema.field(column).type
    if pa.types.is_nested(kind):
        return True
    values = _values(column, file) if file.facts.format in ("json", "jsonl") else []
    return bool(values) and all(value.startswith(("{", "[")) for value in values)


def _to_type(key: str, name: str) -> str:
    """Return an option to type, with this column if it is a name and no line of something else."""
    return option(key, name if can_be_typed(name) else "COLUMN")


def _values(column: str, file: TableFile) -> list[str]:
    """Return the values of the first rows."""
    values = file.head.column(column).to_pylist()
    return [str(value) for value in values if value is not None]


def _mean_length(column: str, file: TableFile) -> float:
    values = _values(column, file)
    return sum(map(len, values)) / max(len(values), 1)


def _is_numbers(column: str, file: TableFile) -> bool:
    """Say whether a column numbers the rows, or holds numbers only."""
    if column.lower().strip() in _NUMBERS:
        return True
    kind = file.head.schema.field(column).type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return True
    values = _values(column, file)
    return len(values) > 1 and all(is_number(value) for value in values)
