"""Reading files for a model that is there already: texts to label, labelled texts to judge by."""

from __future__ import annotations

import codecs
import dataclasses
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import large_strings
from textcls.config import Reading
from textcls.corpus.columns import (
    check_there,
    choose_columns,
    choose_text,
    describe_columns,
    other_delimiter,
)
from textcls.corpus.dialect import LABEL_COLUMNS
from textcls.corpus.formats import open_folder, open_table, open_texts
from textcls.corpus.json_file import JsonFile
from textcls.corpus.label_shares import are_shares
from textcls.corpus.labels import LabelReader
from textcls.corpus.lines import LinesFile, without_labels
from textcls.corpus.opening import encoding_by_name
from textcls.corpus.paths import check_names, find_files
from textcls.corpus.rows import RowReader, join_columns
from textcls.corpus.splits import Split
from textcls.corpus.tables import BATCH_BYTES, BATCH_ROWS, TableFile
from textcls.errors import InputError

log = logging.getLogger("textcls")

# The most of a stream of lines that is read at one go.
_PIECE_BYTES = 1 << 20
# Metadata of a field.
JSON = {"textcls": "json"}


@dataclass(frozen=True)
class Piece:
    """Some rows of a file to label.

    Attributes:
        texts: Arrow strings, null where a row has no text.
        kept: the other columns that were asked for, with as many rows. A field whose metadata are
            ``JSON`` holds values as JSON writes them.
    """

    texts: pa.Array
    kept: pa.Table


def read_pieces(
    path: Path,
    reading: Reading,
    usual: Reading,
    keep: Sequence[str] | None = (),
) -> Iterator[Piece]:
    """Read texts piece by piece, in bounded memory; whatever a row holds, it is one text.

    Bytes that are no text in the file's encoding become U+FFFD. The lines of a ``.txt`` file are
    texts (see :func:`read_lines`), rows of other files those of the corpus's reading, labels not
    needed.

    Args:
        path: a file of any format that training reads, compressed or not.
        reading: what the user says of it.
        usual: how the model's own data was read: its columns hold where the user says nothing and
            the file has such.
        keep: other columns to return; None: all.

    Raises:
        InputError: the file is missing or cannot be read, has no such columns, or it is not plain
            which holds the text; pieces before the fault were yielded.
    """
    file = open_texts(path, reading)
    columns = _text_columns(file, reading, usual)
    if keep is None:
        keep = [name for name in file.columns if name not in columns]
    elif not isinstance(file, LinesFile):
        check_there("keep", keep, file.columns, describe_columns(file))
    elif keep:
        raise InputError(f"{path}: is a file of lines: it has no columns to keep")
    file.kept = frozenset(keep) - set(columns)
    marks = dict.fromkeys(file.kept, JSON) if isinstance(file, JsonFile) else {}
    rows = 0
    for table in file.batches(tuple(dict.fromkeys((*columns, *keep)))):
        for start in range(0, table.num_rows, BATCH_ROWS):
            batch = table.slice(start, BATCH_ROWS)
            texts, kept = join_columns(batch, columns).combine_chunks(), batch.select(list(keep))
            for piece in _slices(texts):
                yield Piece(texts[piece], _marked(kept[piece], marks))
        rows += table.num_rows
    if not rows:  # the columns are there nevertheless
        nothing = file.head.slice(0, 0).select(list(keep))
        yield Piece(large_strings([]), _marked(nothing, marks))


def _slices(texts: pa.Array) -> Iterator[slice]:
    """Yield slices of texts that hold so many bytes each, or a single text that has more."""
    lengths = pc.fill_null(pc.binary_length(texts), 0).to_numpy(zero_copy_only=False)
    parts = np.cumsum(lengths, dtype=np.int64) // BATCH_BYTES
    firsts = [0, *(np.flatnonzero(np.diff(parts)) + 1).tolist(), len(texts)]
    return (slice(*ends) for ends in pairwise(firsts))


def _marked(table: pa.Table, marks: Mapping[str, Mapping[str, str]]) -> pa.Table:
    """Give fields their metadata."""
    fields = [field.with_metadata(marks.get(field.name)) for field in table.schema]
    return table.cast(pa.schema(fields)) if marks else table


def read_texts(path: Path, reading: Reading, usual: Reading) -> Iterator[pa.Array]:
    """Read the texts alone: see :func:`read_pieces`."""
    for piece in read_pieces(path, reading, usual):
        yield piece.texts


def _text_columns(file: TableFile, reading: Reading, usual: Reading) -> tuple[str, ...]:
    """Return the columns of text: as the user says, as the model's own, else the one there is."""
    columns = file.columns
    if isinstance(file, LinesFile):
        return columns
    other = other_delimiter(file) if len(columns) == 1 and reading.delimiter is not None else None
    if other is not None:  # the whole line is no text
        raise InputError(f"{describe_columns(file)}{other}")
    if reading.text is not None:
        check_there("text", reading.text, columns, describe_columns(file))
        return reading.text
    if usual.text is not None and set(usual.text) <= set(columns):
        return usual.text
    of_labels = usual.label or ()
    rest = [c for c in columns if c not in of_labels and c.lower() not in LABEL_COLUMNS]
    return choose_text(file, rest if len(columns) > 1 else columns, None)


def read_labelled(
    pattern: str, reading: Reading, usual: Reading, label_names: Sequence[str], several: bool
) -> Split:
    """Read labelled texts for a model that is there already.

    Args:
        pattern: a file, a pattern of several, or a folder as training takes it.
        reading: what the user says of it.
        usual: how the model's own data was read: its columns and label names hold where the user
            says nothing and the file has such.
        label_names: the model's.
        several: whether rows have any number of these; else each has one of them.

    Raises:
        InputError: as of :class:`textcls.corpus.corpus.Source`, and for a label that the model does
            not know; where rows have several, if it knows none of them.
    """
    paths = find_files(pattern, "train")
    check_names(paths)
    if paths[0].is_dir():
        if len(paths) > 1:
            raise InputError(f"{pattern}: names several folders, {paths[0]} first: name one")
        tables = open_folder(paths[0], reading, "train")
        if "" not in tables:
            names = ", ".join(tables)
            raise InputError(f"{paths[0]}: has the splits {names}: name one, {paths[0]}/SPLIT")
        files = [tables[""]]
    else:
        files = [open_table(path, reading) for path in paths]
    reading = _as_usual(reading, usual, files[0].columns)
    columns = choose_columns(reading, files[0])
    soft = not several and (len(columns[1]) > 1 or are_shares(files[0], columns[1]))
    known = usual.label_names
    if reading.label_names is None and known and (soft or _are_numbers(files[0], *columns[1])):
        reading = dataclasses.replace(reading, label_names=known)
    reader = RowReader(files, reading, *columns, reading.weight, soft)
    rows, where = reader.read(), reader.where
    if not rows.chunks:
        raise InputError(f"{where}: has no rows")
    labels = reader.numbered(rows, label_names, several, "the model's training")
    if several and reader.labels.distinct and not len(labels.ids):
        raise InputError(
            f"{where}: the model knows none of its labels, such as "
            f"'{reader.labels.distinct[0]:.60}': it knows {', '.join(label_names[:20])}"
        )
    if rows.weights is not None:
        if not rows.weights.any():
            raise InputError(f"{where}: every row weighs 0: give some a weight")
        log.info("%s: rows weigh what column %s says", where, reading.weight)
    for note in reader.labels.notes:
        log.info("%s: %s", where, note)
    return Split(rows.chunks, labels, where)


def _as_usual(reading: Reading, usual: Reading, columns: Sequence[str]) -> Reading:
    """Take the usual columns where none are named and the file has them."""
    if reading.text is None and usual.text is not None and set(usual.text) <= set(columns):
        reading = dataclasses.replace(reading, text=usual.text)
    if reading.label is None and usual.label is not None and set(usual.label) <= set(columns):
        reading = dataclasses.replace(reading, label=usual.label)
    if usual.weight in columns:
        reading = dataclasses.replace(reading, weight=usual.weight)
    return reading


def _are_numbers(file: TableFile, column: str, *others: str) -> bool:
    if others:
        return False
    values = LabelReader(Reading(), (column,))
    values.read([file.head.column(column)], file.locate)
    return all(name.lstrip("-").isdecimal() for name in values.distinct)


def read_lines(file: Any, encoding: str = "utf-8") -> Iterator[pa.Array]:
    r"""Yield the lines of a binary stream as they come: each is a text, an empty one as well.

    What the stream gives at one go is handed on at one go, so that somebody who writes a line into
    a pipe has the answer before the next. A line ends at ``\n``, ``\r\n`` or ``\r``; the labels
    that it may begin with in fastText's format, ``__label__x``, are no part of the text.

    Raises:
        InputError: there is no such encoding.
    """
    read = getattr(file, "read1", file.read)
    encoding = encoding_by_name(encoding)
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)
    # Line ends as everywhere: "\r" alone is one, too.
    decode = io.IncrementalNewlineDecoder(decoder("replace"), translate=True).decode
    rest: list[str] = []
    while piece := read(_PIECE_BYTES):
        whole, newline, begun = decode(piece).rpartition("\n")
        if newline:
            yield _lines("".join([*rest, whole]))
            rest = []
        rest.append(begun)  # a long line comes in many pieces
    last = "".join([*rest, decode(b"", final=True)])
    if last:  # the decoder has kept a last "\r" back, as a "\n" might have followed
        yield _lines(last.removesuffix("\n"))


def _lines(text: str) -> pa.Array:
    return without_labels(large_strings([line.encode() for line in text.split("\n")]))
