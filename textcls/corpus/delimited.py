"""Comma-, tab- or otherwise separated files as Arrow tables.

pyarrow's reader does the work. Where it gives up (rows of several widths, huge rows) Python's csv
module goes on from the same row: both read the same rows out of every file that has as many fields
everywhere, which the tests check, and only the latter knows line numbers.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import io
import mmap
from collections.abc import Generator, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from textcls.config import Reading
from textcls.corpus.dialect import Quoting, find_dialect
from textcls.corpus.opening import Errors, Unpacked, Utf8Stream
from textcls.corpus.tables import (
    BATCH_BYTES,
    BATCH_ROWS,
    HEAD_ROWS,
    FileFacts,
    TableFile,
    nullable_strings,
    plural,
)
from textcls.errors import InputError
from textcls.naming import option


class DelimitedFile(TableFile):
    """A file of delimited fields; every field is text, an empty one is null.

    Args:
        unpacked: the file.
        reading: what the user says of it.
        errors: ``replace`` puts U+FFFD in the place of bytes that are not of its encoding.

    Raises:
        InputError: it is empty, or is not as the user says.
    """

    def __init__(self, unpacked: Unpacked, reading: Reading, errors: Errors = "strict") -> None:
        self._unpacked, self._reading, self._errors = unpacked, reading, errors
        self.path = unpacked.path
        with self._stream() as stream:
            sample, is_all = stream.peek()
        text = sample.decode("utf-8", "replace")
        dialect = find_dialect(text, is_all, is_tabbed(unpacked), self.path, reading)
        self.dialect = dialect
        self._with_mark = stream.with_mark
        self.facts = FileFacts(
            str(self.path),
            "csv",
            columns=dialect.columns,
            compression=unpacked.compression,
            encoding=stream.encoding,
            delimiter=dialect.delimiter,
            quoting=dialect.quoting,
            header=dialect.header,
            notes=list(dialect.notes),
        )
        if stream.with_mark and stream.encoding != "utf-8":
            self.facts.notes.append(f"encoding: {stream.encoding}, by its byte order mark")
        rows = list(islice(self._exact_rows(count=False), HEAD_ROWS))
        fields = list(zip(*[row for _, row in rows], strict=True)) or [()] * len(self.columns)
        self.head = pa.table(
            [nullable_strings([field or None for field in column])[0] for column in fields],
            names=list(self.columns),
        )

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        facts = self.facts
        facts.rows = facts.multiline = 0
        last = None
        for last in self._fast_then_exact(columns):
            facts.rows += last.num_rows
            facts.multiline += _count_multiline(last)
            yield last
        if last is not None and _count_multiline(last.slice(last.num_rows - 1)):
            self._raise_if_unclosed()
        if facts.multiline:
            fields = plural(facts.multiline, "field spans", "fields span")
            facts.notes.append(f"{fields} several lines")

    def _fast_then_exact(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        done = (yield from self._fast(columns)) if self._is_plain() else 0
        if done is not None:
            yield from self._exact(columns, done)

    def _is_plain(self) -> bool:
        """Say whether pyarrow can read the file as it is.

        (It could read a stream of Python's as well, and lets go of what it read in a thread of its
        own: at the end of a process that can be too late, and the process aborts.)
        """
        return (
            self.facts.compression is None
            and self.facts.encoding == "utf-8"
            and self.dialect.delimiter.isascii()
            and not self.dialect.skip_blanks
        )

    def _fast(self, columns: Sequence[str]) -> Generator[pa.Table, None, int | None]:
        """Yield rows by pyarrow's reader; return their number where it gave up, else None."""
        quoting, one_column = self.dialect.quoting, len(self.columns) == 1
        # Names of ours: a file's may hold NUL, at which pyarrow cuts them off.
        names = [f"{i}" for i in range(len(self.columns))]
        wanted = list(dict.fromkeys(columns))
        parse = pa.csv.ParseOptions(
            delimiter=self.dialect.delimiter,
            quote_char=False if quoting == "none" else '"',
            double_quote=quoting == "double",
            escape_char="\\" if quoting == "backslash" else False,
            newlines_in_values=quoting != "none",
            ignore_empty_lines=not one_column,  # there, a blank line is a row
        )
        convert = pa.csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
            include_columns=[names[self.columns.index(name)] for name in wanted],
        )
        with pa.OSFile(str(self.path)) as file:
            start = self.dialect.skipped + len(codecs.BOM_UTF8) * self._with_mark
            file.seek(start)
            if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
                return 0  # a character of the first row's, which pyarrow would drop
            file.seek(start)
            read = pa.csv.ReadOptions(
                use_threads=False, block_size=self._block_bytes(start), column_names=names
            )
            done = 0
            try:
                for batch in pa.csv.open_csv(file, read, parse, convert):
                    if batch.num_rows:
                        yield pa.Table.from_batches([batch]).rename_columns(wanted)
                        done += batch.num_rows
            except pa.ArrowMemoryError:
                raise
            except pa.ArrowException:
                return done
        return None

    def _block_bytes(self, start: int) -> int:
        r"""Return a size of blocks none of which ends between ``\r`` and ``\n``.

        Where that is within quotes, pyarrow would drop the ``\n``.

        Args:
            start: where in the file the first block begins.
        """
        size = BATCH_BYTES
        with (
            self.path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m,
        ):
            while any(m[end - 1 : end + 1] == b"\r\n" for end in range(start + size, len(m), size)):
                size += 1
        return size

    def _exact(self, columns: Sequence[str], done: int) -> Iterator[pa.Table]:
        wanted = [(name, self.columns.index(name)) for name in columns]
        rows = islice(self._exact_rows(count=True), done, None)
        while True:
            part, size = [], 0
            for _, row in rows:
                part.append(row)
                size += sum(map(len, row))
                if len(part) == BATCH_ROWS or size > BATCH_BYTES:
                    break
            if not part:
                return
            values = {name: [row[place] or None for row in part] for name, place in wanted}
            yield pa.table({name: nullable_strings(column)[0] for name, column in values.items()})

    def _exact_rows(self, count: bool) -> Iterator[tuple[int, list[str]]]:
        """Yield each row and the number of its first line, by Python's csv module."""
        width = len(self.columns)
        short = padded = 0
        with self._stream() as stream:
            stream.skip(self.dialect.skipped)
            reader = self.dialect.reader(_lines(stream))
            line = self.dialect.first_line
            try:
                for row in reader:
                    if row or width == 1:
                        if len(row) > width and not any(row[width:]):
                            padded += 1
                            del row[width:]
                        elif len(row) > width:
                            self._raise_too_wide(row, line)
                        elif len(row) < width:
                            short += bool(row)
                            row += [""] * (width - len(row))
                        yield line, row
                    line = self.dialect.first_line + reader.line_num
            except csv.Error as error:
                raise InputError(f"{self.path}: line {line:,}: {error}") from None
        if count and short:
            self.facts.notes.append(
                f"{plural(short, 'row has', 'rows have')} fewer fields than there are columns: "
                "the missing ones are empty"
            )
        if count and padded:
            self.facts.notes.append(f"{plural(padded, 'row has', 'rows have')} blank extra fields")

    def _raise_too_wide(self, row: Sequence[str], line: int) -> None:
        width = len(self.columns)
        fields = f"has {len(row)} fields, the first has {width}"
        mend = self._other_way() or (
            "quote the text that holds the delimiter, or take the extra one out"
        )
        raise InputError(f"{self.path}: line {line:,} {fields}: {mend}")

    def _other_way(self) -> str | None:
        """Return an option by which all rows have as many fields, if there is one."""
        others: list[Quoting] = ["none", "double", "backslash"]
        for quoting in others:
            if quoting == self.dialect.quoting or self._reading.quoting is not None:
                continue
            other = dataclasses.replace(self.dialect, quoting=quoting)
            with self._stream() as stream:
                stream.skip(self.dialect.skipped)
                rows = other.reader(_lines(stream), strict=True)
                with contextlib.suppress(csv.Error):
                    if all(len(row) in (0, len(self.columns)) for row in rows):
                        return f"say {option('quoting', quoting)}"
        return None

    def _raise_if_unclosed(self) -> None:
        """Refuse a file whose last quote is not closed: its field may hold all that follows."""
        line = self.dialect.first_line
        with self._stream() as stream:
            stream.skip(self.dialect.skipped)
            reader = self.dialect.reader(_lines(stream), strict=True)
            while True:
                try:
                    next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    if "unexpected end" not in str(error):
                        return  # quotes within fields, which are taken as they are
                    break
                line = self.dialect.first_line + reader.line_num
        mend = self._other_way() or f"close it, or say {option('quoting', 'none')}"
        raise InputError(f"{self.path}: line {line:,} opens a quote that is never closed: {mend}")

    @contextlib.contextmanager
    def _stream(self) -> Iterator[Utf8Stream]:
        with self._unpacked.open() as file:
            yield Utf8Stream(file, self.path, self._reading.encoding, self._errors)

    def locate(self, row: int) -> str:
        """Say on which line a row begins."""
        line, _ = next(islice(self._exact_rows(count=False), row, None))
        return f"line {line:,}"


def is_tabbed(unpacked: Unpacked) -> bool:
    """Say whether a file's name promises tabs."""
    return unpacked.name.lower().endswith((".tsv", ".tab"))


def _lines(stream: Utf8Stream) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedReader(stream, 1 << 20), encoding="utf-8", newline="")


def _count_multiline(table: pa.Table) -> int:
    count = 0
    for column in table.columns:
        for chunk in column.chunks:
            data = np.frombuffer(chunk.buffers()[2] or b"", np.uint8)
            if (data == ord("\n")).any() or (data == ord("\r")).any():  # rare, and fast to see
                count += pc.sum(pc.match_substring_regex(chunk, "[\r\n]")).as_py() or 0
    return count
