"""Corpus: labelled texts of three splits, read through Hugging Face ``datasets``.

Whatever the source, texts and labels end up as Arrow arrays; no row becomes a Python object.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import dataclasses
import glob
import hashlib
import io
import logging
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from textcls.config import DataConfig, Reading
from textcls.data.tokens import Int64, large_strings
from textcls.errors import InputError, first_line

log = logging.getLogger("textcls")

# Column names that say what they hold. Where exactly one of them is there, it is taken.
TEXT_COLUMNS = {
    "text", "texts", "sentence", "content", "review", "document", "body", "message", "tweet",
    "comment", "question", "headline", "utterance", "sms",
}  # fmt: skip
LABEL_COLUMNS = {
    "label", "labels", "class", "category", "target", "sentiment", "topic", "intent", "tag",
}  # fmt: skip
SPLITS = ("train", "validation", "test")
VALIDATION_NAMES = ("validation", "valid", "val", "dev")
COMPRESSIONS = {".gz", ".bz2", ".xz", ".zst"}
# Of a stream of lines, so much is read at one go, where so much is there.
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Split:
    """Texts and labels of one split.

    Attributes:
        chunks: the texts as Arrow string arrays, in order; null where a row has no text. Who uses
            them up takes them out of the list, so that a large corpus is not held twice.
        labels: int64 ``[num_texts]``, positions in ``Corpus.label_names``.
        where: the file or split that the rows come from, for messages.
    """

    chunks: list[pa.Array]
    labels: Int64
    where: str

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def texts(self) -> pa.ChunkedArray:
        """All texts, Arrow strings ``[num_texts]``."""
        return pa.chunked_array(self.chunks)

    def fingerprint(self, label_names: Sequence[str]) -> str:
        """Return a hash of texts and labels, however they are chunked; no text is an empty one."""
        rest, letters = xxhash.xxh3_64("\n".join(label_names).encode()), xxhash.xxh3_64()
        rest.update(self.labels.data)
        for chunk in self.chunks:
            whole = chunk.fill_null("").cast(pa.large_binary())
            _, ends, data = whole.buffers()
            ends = np.frombuffer(ends, np.int64, len(whole) + 1, 8 * whole.offset)
            rest.update(np.diff(ends).data)
            letters.update(memoryview(data or b"")[ends[0] : ends[-1]])
        return rest.hexdigest() + letters.hexdigest()

    def cut(self, held: npt.NDArray[np.bool_]) -> tuple[Split, Split]:
        """Use up this split: return the rows where ``held``, bool ``[num_texts]``, and the others.

        The order of the rows stays.
        """
        inside: list[pa.Array] = []
        outside: list[pa.Array] = []
        stop = len(held)
        while self.chunks:
            chunk = self.chunks.pop()
            wanted = held[stop - len(chunk) : stop]
            inside.append(chunk.filter(pa.array(wanted)))
            outside.append(chunk.filter(pa.array(~wanted)))
            stop -= len(chunk)
        return (
            Split(inside[::-1], self.labels[held], self.where),
            Split(outside[::-1], self.labels[~held], self.where),
        )


@dataclass(frozen=True)
class Corpus:
    """Train, validation and test.

    Attributes:
        label_names: of class 0, 1, 2, …
        text_columns: where the texts were.
        label_column: where the labels were.
        notes: sentences for the user on what reading found or decided.
    """

    train: Split
    validation: Split
    test: Split
    label_names: tuple[str, ...]
    text_columns: tuple[str, ...]
    label_column: str
    notes: tuple[str, ...]

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True)
class _Table:
    """Rows as read, before anyone knows which column is what."""

    table: pa.Table
    where: str
    # Label names that the source itself gives: of a ClassLabel column, by column name.
    class_names: dict[str, list[str]]
    # Every label a fastText file names, first or not.
    all_labels: pa.Array | None = None
    notes: tuple[str, ...] = ()


class Source:
    """The tables of a corpus: found first, so that a cache can ask for ``fingerprint``, then read.

    Raises:
        InputError: a file or dataset that is missing or cannot be read; the message says which
            file, which line and what to do.
    """

    def __init__(self, config: DataConfig) -> None:
        self.config = config
        self._hub: dict[str, Any] = {}
        if config.source == "hub":
            self._hub = _load_from_hub(config)
            self.fingerprint = str([(k, v._fingerprint) for k, v in self._hub.items()])
        elif config.source == "docstrings":
            from textcls.data import docstrings

            self.fingerprint = docstrings.fingerprint()
        else:
            self._files = {
                split: _find_files(path, f"data.{split}")
                for split, path in _given_splits(config).items()
            }
            self.fingerprint = str({k: _hash_files(v) for k, v in self._files.items()})

    def read(self) -> Corpus:
        """Read all splits, decide on columns and labels, and cut the splits that are missing."""
        if self.config.source == "hub":
            tables = {
                split: _from_dataset(dataset, f"{self.config.repo}, split {dataset.split}")
                for split, dataset in self._hub.items()
            }
        elif self.config.source == "docstrings":
            from textcls.data import docstrings

            tables = {"train": _Table(docstrings.read_docstrings(), "docstrings", {})}
        else:
            tables = self._read_files()
        return _make_corpus(self.config, tables)

    def _read_files(self) -> dict[str, _Table]:
        tables: dict[str, _Table] = {}
        for split, files in self._files.items():
            if len(files) > 1 and any(file.is_dir() for file in files):
                raise InputError(
                    f"data.{split}={getattr(self.config, split)}: names several folders: "
                    "join them by datasets.concatenate_datasets and save_to_disk"
                )
            if not files[0].is_dir():
                tables[split] = _read_files(files, self.config.reading)
                continue
            folder = _load_from_disk(files[0])
            if not isinstance(folder, dict):
                tables[split] = _from_dataset(folder, str(files[0]))
                continue
            names = VALIDATION_NAMES if split == "validation" else (split,)
            found = next((name for name in names if name in folder), None)
            if found is None:
                raise InputError(
                    f"data.{split}={files[0]}: has no split {names[0]}, only {', '.join(folder)}"
                )
            tables[split] = _from_dataset(folder[found], f"{files[0]}, split {found}")
            if split == "train":
                for other, names in (("validation", VALIDATION_NAMES), ("test", ("test",))):
                    found = next((name for name in names if name in folder), None)
                    if found is not None and other not in self._files:
                        tables[other] = _from_dataset(folder[found], f"{files[0]}, split {found}")
        return tables


def read_labelled(path: str, reading: Reading, usual: Reading, label_names: Sequence[str]) -> Split:
    """Read labelled texts for a model that is there already.

    Args:
        path: a file, a pattern of several, or a folder of ``save_to_disk``.
        reading: what the user says of it.
        usual: how the model's own data was read: its columns and label names hold where the user
            says nothing and the file has such.
        label_names: the model's: every label must be one of them.

    Raises:
        InputError: as of :class:`Source`, and for a label that the model does not know.
    """
    files = _find_files(path, "data.train")
    if files[0].is_dir():
        folder = _load_from_disk(files[0])
        if isinstance(folder, dict):
            raise InputError(
                f"{files[0]}: has the splits {', '.join(folder)}: name one, {files[0]}/SPLIT"
            )
        table = _from_dataset(folder, str(files[0]))
    else:
        table = _read_files(files, reading)
    if not table.table.num_rows:
        raise InputError(f"{table.where}: has no rows")
    reading = _as_usual(reading, usual, table.table.column_names)
    text_columns, label_column = _choose_columns(reading, table)
    if reading.label_names is None and _are_numbers(table.table.column(label_column)):
        reading = dataclasses.replace(reading, label_names=usual.label_names)
    labels = _encode_labels(_label_strings(reading, table, label_column), label_names, table)
    return Split(_texts(table, text_columns).chunks, labels, table.where)


def _as_usual(reading: Reading, usual: Reading, columns: Sequence[str]) -> Reading:
    """Take the usual columns where none are named and the file has them."""
    if reading.text is None and usual.text is not None and set(usual.text) <= set(columns):
        reading = dataclasses.replace(reading, text=usual.text)
    if reading.label is None and usual.label in columns:
        reading = dataclasses.replace(reading, label=usual.label)
    return reading


def _are_numbers(labels: pa.ChunkedArray) -> bool:
    try:
        labels.cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def read_texts(
    path: Path, reading: Reading, usual: Reading, batch_rows: int = 8_192
) -> Iterator[pa.Array]:
    """Read texts piece by piece, in constant memory; whatever a row holds, it is one text.

    Bytes that are no text in the file's encoding become U+FFFD. The lines of a ``.txt`` file are
    texts (see :func:`read_lines`), rows of other files those of the corpus's reading, labels not
    needed.

    Args:
        path: csv, tsv, json, jsonl, parquet or txt, compressed or not.
        reading: what the user says of it.
        usual: how the model's own data was read: its columns hold where the user says nothing and
            the file has such.
        batch_rows: so many rows at a time.

    Yields:
        Arrow string arrays, null where a row has no text.

    Raises:
        InputError: the file is missing or cannot be read; pieces before the fault were yielded.
    """
    kind = _format_of(path)
    if not path.is_file():
        raise InputError(f"{path}: {'is a folder' if path.is_dir() else 'there is no such file'}")
    with _told(path, kind, reading):
        if kind == "text":
            with _opened(path) as file:
                yield from read_lines(file, reading.encoding)
            return
        if not path.stat().st_size:
            raise InputError(f"{path}: is empty")
        options = _options(path, kind, reading)
        if kind == "json":  # under its usual name datasets takes UTF-8 as it is, bad bytes and all
            options["encoding"] = {"utf-8": "utf8"}.get(reading.encoding, reading.encoding)
        if kind == "parquet":
            options["batch_size"] = batch_rows
        else:
            options["encoding_errors"] = "replace"
        with _stream(kind, path, options, batch_rows) as (batches, _):
            for batch in batches:
                columns = _text_columns(_as_usual(reading, usual, batch.column_names), batch, path)
                yield from _texts(_mended(_Table(batch, str(path), {}), columns), columns).chunks


def _text_columns(reading: Reading, batch: pa.Table, path: Path) -> tuple[str, ...]:
    columns = batch.column_names
    listing = f"{path} has the columns {', '.join(columns)}"
    _check_there("text", reading.text or (), columns, listing)
    rest = [c for c in columns if c != reading.label and c.lower() not in LABEL_COLUMNS]
    return reading.text or _choose_text(rest if len(columns) > 1 else columns, listing)


def _opened(path: Path) -> Any:
    import fsspec

    return fsspec.open(str(path), "rb", compression="infer")


def _mended(table: _Table, columns: Sequence[str]) -> _Table:
    """Put U+FFFD where a string column holds bytes that are no UTF-8; only parquet can hold any."""
    changed = table.table
    for name in columns:
        column = changed.column(name)
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            texts = [
                None if value is None else value.decode("utf-8", "replace")
                for value in column.cast(pa.large_binary()).to_pylist()
            ]
            place = changed.column_names.index(name)
            changed = changed.set_column(place, name, pa.array(texts, pa.large_string()))
    return dataclasses.replace(table, table=changed)


def read_lines(file: Any, encoding: str = "utf-8") -> Iterator[pa.Array]:
    r"""Yield the lines of a binary stream as they come: each is a text, an empty one as well.

    What the stream gives at one go is handed on at one go, so that somebody who writes a line into
    a pipe has the answer before the next. A line ends at ``\n``, ``\r\n`` or ``\r``; the labels
    that it may begin with in fastText's format, ``__label__x``, are no part of the text.
    """
    read = getattr(file, "read1", file.read)
    try:
        decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)
    except LookupError:
        raise InputError(f"data.encoding={encoding}: there is no such encoding") from None
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
    if last:
        yield _lines(last)


def _lines(text: str) -> pa.Array:
    lines = large_strings([line.encode() for line in text.split("\n")])
    if "__label__" in text:
        lines = pc.replace_substring_regex(lines, r"^\s*(__label__\S+(\s+|$))+", "")
    return lines


# --- finding and reading ---------------------------------------------------------------------


def _given_splits(config: DataConfig) -> dict[str, str]:
    """Return the path or name of each split that the configuration names."""
    given = {split: getattr(config, split) for split in SPLITS}
    return {split: value for split, value in given.items() if value is not None}


def _find_files(path: str, key: str) -> list[Path]:
    exact = Path(os.path.expanduser(path))  # unlike Path's, leaves "~nobody" as it is
    files = [exact] if exact.exists() else [Path(name) for name in sorted(glob.glob(str(exact)))]
    if not files:
        raise InputError(f"{key}={path}: there is no such file")
    return files


def absolute(path: str) -> str:
    """Return a path or pattern such that it names the same files from any directory."""
    path = os.path.expanduser(path)
    if os.path.isabs(path):
        return path
    here = os.getcwd()
    return os.path.join(here if os.path.exists(path) else glob.escape(here), path)


def _hash_files(paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Hash contents; of the names only the suffix counts, since it decides how a file is read."""
    hashes = []
    for path in paths:
        members = sorted(path.rglob("*")) if path.is_dir() else [path]
        for member in members:
            if not member.is_file():
                continue
            try:
                digest = hash_file(member)
            except OSError as error:
                raise InputError(f"{member}: cannot be read ({error.strerror})") from None
            name = str(member.relative_to(path)) if path.is_dir() else "".join(member.suffixes)
            hashes.append((name, digest))
    return hashes


def hash_file(path: Path) -> str:
    """Return a hash of a file's content (xxh3: as fast as memory; it tells damage, not malice)."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, xxhash.xxh3_128).hexdigest()


def _load_from_hub(config: DataConfig) -> dict[str, Any]:
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("huggingface_hub").setLevel(logging.CRITICAL)  # it tells every retry
    log.info("loading %s from the Hugging Face hub, or from its cache here", config.repo)
    try:
        return {
            split: datasets.load_dataset(
                config.repo, config.subset, split=name, revision=config.revision
            )
            for split, name in _given_splits(config).items()
        }
    except Exception as error:  # datasets, fsspec, httpx and the OS each raise their own
        reason = first_line(error).rstrip(".")
        raise InputError(
            f"data.repo={config.repo}: cannot be loaded from the hub ({reason}). "
            "With no way to the hub, use local files: "
            "python train.py data=local data.train=FILE data.test=FILE"
        ) from None


def _load_from_disk(folder: Path) -> Any:
    import datasets

    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # as above
        reason = first_line(error)
        raise InputError(f"{folder}: is no folder saved by save_to_disk ({reason})") from None


def _from_dataset(dataset: Any, where: str) -> _Table:
    # The table behind a dataset ignores select() and the like: with_format("arrow") does not.
    return _Table(dataset.with_format("arrow")[:], where, _class_names(dataset.features))


def _class_names(features: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the label names of each ClassLabel column."""
    return {
        column: list(feature.names)
        for column, feature in features.items()
        if hasattr(feature, "names")
    }


def _format_of(path: Path) -> str:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    suffix = next((s for s in reversed(suffixes) if s not in COMPRESSIONS), "")
    formats = {
        ".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "json", ".ndjson": "json",
        ".parquet": "parquet", ".pq": "parquet", ".txt": "text", ".ft": "text",
        ".fasttext": "text", ".train": "text", ".valid": "text", ".test": "text",
    }  # fmt: skip
    if suffix not in formats:
        raise InputError(
            f"{path}: unknown kind of file {suffix or '(no suffix)'}: name it .csv, .tsv, .json, "
            ".jsonl, .parquet, or .txt (fastText's __label__ lines)"
        )
    return formats[suffix]


def _read_files(paths: list[Path], reading: Reading) -> _Table:
    parts = [_read_file(path, reading) for path in paths]
    where = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    if len(parts) == 1:
        return parts[0]
    columns = parts[0].table.column_names
    for path, part in zip(paths, parts, strict=True):
        if sorted(part.table.column_names) != sorted(columns):
            raise InputError(
                f"{path}: has the columns {', '.join(part.table.column_names)}, "
                f"but {paths[0]} has {', '.join(columns)}"
            )
        if part.class_names != parts[0].class_names:
            raise InputError(f"{path}: numbers its labels otherwise than {paths[0]}")
    try:
        table = pa.concat_tables([part.table for part in parts], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InputError(
            f"{where}: a column holds different kinds of values ({first_line(error)})"
        ) from None
    labels = [part.all_labels for part in parts if part.all_labels is not None]
    return _Table(
        table,
        where,
        parts[0].class_names,
        pc.unique(pa.chunked_array(labels)) if labels else None,
        tuple(note for part in parts for note in part.notes),
    )


def _read_file(path: Path, reading: Reading) -> _Table:
    kind = _format_of(path)
    with _told(path, kind, reading), _stream(kind, path, _options(path, kind, reading), 65_536) as (
        batches, features,
    ):  # fmt: skip
        tables = list(batches)
    if not tables:
        tables = [pa.table({name: pa.array([], pa.string()) for name in features})]
    table = pa.concat_tables(tables, promote_options="permissive")
    if not table.num_columns:
        raise InputError(f"{path}: is empty")
    if kind == "text":
        return _parse_fasttext(table, path)
    return _Table(table, str(path), _class_names(features))


@contextlib.contextmanager
def _told(path: Path, kind: str, reading: Reading) -> Iterator[None]:
    """Tell what keeps a file from being read, in one line."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # pandas, pyarrow, fsspec and the OS each raise their own
        if kind != "parquet":
            _raise_if_undecodable(path, reading.encoding)
        raise InputError(f"{path}: cannot be read as {kind} ({first_line(error)})") from None


def _options(path: Path, kind: str, reading: Reading) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if kind != "parquet":
        options["encoding"] = reading.encoding
    if kind == "text" and reading.encoding == "utf-8":
        options["encoding"] = "utf-8-sig"  # the mark of a first line must not hide its label
    if kind == "csv":
        options |= _csv_options(path, reading)
    return options


@contextlib.contextmanager
def _stream(
    kind: str, path: Path, options: dict[str, Any], batch_rows: int
) -> Iterator[tuple[Iterator[pa.Table], dict[str, Any]]]:
    """Yield the rows of a file, so many at a time, and what is known of its columns."""
    import datasets

    logging.getLogger("datasets").setLevel(logging.CRITICAL)  # the error is ours to tell
    datasets.config.HF_UPDATE_DOWNLOAD_COUNTS = False  # a local file is nobody's download
    # Streaming reads the file without leaving a second copy of it in the user's home.
    with tempfile.TemporaryDirectory(prefix="textcls-") as scratch:
        stream = datasets.load_dataset(
            kind,
            data_files={"train": glob.escape(str(path))},
            split="train",
            streaming=True,
            cache_dir=scratch,
            **options,
        )
        yield stream.with_format("arrow").iter(batch_size=batch_rows), stream.features or {}


def _csv_options(path: Path, reading: Reading) -> dict[str, Any]:
    """Read every column as strings: a text "123" or "NA" is a text, not a number or a null."""
    import datasets
    import fsspec

    csv.field_size_limit(2**31 - 1)  # a text may be long
    tabbed = ".tsv" in (suffix.lower() for suffix in path.suffixes)
    delimiter = reading.delimiter or ("\t" if tabbed else ",")
    with fsspec.open(
        str(path), "rt", compression="infer", encoding=reading.encoding, newline="",
        errors="replace",  # what cannot be read is told, or mended, when it is read in full
    ) as file:  # fmt: skip
        reader = csv.reader(file, delimiter=delimiter)
        first, second = next(reader, []), next(reader, [])
    if not first:
        raise InputError(f"{path}: is empty")
    first[0] = first[0].removeprefix("\ufeff")
    columns = list(reading.columns or first)
    has_header = first == columns
    if len(columns) != len(first):
        raise InputError(
            f"{path}: data.columns names {len(columns)} columns, its first line has {len(first)}"
        )
    if len(second) > len(columns):  # pandas would take the first column for row names
        raise InputError(
            f"{path}: the second line has {len(second)} fields, the first {len(columns)}: "
            "quote texts that hold the delimiter, or name it, as in data.delimiter=';'"
        )
    if len(set(columns)) != len(columns):
        raise InputError(f"{path}: two columns have one name: {', '.join(columns)}")
    return {
        "sep": delimiter,
        "header": 0 if has_header else None,
        "column_names": columns,
        "features": datasets.Features({name: datasets.Value("string") for name in columns}),
        "keep_default_na": False,
        "na_values": [""],
        # A blank line of a one-column file is a row; datasets' default would drop it in silence.
        "skip_blank_lines": len(columns) > 1,
    }


def _raise_if_undecodable(path: Path, encoding: str) -> None:
    import fsspec

    number, line = 0, b""
    try:
        with fsspec.open(str(path), "rb", compression="infer") as file:
            for line in file:
                number += 1
                line.decode(encoding)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: line {number} is not {encoding} (byte 0x{line[error.start]:02x}): "
            "name its encoding, as in data.encoding=latin-1"
        ) from None
    except LookupError:
        raise InputError(f"data.encoding={encoding}: there is no such encoding") from None
    except Exception:
        return  # not a matter of encoding: the first error tells it


def _parse_fasttext(table: pa.Table, path: Path) -> _Table:
    """Split fastText lines, ``__label__a __label__b text``, into the first label and the text."""
    lines = table.column(0)
    parts = pc.extract_regex(lines, r"^\s*(?P<labels>(?:__label__\S+\s*)*)(?P<text>(?s:.*))$")
    labels = pc.split_pattern_regex(
        pc.utf8_trim_whitespace(pc.struct_field(parts, "labels")), r"\s*__label__"
    )
    # The split of "__label__a __label__b" begins with an empty string, before the first label.
    lengths = pc.list_value_length(labels).to_numpy()
    blank = pc.equal(pc.utf8_trim_whitespace(lines), "").to_numpy()
    bad = np.flatnonzero((lengths < 2) & ~blank)
    if len(bad):
        raise InputError(
            f"{path}: line {bad[0] + 1} does not begin with __label__: "
            "a .txt file is read as fastText's, '__label__positive what a film'"
        )
    several = int((lengths > 2).sum())
    note = f"{path}: {several:,} rows have several labels: the first is taken"
    flat = pc.list_flatten(labels)
    kept = pa.array(~blank)  # fastText passes over blank lines as well
    texts = pc.struct_field(parts, "text").filter(kept)
    return _Table(
        pa.table({"text": texts, "label": pc.list_element(labels.filter(kept), 1)}),
        str(path),
        {},
        pc.unique(flat.filter(pc.not_equal(flat, ""))),
        (note,) if several else (),
    )


# --- columns, labels, splits -----------------------------------------------------------------


def _make_corpus(config: DataConfig, tables: dict[str, _Table]) -> Corpus:
    for split, table in tables.items():
        if not table.table.num_rows:
            raise InputError(f"{table.where}: the {split} split is empty")
    train = tables["train"]
    text_columns, label_column = _choose_columns(config.reading, train)
    raw_labels = {}
    for split, table in tables.items():
        for column in (*text_columns, label_column):
            if column not in table.table.column_names:
                raise InputError(
                    f"{table.where}: has no column '{column}', "
                    f"only {', '.join(table.table.column_names)}"
                )
        raw_labels[split] = _label_strings(config.reading, table, label_column)

    names = _class_order(config.reading, train, label_column, raw_labels["train"])
    if len(names) < 2:
        raise InputError(
            f"{train.where}: every row has the label '{names[0]}': a classifier needs two classes"
        )
    notes = [note for table in tables.values() for note in table.notes]
    splits = {}
    for split in list(tables):
        table = tables.pop(split)
        texts = _texts(table, text_columns)
        if texts.null_count:
            rows = f"{texts.null_count:,} rows have no text"
            notes.append(f"{table.where}: {rows}: they are kept, as empty bags")
        labels = _encode_labels(raw_labels[split], names, table)
        splits[split] = Split(texts.chunks, labels, table.where)
    where = train.where
    del table, texts, train  # from here on the splits alone hold the texts
    rng = np.random.default_rng(config.split_seed)
    for split, fraction in (
        ("test", config.test_fraction),
        ("validation", config.validation_fraction),
    ):
        if split not in splits:
            held = stratified_cut(splits["train"].labels, fraction, rng)
            if not held.any():
                raise InputError(
                    f"{where}: {len(held)} rows are too few to cut a {split} split: "
                    f"give data.{split}, or a larger data.{split}_fraction"
                )
            splits[split], splits["train"] = splits["train"].cut(held)
            notes.append(f"{split}: {held.sum():,} rows of {where}, held out by label")
    return Corpus(
        splits["train"],
        splits["validation"],
        splits["test"],
        tuple(names),
        text_columns,
        label_column,
        tuple(notes),
    )


def _choose_columns(reading: Reading, train: _Table) -> tuple[tuple[str, ...], str]:
    columns = train.table.column_names
    listing = f"{train.where} has the columns {', '.join(columns)}"
    _check_there("text", reading.text or (), columns, listing)
    _check_there("label", (reading.label,) if reading.label is not None else (), columns, listing)
    label = reading.label
    rest = [column for column in columns if column not in (reading.text or ())]
    if label is None:
        known = [column for column in rest if column.lower() in LABEL_COLUMNS]
        if len(known) == 1:
            label = known[0]
        elif not known and len(rest) == 1 and reading.text:
            label = rest[0]
        elif not known and len(rest) == 2:
            # Two columns, one of them plainly the text: the other is the label.
            others = [column for column in rest if column.lower() not in TEXT_COLUMNS]
            label = others[0] if len(others) == 1 else None
    if label is None:
        raise InputError(f"which column is the label? {listing}: say data.label=COLUMN")
    return reading.text or _choose_text([c for c in rest if c != label], listing), label


def _check_there(key: str, wanted: Sequence[str], columns: Sequence[str], listing: str) -> None:
    for column in wanted:
        if column not in columns:
            raise InputError(f"data.{key}={column}: there is no such column; {listing}")


def _choose_text(columns: Sequence[str], listing: str) -> tuple[str]:
    """Return the one column of text among those that hold no label."""
    known = [column for column in columns if column.lower() in TEXT_COLUMNS]
    if len(known) == 1:
        return (known[0],)
    if not known and len(columns) == 1:
        return (columns[0],)
    raise InputError(
        f"which column is the text? {listing}: say data.text=COLUMN, "
        "or data.text=[COLUMN,COLUMN] to join several"
    )


def _as_strings(column: pa.ChunkedArray, name: str, where: str) -> pa.ChunkedArray:
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        _check_utf8(column, where)
        return column
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise InputError(f"{where}: column '{name}' holds {column.type}, not text") from None


def _texts(table: _Table, columns: tuple[str, ...]) -> pa.ChunkedArray:
    parts = [_as_strings(table.table.column(name), name, table.where) for name in columns]
    texts = parts[0]
    if len(parts) > 1:
        texts = pc.binary_join_element_wise(
            *[part.cast(pa.large_string()) for part in parts],
            pa.scalar(" ", pa.large_string()),
            null_handling="skip",
        )
    return texts


def _check_utf8(column: pa.ChunkedArray, where: str) -> None:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        rows = (i for i, value in enumerate(column.cast(pa.large_binary())) if not _is_utf8(value))
        raise InputError(
            f"{where}: row {next(rows) + 1} is not UTF-8 text: mend the file, or name its "
            "encoding (data.encoding=latin-1)"
        ) from None


def _is_utf8(value: pa.Scalar) -> bool:
    try:
        (value.as_py() or b"").decode()
    except UnicodeDecodeError:
        return False
    return True


def _label_strings(reading: Reading, table: _Table, column: str) -> pa.ChunkedArray:
    """Return the label of each row as a name."""
    labels = table.table.column(column)
    names = list(reading.label_names) if reading.label_names else table.class_names.get(column)
    missing = pc.is_null(labels, nan_is_null=True)
    if names is not None:
        try:
            numbers = labels.cast(pa.int64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InputError(
                f"data.label_names names the labels 0, 1, 2, …, but in {table.where} "
                f"the column '{column}' holds other values"
            ) from None
        # datasets marks a row without a label by -1.
        missing = pc.or_(missing, pc.fill_null(pc.equal(numbers, -1), False))
        bad = pc.fill_null(
            pc.or_(pc.less(numbers, -1), pc.greater_equal(numbers, len(names))), False
        )
        row = pc.index(bad, True).as_py()
        if row >= 0:
            raise InputError(
                f"{table.where}: row {row + 1} has the label {numbers[row]}, "
                f"but there are names for 0 to {len(names) - 1} only"
            )
    row = pc.index(missing, True).as_py()
    if row >= 0:
        raise InputError(
            f"{table.where}: row {row + 1} has no label in column '{column}' "
            f"({pc.sum(missing)} such rows): label these rows or take them out"
        )
    if names is not None:
        return pa.chunked_array([pa.array(names).take(chunk) for chunk in numbers.chunks])
    return _as_strings(labels, column, table.where).cast(pa.string())


def _class_order(
    reading: Reading, train: _Table, column: str, labels: pa.ChunkedArray
) -> list[str]:
    """Order the classes of train: as the source names them, else as numbers, else by name."""
    seen = set(pc.unique(labels).to_pylist())
    if train.all_labels is not None:
        seen |= set(train.all_labels.to_pylist())
    given = reading.label_names or train.class_names.get(column)
    if given:
        return [name for name in given if name in seen]
    try:
        return sorted(seen, key=lambda name: (int(name), name))
    except ValueError:
        return sorted(seen)


def _encode_labels(labels: pa.ChunkedArray, names: Sequence[str], table: _Table) -> Int64:
    codes = pc.index_in(labels, value_set=pa.array(names, pa.string()))
    row = pc.index(pc.is_null(codes), True).as_py()
    if row >= 0:
        raise InputError(
            f"{table.where}: row {row + 1} has the label '{labels[row]}', which train never has "
            f"({codes.null_count} such rows): mend the label or take these rows out"
        )
    return np.asarray(codes.to_numpy(), np.int64)


def stratified_cut(
    labels: Int64, fraction: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Choose rows to hold out: of each class the given fraction, to the nearest row.

    Unlike scikit-learn's and datasets' stratified splits this takes classes of a single row (they
    stay), which real label sets have.

    Args:
        labels: int64 ``[n]``.
        fraction: between 0 and 1.
        rng: decides which rows.

    Returns:
        bool ``[n]``, True for the held out.
    """
    order = rng.permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    held = np.zeros(len(labels), np.bool_)
    held[order] = rank < np.floor(counts * fraction + 0.5)[labels[order]]
    return held
