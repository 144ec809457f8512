"""Which format a file has, by its name and its content."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from textcls.config import Reading
from textcls.corpus.columnar import ArrowFile, DatasetTable, Workbook
from textcls.corpus.delimited import DelimitedFile
from textcls.corpus.dialect import splits_evenly
from textcls.corpus.json_file import JsonFile
from textcls.corpus.lines import LABEL_PREFIX, FastTextFile, LinesFile, TextFolders, class_files
from textcls.corpus.opening import Errors, Unpacked, Utf8Stream, unpacked_name
from textcls.corpus.tables import TableFile
from textcls.errors import InputError, first_line
from textcls.naming import option

_BY_SUFFIX = {
    ".csv": "csv", ".tsv": "csv", ".tab": "csv", ".psv": "csv",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow",
    ".ipc": "arrow", ".xlsx": "xlsx", ".xlsm": "xlsx",
    ".txt": "text", ".ft": "text", ".fasttext": "text", ".train": "text", ".valid": "text",
    ".test": "text",
}  # fmt: skip
_TEXTUAL = ("csv", "json", "text")
_KNOWN = "csv, tsv, json, jsonl, parquet, arrow, xlsx or fastText's __label__ lines"


def stem_of(path: Path) -> str:
    """Return the name of a file without what says its compression and format."""
    name = Path(unpacked_name(path))
    return name.stem if name.suffix.lower() in _BY_SUFFIX else name.name


def open_table(path: Path, reading: Reading, errors: Errors = "strict") -> TableFile:
    """Open a file or folder of labelled texts.

    Args:
        path: a file, compressed or not; or a folder with a folder of text files for each class. For
            folders of ``save_to_disk`` see :func:`open_folder`.
        reading: what the user says of it.
        errors: ``replace`` puts U+FFFD in the place of bytes that are not of its encoding.

    Raises:
        InputError: it is of no known format, or cannot be read.
    """
    if path.is_dir():
        return TextFolders(path, reading)
    unpacked = Unpacked(path)
    kind, sample = _kind_and_sample(unpacked, reading, errors)
    if kind in _TEXTUAL and not sample.strip(" \t\r\n"):
        raise InputError(f"{path}: is empty")
    if kind == "text":
        kind = _kind_of_text(sample, unpacked, reading)
    table = _opened(kind, unpacked, reading, errors)
    suffix = Path(unpacked.name).suffix.lower()
    if suffix and _BY_SUFFIX.get(suffix, kind) not in (kind, "text"):
        table.facts.notes.append(f"its name ends in {suffix}, its content is {table.facts.format}")
    return table


def _opened(kind: str, unpacked: Unpacked, reading: Reading, errors: Errors) -> TableFile:
    if kind in ("parquet", "arrow"):
        return ArrowFile(unpacked, kind == "parquet", errors)
    if kind == "xlsx":
        return Workbook(unpacked, reading)
    if kind == "json":
        return JsonFile(unpacked, reading, errors)
    if kind == "fasttext":
        return FastTextFile(unpacked, reading, errors)
    return DelimitedFile(unpacked, reading, errors)


def open_texts(path: Path, reading: Reading) -> TableFile:
    """Open a file of texts to label: as :func:`open_table`, but the lines of a .txt are texts.

    Raises:
        InputError: as of :func:`open_table`.
    """
    if path.is_dir():
        return TextFolders(path, reading, "replace")
    unpacked = Unpacked(path)
    suffix = Path(unpacked.name).suffix.lower()
    if _BY_SUFFIX.get(suffix) == "text" and reading.delimiter is None:
        kind, _ = _kind_and_sample(unpacked, reading, "replace")
        if kind == "text":
            return LinesFile(unpacked, reading)
    return open_table(path, reading, "replace")


def _kind_and_sample(unpacked: Unpacked, reading: Reading, errors: Errors) -> tuple[str, str]:
    """Return the kind of a file, ``text`` where its lines must tell, and its beginning."""
    if unpacked.is_workbook:
        return "xlsx", ""
    path = unpacked.path
    with unpacked.open() as file:
        magic = file.read(16)
    if magic.startswith(b"PAR1"):
        return "parquet", ""
    if magic.startswith((b"ARROW1", b"\xff\xff\xff\xff")):
        return "arrow", ""
    for start, kind in (
        (b"%PDF", "a PDF file"), (b"\xd0\xcf\x11\xe0", "an old Excel or Word file"),
        (b"7z\xbc\xaf", "an archive"), (b"Rar!", "an archive"),
        (b"SQLite format 3\0", "a database"), (b"\x80\x04\x95", "a pickle"),
        (b"\x80\x05\x95", "a pickle"),
        (b"\x89PNG", "a picture"), (b"\x7fELF", "a program"), (b"{\\rtf", "a text document"),
    ):  # fmt: skip
        if magic.startswith(start):
            raise InputError(f"{path}: is {kind}: save its rows as .csv, .xlsx, .jsonl or .parquet")
    suffix = Path(unpacked.name).suffix.lower()
    kind = _BY_SUFFIX.get(suffix, "text")
    if kind in ("parquet", "arrow", "xlsx"):
        names = {"parquet": "Parquet", "arrow": "Arrow", "xlsx": "Excel"}
        if not magic:
            raise InputError(f"{path}: is empty")
        raise InputError(f"{path}: is no {names[kind]} file, or a damaged one")
    with unpacked.open() as file:
        sample, _ = Utf8Stream(file, path, reading.encoding, errors).peek()
    text = sample.decode("utf-8", "replace")
    is_bracketed = text.lstrip().startswith(("{", "["))
    if kind == "csv" and is_bracketed and _is_json(text):
        return "json", text
    if kind == "json" and not is_bracketed:
        return "text", text
    return kind, text


def _is_json(text: str) -> bool:
    line = text.lstrip().split("\n", 1)[0]
    try:
        value: Any = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) or (isinstance(value, list) and bool(value))


def _kind_of_text(sample: str, unpacked: Unpacked, reading: Reading) -> str:
    """Find out what kind of rows a text file of no telling name has."""
    if reading.delimiter is not None:
        return "csv"
    lines = [line for line in sample.splitlines() if line.strip()]
    if not lines:  # white space of other kinds than a blank
        raise InputError(f"{unpacked.path}: is empty")
    if lines[0].lstrip().startswith(LABEL_PREFIX):
        return "fasttext"
    if lines[0].lstrip().startswith(("{", "[")):
        return "json"
    if splits_evenly(sample.splitlines(keepends=True)):
        return "csv"
    suffix = Path(unpacked.name).suffix.lower()
    known = _BY_SUFFIX.get(suffix)
    if known == "json":
        raise InputError(f"{unpacked.path}: line 1 is no JSON: write each row as an object")
    if suffix in (".txt", ".ft", ".fasttext", ".train", ".valid", ".test"):
        raise InputError(
            f"{unpacked.path}: line 1 does not begin with {LABEL_PREFIX}, nor is it split by a "
            "tab: write '__label__positive what a film', or name the delimiter, as in "
            f"{option('delimiter', ';')}"
        )
    raise InputError(f"{unpacked.path}: is of no known format: give {_KNOWN}")


# --- folders of datasets ---------------------------------------------------------------------


def is_saved_dataset(folder: Path) -> bool:
    """Say whether a folder was written by datasets' ``save_to_disk``."""
    return any((folder / name).exists() for name in ("dataset_dict.json", "state.json"))


def open_folder(folder: Path, reading: Reading, opt: str) -> dict[str, TableFile]:
    """Open a folder: its splits by name, or its one table by the name "".

    Args:
        folder: of ``save_to_disk``, or with a folder for each class.
        reading: what the user says of it.
        opt: the split's key, to name it by in messages.

    Raises:
        InputError: it is none of these.
    """
    if is_saved_dataset(folder):
        saved = _load_from_disk(folder)
        if isinstance(saved, dict):
            return {
                name: DatasetTable(part, f"{folder}, split {name}") for name, part in saved.items()
            }
        return {"": DatasetTable(saved, str(folder))}
    if class_files(folder):
        return {"": TextFolders(folder, reading)}
    names = sorted(
        path.name + "/" * path.is_dir()
        for path in folder.iterdir()
        if not path.name.startswith(".")
    )
    if not names:
        raise InputError(f"{folder}: is an empty folder")
    usable = [name for name in names if _is_usable(folder / name)]
    listing = ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
    named = [name for name in usable if "train" in name.lower()] or usable
    mend = (
        f"name one of them, as in {option(opt, str(folder / named[0]))}"
        if named
        else "it needs a folder for each class, with text files in it, or to be of save_to_disk"
    )
    raise InputError(f"{folder}: is a folder of {listing:.100}: {mend}")


def _is_usable(path: Path) -> bool:
    if path.is_dir():
        return is_saved_dataset(path) or bool(class_files(path))
    return any(suffix.lower() in _BY_SUFFIX for suffix in path.suffixes)


def _load_from_disk(folder: Path) -> Any:
    import datasets

    try:
        return datasets.load_from_disk(str(folder))
    except MemoryError:
        raise
    except Exception as error:  # datasets, pyarrow and the OS each raise their own
        reason = first_line(error)
        raise InputError(f"{folder}: is no folder saved by save_to_disk ({reason})") from None
