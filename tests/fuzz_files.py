"""Read damaged files: each must give a table or one line that says what is wrong.

    python -m tests.fuzz_files --format csv --count 100000

A file is made from a valid one: bytes are changed, put in, taken out, the end is cut off, the
encoding or the compression is another. It is read as training and as prediction read it. Failures
are other exceptions, warnings, anything on stderr, a message that is no short line, a file that
takes long, and texts that are not those of Python's csv module in the same dialect. The same
number gives the same file: ``--start N --count 1 --keep DIR`` writes it.
"""

from __future__ import annotations

import argparse
import bz2
import contextlib
import csv
import faulthandler
import gzip
import io
import json
import lzma
import multiprocessing
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.inputs.cases import check_message, csv_text, data_config, jsonl_text
from textcls.config import Reading
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.reading import read_texts
from textcls.errors import InputError

ROWS = [
    ("what a film", "pos"), ("never, never again", "neg"), ('they call it "art"', "pos"),
    ("so dull; I left", "neg"), ("ça va, déjà vu 日本", "pos"), ("two\nlines", "neg"),
    ("a\ttab | bar", "pos"), (" blanks ", "neg"), ("", "pos"), ("no", "neg"),
]  # fmt: skip
FLAT = [(" ".join(text.split()), label) for text, label in ROWS]
# A file of a few hundred bytes takes milliseconds; the machine may be busy.
SLOW, HANGS = 5.0, 60.0
csv.field_size_limit(2**31 - 1)


def _parquet() -> bytes:
    sink = pa.BufferOutputStream()
    columns = {"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]}
    pq.write_table(pa.table(columns), sink)
    return bytes(sink.getvalue())


def _sheet() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.create_sheet(index=0)
    for row in (("text", "label"), *ROWS):
        sheet.append(row)
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def _zip(content: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("train.csv"), content)
    return stream.getvalue()


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def _quoted(delimiter: str = ",") -> str:
    return csv_text([(t, f'"{y}"') for t, y in ROWS], f'"text"{delimiter}"label"', delimiter)


PACKERS: list[Callable[[bytes], bytes]] = [
    lambda content: gzip.compress(content, mtime=0), bz2.compress, lzma.compress, _zstd, _zip,
]  # fmt: skip
# Of each format the ending of the file's name and how valid files are made.
SEEDS: dict[str, tuple[str, list[Callable[[], bytes]]]] = {
    "csv": (".csv", [
        lambda: csv_text(ROWS).encode(),
        lambda: csv_text(ROWS, end="\r\n").encode(),
        lambda: csv_text(ROWS, "text;label", ";").encode(),
        lambda: csv_text(ROWS, None).encode(),
        lambda: _quoted().encode(),
        lambda: csv_text([(t, f"{y},") for t, y in ROWS], "text,label,").encode(),
    ]),
    "tsv": (".tsv", [
        lambda: "\n".join(f"{t}\t{y}" for t, y in [("text", "label"), *FLAT]).encode(),
        lambda: csv_text(ROWS, "text\tlabel", "\t").encode(),
        lambda: "\n".join(f"{y}\t{t}" for t, y in FLAT).encode(),
    ]),
    "jsonl": (".jsonl", [
        lambda: jsonl_text(ROWS).encode(), lambda: jsonl_text(ROWS, ensure_ascii=False).encode(),
    ]),
    "json": (".json", [
        lambda: json.dumps([{"text": t, "label": y} for t, y in ROWS]).encode(),
        lambda: json.dumps([{"text": t, "label": y} for t, y in ROWS], indent=1).encode(),
        lambda: json.dumps({"text": {str(i): t for i, (t, _) in enumerate(ROWS)},
                            "label": {str(i): y for i, (_, y) in enumerate(ROWS)}}).encode(),
        lambda: json.dumps({"columns": ["text", "label"], "data": ROWS}).encode(),
    ]),
    "parquet": (".parquet", [_parquet]),
    "txt": (".txt", [lambda: "".join(f"__label__{y} {t}\n" for t, y in FLAT).encode()]),
    "gz": (".csv.gz", [lambda: gzip.compress(csv_text(ROWS).encode(), mtime=0)]),
    "zip": (".zip", [lambda: _zip(csv_text(ROWS).encode())]),
    "xlsx": (".xlsx", [_sheet]),
}  # fmt: skip
# What breaks parsers: quotes, delimiters, line ends, marks, bytes that are no letters.
PIECES = [
    b'"', b'""', b'"""', b"'", b",", b";", b"\t", b"|", b"\n", b"\r", b"\r\n", b"\n\n", b"\0",
    b"\\", b'\\"', b" ", b"{", b"}", b"[", b"]", b":", b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff",
    b"\xff", b"\xe9", b"\xc3", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\xc2\x85", b"\xc2\xa0", b"\x1a",
    b"\\ud800", b"\\u0000", b"null", b"NaN", b"1e999", b"text", b"label", b"__label__", b"sep=;",
    b'"\n', b',"', b'",', b"\0" * 64, b"9" * 400, b"[" * 2_000,
]  # fmt: skip
ENCODINGS = ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "gb18030"]


def make(kind: str, number: int) -> tuple[str, bytes]:
    """Return the name and the content of the file of this number."""
    rng = random.Random(f"{kind} {number}")
    ending, seeds = SEEDS[kind]
    content = rng.choice(seeds)()
    if rng.random() < 0.1:
        text = content.decode("utf-8", "ignore")
        content = text.encode(rng.choice(ENCODINGS), "replace")
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3, 8))):
        content = _mutated(rng, content)
    if rng.random() < 0.05:
        content = rng.choice(PACKERS)(content)
        for _ in range(rng.choice((0, 0, 1, 2))):
            content = _mutated(rng, content)
    if rng.random() < 0.05:
        ending = rng.choice([other for other, _ in SEEDS.values()])
    return f"some{ending}", content


def _mutated(rng: random.Random, content: bytes) -> bytes:
    """Change, put in, take out, double or swap a few bytes, or cut off the end."""
    a, b = sorted((rng.randint(0, len(content)), rng.randint(0, len(content))))
    short = min(a + rng.choice((1, 1, 2, 8, 40)), len(content))
    what = rng.randrange(8)
    if what == 0:  # a bit
        return (
            content[:a]
            + bytes(byte ^ 1 << rng.randrange(8) for byte in content[a : a + 1])
            + (content[a + 1 :])
        )
    if what == 1:  # any byte
        return content[:a] + rng.randbytes(short - a) + content[short:]
    if what in (2, 3):
        return content[:a] + rng.choice(PIECES) + content[a:]
    if what == 4:
        return content[:a] + rng.choice(PIECES) + content[short:]
    if what == 5:
        return content[:a] + content[short:]
    if what == 6:
        return content[:b] if rng.random() < 0.5 else content[a:]
    return content[:b] + content[a:]


def failure(path: Path, content: bytes) -> str | None:
    """Read a file; return what is wrong with how that went, or None."""
    path.write_bytes(content)
    begin = time.perf_counter()
    found = _as_training(path, content) or _as_prediction(path)
    if not found and time.perf_counter() - begin > SLOW:
        return f"took {time.perf_counter() - begin:.1f} s"
    return found


def outcome(path: Path) -> Corpus | InputError:
    """Read a file as training does."""
    config = data_config(train=str(path), validation=str(path), test=str(path))
    try:
        return Source(config).read()
    except InputError as error:
        return error


def _as_training(path: Path, content: bytes) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            result = outcome(path)
        if isinstance(result, InputError):
            check_message(str(result), path.name)
            return _refused_in_vain(path, content, result)
        for note in result.notes:
            check_message(f"{path.name} {note}", path.name)
        return _unlike_csv(path, content, result)
    except Exception:
        return f"training: {traceback.format_exc(limit=-4)}"


def _as_prediction(path: Path) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for texts in read_texts(path, Reading(), Reading(text=("text",), label=("label",))):
                texts.validate(full=True)
    except InputError as error:
        try:
            check_message(str(error), path.name)
        except AssertionError as fault:
            return f"prediction: {fault}"
    except Exception:
        return f"prediction: {traceback.format_exc(limit=-4)}"
    return None


def _unlike_csv(path: Path, content: bytes, corpus: Corpus) -> str | None:
    """Compare the texts with what Python's csv module reads in the dialect that was chosen."""
    (facts,) = corpus.files["train"]
    if facts.format != "csv" or facts.compression or facts.delimiter is None:
        return None
    style: dict[str, dict[str, Any]] = {"double": {}, "none": {"quoting": csv.QUOTE_NONE},
             "backslash": {"escapechar": "\\", "doublequote": False}}  # fmt: skip
    text = content.decode(facts.encoding or "utf-8").removeprefix("\ufeff")
    skips = any("before quotes" in note for note in facts.notes)
    rows = _python_rows(
        text, facts.delimiter, skipinitialspace=skips, **style[facts.quoting or "double"]
    )
    if rows is None:
        return None
    place = facts.columns.index(corpus.text_columns[0])
    label = facts.columns.index(corpus.label_columns[0])
    if facts.header:
        rows = rows[1:]
    # Rows of separators alone are no rows of the table, nor is a header that comes again.
    rows = [[*row, *[""] * len(facts.columns)] for row in rows if any(row)]
    own = [corpus.text_columns[0], corpus.label_columns[0]]
    rows = [row for row in rows if not facts.header or [row[place], row[label]] != own]
    expected = [row[place] for row in rows if row[label].strip()]
    texts = [value or "" for value in corpus.train.texts.to_pylist()]
    return None if texts == expected else f"csv reads {expected!r}, not {texts!r}"


def _refused_in_vain(path: Path, content: bytes, error: InputError) -> str | None:
    """Say so where a file was refused that Python's csv module reads as a table of two classes."""
    head = b"text,label\n"
    if path.suffix != ".csv" or not content.startswith(head):
        return None
    try:
        rows = _python_rows(content[len(head) :].decode(), ",")
    except UnicodeDecodeError:
        return None
    if rows is None or not all(len(row) == 2 and row[1].strip() for row in rows):
        return None
    classes = {row[1].strip() for row in rows}
    return f"refused in vain: {error}" if len(classes) > 1 else None


def _python_rows(text: str, delimiter: str, **style: Any) -> list[list[str]] | None:
    try:
        reader = csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, strict=True, **style
        )
        return [row for row in reader if row]
    except csv.Error:
        return None


@contextlib.contextmanager
def watched_stderr() -> Iterator[Callable[[], str]]:
    """Send what is written on stderr, by C code as well, to a function that returns it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def written() -> str:
            sys.stderr.flush()
            file.seek(0)
            text = file.read().decode("utf-8", "replace")
            file.truncate(0)
            file.seek(0)
            return text

        try:
            yield written
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def fuzz(kind: str, numbers: range, folder: Path) -> Iterator[tuple[int, str | None]]:
    """Yield number and failure, or None, of each file."""
    for number in numbers:
        name, content = make(kind, number)
        with watched_stderr() as written:
            found = failure(folder / name, content)
            noise = written()
        yield number, found or (f"on stderr: {noise}" if noise else None)
        (folder / name).unlink()


def _work(kind: str, numbers: range, now: object, queue: object) -> None:
    faulthandler.enable()
    with tempfile.TemporaryDirectory() as folder:
        for number, found in fuzz(kind, numbers, Path(folder)):
            now.value = number + 1  # type: ignore[attr-defined]
            if found:
                queue.put((number, found))  # type: ignore[attr-defined]


def supervise(kind: str, numbers: range) -> Iterator[tuple[int, str]]:
    """Fuzz in a process of its own, which may crash or hang; yield what failed."""
    context = multiprocessing.get_context("spawn")
    start = numbers.start
    while start < numbers.stop:
        now, queue = context.Value("q", start), context.SimpleQueue()
        child = context.Process(target=_work, args=(kind, range(start, numbers.stop), now, queue))
        child.start()
        last, since = start, time.monotonic()
        while child.is_alive():
            child.join(0.2)
            while not queue.empty():
                yield queue.get()
            if now.value != last:
                last, since = now.value, time.monotonic()
            elif time.monotonic() - since > HANGS:
                child.kill()
                child.join()
        while not queue.empty():
            yield queue.get()
        start = now.value
        if child.exitcode:
            yield start, f"the process ended with status {child.exitcode}"
            start += 1


def main() -> int:
    """Fuzz one format, or all; print what failed, and write those files to ``--keep``."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--format", choices=[*SEEDS, "all"], default="all")
    parser.add_argument("--count", type=int, default=1_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="write files that fail to this folder")
    options = parser.parse_args()
    kinds = list(SEEDS) if options.format == "all" else [options.format]
    failed: Counter[str] = Counter()
    for kind in kinds:
        begin = time.monotonic()
        for number, found in supervise(kind, range(options.start, options.start + options.count)):
            failed[kind] += 1
            if failed[kind] <= 20:
                print(f"{kind} {number}: {found}", flush=True)
            if options.keep:
                name, content = make(kind, number)
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{number}-{name}").write_bytes(content)
        seconds = time.monotonic() - begin
        print(
            f"{kind}: {options.count:,} files, {failed[kind]} failed, {seconds:.0f} s", flush=True
        )
    return int(bool(failed.total()))


if __name__ == "__main__":
    sys.exit(main())
