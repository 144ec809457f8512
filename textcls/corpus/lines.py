"""Files of lines: fastText's labelled lines, plain lines; and folders of text files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from textcls.arrow import as_numpy, booleans, large_strings, strings
from textcls.config import Reading
from textcls.corpus.opening import Errors, Unpacked, Utf8Stream
from textcls.corpus.paths import check_names
from textcls.corpus.tables import BATCH_BYTES, BATCH_ROWS, HEAD_ROWS, FileFacts, TableFile, plural
from textcls.errors import InputError

LABEL_PREFIX = "__label__"


class FastTextFile(TableFile):
    """Lines of fastText: ``__label__a __label__b text``; the columns are ``text`` and ``label``.

    The labels of a line are a list. Blank lines are passed over, as fastText does.

    Args:
        unpacked: the file.
        reading: what the user says of it.
        errors: ``replace`` puts U+FFFD in the place of bytes that are not of its encoding.
    """

    def __init__(self, unpacked: Unpacked, reading: Reading, errors: Errors = "strict") -> None:
        self._unpacked, self._reading, self._errors = unpacked, reading, errors
        self.path = unpacked.path
        self.facts = FileFacts(
            str(self.path),
            "fasttext",
            columns=("text", "label"),
            compression=unpacked.compression,
        )
        first = next(self._tables(), None)
        if first is None:
            raise InputError(f"{self.path}: is empty")
        self.head = first.slice(0, HEAD_ROWS)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        self.facts.rows = 0
        for table in self._tables():
            self.facts.rows += table.num_rows
            yield table.select(list(columns))

    def _tables(self) -> Iterator[pa.Table]:
        number = 0
        for lines in _line_arrays(self._unpacked, self._reading, self._errors, self.facts):
            table = self._parse(lines, number)
            number += len(lines)
            if table.num_rows:
                yield table

    def _parse(self, lines: pa.Array, before: int) -> pa.Table:
        """Split lines into labels and text."""
        parts = pc.extract_regex(lines, r"^\s*(?P<labels>(?:__label__\S+\s*)*)(?P<text>(?s:.*))$")
        labels = pc.split_pattern_regex(
            pc.utf8_trim_whitespace(pc.struct_field(parts, "labels")), r"\s*__label__"
        )
        # The split of "__label__a __label__b" begins with an empty string, before the first label.
        lengths = as_numpy(pc.list_value_length(labels))
        blank = as_numpy(pc.equal(pc.utf8_trim_whitespace(lines), ""))
        bad = np.flatnonzero((lengths < 2) & ~blank)
        if len(bad):
            raise InputError(
                f"{self.path}: line {before + bad[0] + 1:,} does not begin with {LABEL_PREFIX}: "
                "write each line as fastText does, '__label__positive what a film'"
            )
        kept = booleans(~blank)
        return pa.table(
            {
                "text": pc.struct_field(parts, "text").filter(kept),
                "label": pc.list_slice(labels.filter(kept), 1),
            }
        )

    def locate(self, row: int) -> str:
        """Say on which line a row is."""
        arrays = _line_arrays(self._unpacked, self._reading, self._errors, self.facts)
        numbered = enumerate((line for array in arrays for line in array.to_pylist()), 1)
        filled = (number for number, line in numbered if line.strip())
        return f"line {next(islice(filled, row, None)):,}"


class LinesFile(TableFile):
    """Plain lines, each a text, an empty one as well: the column is ``text``.

    Labels that a line may begin with in fastText's format are no part of the text.
    """

    def __init__(self, unpacked: Unpacked, reading: Reading) -> None:
        self._unpacked, self._reading = unpacked, reading
        self.path = unpacked.path
        self.facts = FileFacts(str(self.path), "lines", columns=("text",))
        self.head = pa.table({"text": large_strings([])})

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        self.facts.rows = 0
        for lines in _line_arrays(self._unpacked, self._reading, "replace", self.facts):
            self.facts.rows += len(lines)
            yield pa.table([without_labels(lines)] * len(columns), names=list(columns))


class TextFolders(TableFile):
    """Folders by class, each with a file a document: ``pos/1.txt``, ``neg/1.txt``.

    The columns are ``text``, the file's content, ``label``, the folder's name, and ``file``, the
    file's path in the folder.

    Args:
        folder: the folder of these folders; or, in prediction, a folder of ``.txt`` files.
        reading: what the user says of it.
        errors: ``replace`` puts U+FFFD in the place of bytes that are not of the encoding.

    Raises:
        InputError: it holds no such files, or one whose name is not UTF-8.
    """

    def __init__(self, folder: Path, reading: Reading, errors: Errors = "strict") -> None:
        self.path, self._reading, self._errors = folder, reading, errors
        self.facts = FileFacts(str(folder), "texts", columns=("text", "label", "file"))
        self._files = class_files(folder)
        if not self._files and errors == "replace":
            self._files = sorted(folder.glob("[!.]*.txt"))
        if not self._files:
            what = "text files" if errors == "replace" else "folders by class with text files"
            raise InputError(f"{folder}: is a folder without {what}: name the files in it")
        check_names(dict.fromkeys(file.parent for file in self._files))
        self.head = next(self._tables(self._files[:HEAD_ROWS]))

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows; see :class:`TableFile`."""
        self.facts.rows = 0
        for table in self._tables(self._files):
            self.facts.rows += table.num_rows
            yield table.select(list(columns))
        names = dict.fromkeys(file.parent.name for file in self._files)
        self.facts.notes.append(f"the labels are the names of {len(names):,} folders")
        beside = [path for path in self.path.iterdir() if _is_shown(path) and not path.is_dir()]
        if beside:
            files = plural(len(beside), "file")
            self.facts.notes.append(f"{files} beside these folders: left out")

    def _tables(self, files: Sequence[Path]) -> Iterator[pa.Table]:
        texts: list[bytes] = []
        size = start = 0
        for number, file in enumerate(files, 1):
            texts.append(self._read(file))
            size += len(texts[-1])
            if len(texts) == BATCH_ROWS or size > BATCH_BYTES or number == len(files):
                yield self._table(texts, files[start:number])
                texts, size, start = [], 0, number

    def _table(self, texts: Sequence[bytes], files: Sequence[Path]) -> pa.Table:
        names = [file.relative_to(self.path).as_posix() for file in files]
        return pa.table(
            {
                "text": large_strings(texts),
                "label": strings([file.parent.name for file in files]),
                "file": strings(names),
            }
        )

    def _read(self, file: Path) -> bytes:
        with Unpacked(file).open() as stream:
            content = Utf8Stream(stream, file, self._reading.encoding, self._errors)
            self.facts.encoding = content.encoding
            return content.read()

    def locate(self, row: int) -> str:
        """Name the file that a row is."""
        file = self._files[row]
        return f"{file.parent.name}/{file.name}"


def class_files(folder: Path) -> list[Path]:
    """Return the files of the folders in a folder, sorted; none if there are folders in these.

    Hidden files and folders, ``.name``, are passed over.
    """
    files = []
    for inner in sorted(filter(_is_shown, folder.iterdir())):
        if not inner.is_dir():
            continue
        members = sorted(filter(_is_shown, inner.iterdir()))
        if any(not path.is_file() for path in members):
            return []
        files += members
    return files


def _is_shown(path: Path) -> bool:
    return not path.name.startswith(".")


def without_labels(lines: pa.Array) -> pa.Array:
    """Take off the labels that lines begin with in fastText's format."""
    if not pc.any(pc.match_substring(lines, LABEL_PREFIX)).as_py():
        return lines
    return pc.replace_substring_regex(lines, r"^\s*(__label__\S+(\s+|$))+", "")


def _line_arrays(
    unpacked: Unpacked, reading: Reading, errors: Errors, facts: FileFacts
) -> Iterator[pa.Array]:
    """Yield a file's lines, some megabytes at a time, as Arrow strings."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(unpacked.open())
        stream = Utf8Stream(file, unpacked.path, reading.encoding, errors)
        facts.encoding = stream.encoding
        rest: list[bytes] = []
        while piece := stream.read(BATCH_BYTES):
            if b"\r" in piece:  # line ends as everywhere: "\r" alone is one, too
                piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            whole, newline, begun = piece.rpartition(b"\n")
            if newline:
                yield large_strings(b"".join([*rest, whole]).split(b"\n"))
                rest = []
            rest.append(begun)  # a long line comes in many pieces
        last = b"".join(rest)
        if last:
            yield large_strings([last])
