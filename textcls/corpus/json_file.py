"""JSON: an object on each line, an array of objects, or an object of columns."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa

from textcls.arrow import integers, offsets_of
from textcls.config import Reading
from textcls.corpus.opening import Errors, Unpacked, Utf8Stream
from textcls.corpus.tables import (
    BATCH_BYTES,
    BATCH_ROWS,
    HEAD_ROWS,
    FileFacts,
    TableFile,
    cell,
    nullable_strings,
    plural,
    whole,
)
from textcls.errors import InputError

_PIECE = 1 << 20
# Longer than any word or escape of JSON, such as "-Infinity".
_LONGEST_WORD = 16
# Further columns of a wide file are neither read nor named.
_MOST_KEYS = 10_000

Row = Mapping[str, Any]


class JsonFile(TableFile):
    """A file of JSON; every value is text: ``true``, ``1``, null is null.

    Known by content: lines of objects; an array of objects; objects one after another; one object
    of columns (lists, or pandas's ``{"0": …}``), or of pandas's ``split``, ``index`` or ``table``
    form, or with an array of objects as its one value.

    Args:
        unpacked: the file.
        reading: what the user says of it.
        errors: ``replace`` puts U+FFFD in the place of bytes that are not of its encoding.

    Raises:
        InputError: it is empty, or no such JSON.
    """

    def __init__(self, unpacked: Unpacked, reading: Reading, errors: Errors = "strict") -> None:
        self._unpacked, self._reading, self._errors = unpacked, reading, errors
        self.path = unpacked.path
        with self._stream() as stream:
            sample, is_all = stream.peek()
        start = sample.decode("utf-8", "replace").lstrip()
        if not start:
            raise InputError(f"{self.path}: is empty")
        self._by_line = start[0] == "{" and _begins_lines(start, is_all)
        self._surrogates = self._lists = 0
        self.facts = FileFacts(
            str(self.path),
            "jsonl" if self._by_line else "json",
            compression=unpacked.compression,
            encoding=stream.encoding,
        )
        head = [row for _, row in islice(self._rows(), HEAD_ROWS)]
        keys = dict.fromkeys(key for row in head for key in row)
        if not head:
            raise InputError(f"{self.path}: has no rows")
        if not keys:
            raise InputError(f"{self.path}: its first objects are empty: it has no columns")
        # A key may hold half a character, which a column's name cannot.
        self._keys = {whole(key): key for key in islice(keys, _MOST_KEYS)}
        self.facts.columns = tuple(self._keys)
        values = {name: [_shown(row.get(key)) for row in head] for name, key in self._keys.items()}
        self.head = pa.table({name: nullable_strings(column)[0] for name, column in values.items()})

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        self._surrogates = self._lists = self.facts.rows = 0
        rows = self._rows()
        while True:
            values: dict[str, list[Any]] = {name: [] for name in columns}
            count = size = 0
            for where, row in rows:
                for name, column in values.items():
                    value = row.get(self._keys[name])
                    if name in self.kept:
                        value = None if value is None else json.dumps(value, ensure_ascii=False)
                    elif name in self.lists:
                        value = self._listed(where, name, value)
                    elif type(value) is not str:
                        if isinstance(value, list) and len(value) < 2:  # as doccano writes labels
                            value = value[0] if value else None
                            self._lists += 1
                        if isinstance(value, dict | list):
                            self._raise_nested(where, name, value)
                        value = cell(value)
                    column.append(value)
                    size += 64 if isinstance(value, list) else len(value or "")
                count += 1
                if count == BATCH_ROWS or size > BATCH_BYTES:
                    break
            if not count:
                break
            self.facts.rows += count
            arrays = [
                self._lists_of(column) if name in self.lists else self._strings(column)
                for name, column in values.items()
            ]
            yield pa.table(arrays, names=list(values))
        if self._lists:
            lists = plural(self._lists, "value is a list", "values are lists")
            self.facts.notes.append(f"{lists} of one or none: read as what is in it")
        if self._surrogates:
            self.facts.notes.append(
                f"{plural(self._surrogates, 'value holds', 'values hold')} half a character "
                "(a lone surrogate): U+FFFD takes its place"
            )

    def _strings(self, values: Sequence[str | None]) -> pa.Array:
        array, mended = nullable_strings(values)
        self._surrogates += mended
        return array

    def _listed(self, where: int, name: str, value: Any) -> list[str | None]:
        """Return a value as a list of texts; one that is no list is alone in it."""
        members = value if isinstance(value, list) else [value]
        for member in members:
            if isinstance(member, dict | list):
                self._raise_nested(where, name, member)
        return [cell(member) for member in members]

    def _lists_of(self, values: Sequence[list[str | None]]) -> pa.Array:
        flat = self._strings([member for members in values for member in members])
        offsets = offsets_of(np.array([len(members) for members in values], np.int64))
        return pa.LargeListArray.from_arrays(integers(offsets), flat)

    def _raise_nested(self, where: int, name: str, value: Any) -> None:
        kind = "an object" if isinstance(value, dict) else "a list"
        raise InputError(
            f"{self.path}: {self._place(where)}: column '{name:.40}' holds {kind}, "
            "not a text or label" + " (of probabilities: data.task=soft)" * isinstance(value, dict)
        )

    def _place(self, where: int) -> str:
        return f"line {where:,}" if self._by_line else f"row {where:,}"

    def locate(self, row: int) -> str:
        """Say on which line a row is; a row's number where there are no lines of rows."""
        where, _ = next(islice(self._rows(), row, None))
        return self._place(where)

    @contextlib.contextmanager
    def _stream(self) -> Iterator[Utf8Stream]:
        with self._unpacked.open() as file:
            yield Utf8Stream(file, self.path, self._reading.encoding, self._errors)

    def _rows(self) -> Iterator[tuple[int, Row]]:
        """Yield each row with the number of its line, or its own where there are no such lines."""
        with self._stream() as stream:
            buffered = io.BufferedReader(stream, _PIECE)
            if self._by_line:
                yield from self._rows_by_line(buffered)
                return
            text = io.TextIOWrapper(buffered, encoding="utf-8")
            piece = text.read(_PIECE)
            start = piece.lstrip()
            if start[0] == "[" or _is_sequence(start):
                blank = piece.count("\n", 0, len(piece) - len(start))
                for number, value in enumerate(self._values(start, text, blank), 1):
                    yield number, self._checked(value, f"row {number:,}")
            else:
                yield from enumerate(self._rows_of_object(start + text.read()), 1)

    def _rows_by_line(self, lines: Iterable[bytes]) -> Iterator[tuple[int, Row]]:
        for number, line in enumerate(lines, 1):
            if line.isspace():
                continue
            try:
                value = json.loads(str(line, "utf-8"))  # of bytes, json guesses the encoding
            except RecursionError:
                raise InputError(f"{self.path}: line {number:,}: nested too deeply") from None
            except ValueError as error:
                raise InputError(
                    f"{self.path}: line {number:,} is no JSON ({_reason(error)}): "
                    "mend the line or take it out"
                ) from None
            yield number, self._checked(value, f"line {number:,}")

    def _checked(self, value: Any, where: str) -> Row:
        if not isinstance(value, dict):
            raise InputError(
                f"{self.path}: {where} is no object: write each row as "
                '{"text": "…", "label": "…"}'
            )
        return value

    def _values(self, buffer: str, text: io.TextIOBase, lines_before: int) -> Iterator[Any]:
        """Yield the values of an array, or one after another, as they are read.

        Args:
            buffer: the beginning of the text.
            text: the rest.
            lines_before: line ends before the beginning.
        """
        decode = json.JSONDecoder().raw_decode
        in_array = buffer[0] == "["
        blanks = " \t\r\n," if in_array else " \t\r\n"
        place, ended = int(in_array), False
        while True:
            place = _skip(buffer, place, blanks)
            if in_array and buffer[place : place + 1] == "]":
                self._check_end(buffer, place + 1, text, lines_before)
                return
            if ended and not in_array and place == len(buffer):
                return
            try:
                value, end = decode(buffer, place)
                is_whole = ended or end < len(buffer)  # a number may go on
            except RecursionError:
                raise InputError(f"{self.path}: nested too deeply") from None
            except json.JSONDecodeError as error:
                # What the buffer cuts short is a string without an end, or fails at the buffer's.
                is_cut = "Unterminated" in error.msg or error.pos > len(buffer) - _LONGEST_WORD
                if ended or not is_cut:
                    line = lines_before + buffer.count("\n", 0, error.pos) + 1
                    raise InputError(
                        f"{self.path}: line {line:,} is no JSON ({_reason(error)})"
                    ) from None
                is_whole = False
            if is_whole:
                yield value
                place = end
                continue
            lines_before += buffer.count("\n", 0, place)
            piece = text.read(max(_PIECE, len(buffer) - place))
            ended = not piece
            buffer, place = buffer[place:] + piece, 0

    def _check_end(self, buffer: str, place: int, text: io.TextIOBase, lines_before: int) -> None:
        """Check that nothing but blanks follows the array, which ends at this place."""
        while not buffer[place:].strip():
            lines_before += buffer.count("\n")
            buffer, place = text.read(_PIECE), 0
            if not buffer:
                return
        place += len(buffer[place:]) - len(buffer[place:].lstrip())
        line = lines_before + buffer.count("\n", 0, place) + 1
        raise InputError(
            f"{self.path}: line {line:,}: something follows the array: take it out, or write an "
            "object on each line"
        )

    def _rows_of_object(self, text: str) -> Iterator[Row]:
        try:
            value = json.loads(text)
        except RecursionError:
            raise InputError(f"{self.path}: nested too deeply") from None
        except json.JSONDecodeError as error:
            raise InputError(
                f"{self.path}: line {error.lineno:,} is no JSON ({_reason(error)})"
            ) from None
        rows = _rows_of(value)
        if rows is None:
            keys = ", ".join(map(str, islice(value, 5)))
            raise InputError(
                f"{self.path}: is one object, {{{keys:.80}}}, not rows: write an object a line, "
                '{"text": "…", "label": "…"}'
            )
        for number, row in enumerate(rows, 1):
            yield self._checked(row, f"row {number:,}")


def _rows_of(value: dict[str, Any]) -> Iterable[Any] | None:
    """Return the rows of an object that holds a whole table; None if it does not."""
    columns, data = value.get("columns"), value.get("data")
    if isinstance(columns, list) and isinstance(data, list):  # pandas's orient="split"
        names = [str(name) for name in columns]
        if all(isinstance(row, list) and len(row) == len(names) for row in data):
            return (dict(zip(names, row, strict=True)) for row in data)
        return None
    rows = [v for v in value.values() if isinstance(v, list) and v and isinstance(v[0], dict)]
    if len(rows) == 1 and (len(value) == 1 or "schema" in value):  # {"data": [{…}]}, orient="table"
        return rows[0]
    values = list(value.values())
    if values and all(isinstance(v, list) for v in values):
        if len({len(v) for v in values}) > 1:
            return None
        return (dict(zip(value, row, strict=True)) for row in zip(*values, strict=True))
    if values and all(isinstance(v, dict) for v in values):
        inner = list(values[0])
        by_row = not all(key.isdecimal() for key in inner) and all(k.isdecimal() for k in value)
        if by_row:  # pandas's orient="index"
            return values
        if all(list(v) == inner for v in values):
            return ({name: v[key] for name, v in value.items()} for key in inner)
    return None


def _begins_lines(start: str, is_all: bool) -> bool:
    """Say whether a text is lines with an object each: by its first line."""
    line, newline, _ = start.partition("\n")
    if not newline and not is_all:
        # A row longer than the sample, or all columns, or all rows by their names.
        return not re.match(r'\{\s*"(?:[^"\\]|\\.)*"\s*:\s*[\[{]', start)
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        # A line that is no JSON: of lines, if the next begins an object too.
        return bool(newline) and not line.strip().endswith(("{", ",", "[")) and line.strip() != "{"
    # One object alone may be a table.
    return not (isinstance(value, dict) and not start[len(line) :].strip() and _rows_of(value))


def _is_sequence(start: str) -> bool:
    """Say whether an object is followed by another."""
    try:
        _, end = json.JSONDecoder().raw_decode(start)
    except (ValueError, RecursionError):
        return False
    return bool(start[end:].strip())


def _skip(text: str, place: int, blanks: str) -> int:
    while place < len(text) and text[place] in blanks:
        place += 1
    return place


def _shown(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else cell(value)


def _reason(error: Exception) -> str:
    text = str(error).partition(":")[0]
    return text[:1].lower() + text[1:100]
