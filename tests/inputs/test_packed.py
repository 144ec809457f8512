"""Compressed files, files by another name, and files that are no tables."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from tests.inputs.cases import ROWS, Case, check, csv_text, jsonl_text, reads, refused

CSV = csv_text(ROWS).encode()
JSONL = jsonl_text().encode()
TXT = "".join(f"__label__{label} {text}\n" for text, label in ROWS).encode()
TABLE = pa.table({"text": [t for t, _ in ROWS], "label": [y for _, y in ROWS]})


def zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return stream.getvalue()


def encrypted(content: bytes) -> bytes:
    """Mark the only member of an archive as encrypted."""
    packed = bytearray(zipped(("a.csv", content)))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    return bytes(packed)


def tarred(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        member = tarfile.TarInfo("train.csv")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def parquet(table: pa.Table = TABLE) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def arrow(write: Callable[[pa.BufferOutputStream], None]) -> bytes:
    sink = pa.BufferOutputStream()
    write(sink)
    return bytes(sink.getvalue())


def stream_of(sink: pa.BufferOutputStream) -> None:
    with pa.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
    "zip": lambda content: zipped(("any.csv", content)),
}

PACKED = [
    *(reads(f"csv in {kind}", pack(CSV), ROWS, f"train.csv.{kind}")
      for kind, pack in PACKERS.items()),
    *(reads(f"csv in {kind}, named .csv", pack(CSV), ROWS) for kind, pack in PACKERS.items()),
    *(reads(f"jsonl in {kind}", pack(JSONL), ROWS, f"train.jsonl.{kind}")
      for kind, pack in PACKERS.items() if kind != "zip"),
    *(reads(f"fastText in {kind}", pack(TXT), ROWS, f"train.txt.{kind}")
      for kind, pack in PACKERS.items() if kind != "zip"),
    reads("plain, named .csv.gz", CSV, ROWS, "train.csv.gz"),
    reads("plain, named .csv.zip", CSV, ROWS, "train.csv.zip"),
    reads("xz named .gz", lzma.compress(CSV), ROWS, "train.csv.gz"),
    reads("upper case", gzip.compress(CSV), ROWS, "TRAIN.CSV.GZ"),
    reads("several gzips in a row (cat)",
          gzip.compress(CSV[:40]) + gzip.compress(CSV[40:]), ROWS, "train.csv.gz"),
    reads("several zstds in a row", zstd(CSV[:40]) + zstd(CSV[40:]), ROWS, "train.csv.zst"),
    reads("several xz in a row", lzma.compress(CSV[:40]) + lzma.compress(CSV[40:]), ROWS,
          "train.csv.xz"),
    reads("several bz2 in a row (pbzip2)", bz2.compress(CSV[:40]) + bz2.compress(CSV[40:]), ROWS,
          "train.csv.bz2"),
    reads("zip of a file in a folder", zipped(("data/", b""), ("data/train.csv", CSV)), ROWS,
          "train.zip"),
    reads("zip of jsonl", zipped(("train.jsonl", JSONL)), ROWS, "train.zip"),
    reads("zip of tsv", zipped(("t.tsv", csv_text(ROWS, "text\tlabel", "\t").encode())), ROWS,
          "train.zip"),
    reads("zip of fastText", zipped(("t.txt", TXT)), ROWS, "train.zip"),
    reads("zip of parquet", zipped(("t.parquet", parquet())), ROWS, "train.zip"),
    refused("zip of gzip", zipped(("t.csv.gz", gzip.compress(CSV))), r"archive: unpack",
            "train.zip"),
    refused("zip of zip", zipped(("t.zip", zipped(("t.csv", CSV)))), r"archive: unpack",
            "train.zip"),
    refused("gzip of gzip", gzip.compress(gzip.compress(CSV)), r"archive: unpack", "train.csv.gz"),
    reads("zip with what macOS adds",
          zipped(("train.csv", CSV), ("__MACOSX/._train.csv", b"\0\5\x16\7"), (".DS_Store", b"\0")),
          ROWS, "train.zip"),
    reads("zip without compression", zipped(("t.csv", CSV), method=zipfile.ZIP_STORED), ROWS,
          "train.zip"),
    reads("zip by lzma", zipped(("t.csv", CSV), method=zipfile.ZIP_LZMA), ROWS, "train.zip"),
    refused("zip of several", zipped(("train.csv", CSV), ("test.csv", CSV)),
            r"train\.csv.*test\.csv|test\.csv.*train\.csv", "train.zip"),
    refused("zip of very many", zipped(*((f"some/folder/of/part-{i:05}.csv", CSV)
                                         for i in range(300))), r"part-00000\.csv", "train.zip"),
    refused("zip of none", zipped(), r".", "train.zip"),
    refused("zip of a folder", zipped(("a/", b"")), r".", "train.zip"),
    refused("zip with a password", encrypted(CSV), r"password|encrypted", "train.zip"),
    refused("zip with a name that is no UTF-8",
            zipped(("é.csv", CSV)).replace("é".encode(), b"\xff\xff"), r"damaged", "train.zip"),
    refused("zip cut short", zipped(("t.csv", CSV))[:-30], r".", "train.zip"),
    refused("gzip cut short", gzip.compress(CSV * 99)[:-20], r".", "train.csv.gz"),
    refused("gzip damaged", gzip.compress(CSV)[:-8] + b"\0" * 8, r".", "train.csv.gz"),
    refused("gzip of nothing", gzip.compress(b""), r"is empty", "train.csv.gz"),
    refused("xz cut short", lzma.compress(CSV * 99)[:-20], r".", "train.csv.xz"),
    refused("bz2 cut short", bz2.compress(CSV * 99)[:-20], r".", "train.csv.bz2"),
    refused("zstd cut short", zstd(CSV * 99)[:-20], r".", "train.csv.zst"),
    refused("gzip's first bytes alone", b"\x1f\x8b", r".", "train.csv.gz"),
]  # fmt: skip

NAMES = [
    reads("parquet named .csv", parquet(), ROWS),
    reads("parquet named .json", parquet(), ROWS, "train.json"),
    reads("parquet without an ending", parquet(), ROWS, "part-00000"),
    reads("parquet", parquet(), ROWS, "train.parquet"),
    reads("parquet named .pq", parquet(), ROWS, "train.pq"),
    reads("feather", arrow(lambda sink: pa.feather.write_feather(TABLE, sink)), ROWS,
          "train.feather"),
    reads("arrow file", arrow(lambda sink: pa.feather.write_feather(
        TABLE, sink, compression="uncompressed")), ROWS, "train.arrow"),
    reads("arrow stream (datasets)", arrow(stream_of), ROWS, "train.arrow"),
    reads("a name that zip files begin with", CSV.replace(b"text", b"PK,text").replace(
        b'\n"', b'\n1,"'), ROWS),
    reads("a name that bzip2 files begin with", CSV.replace(b"text", b"BZh2,text").replace(
        b'\n"', b'\n1,"'), ROWS),
    reads("csv in capitals", CSV, ROWS, "TRAIN.CSV"),
    reads("a dot in the name", CSV, ROWS, "v1.2 final (1).csv"),
    reads("odd letters in the name", CSV, ROWS, "größe [1] 日本 'x' {a}=b,c#?.csv"),
    refused("csv named .parquet", CSV, r"parquet", "train.parquet"),
    reads("no ending", CSV, ROWS, "train"),
    reads("another ending", CSV, ROWS, "train.data"),
    refused("a pickle", b"\x80\x04\x95\x00", r"pickle", "train.pkl"),
    reads("csv named .jsonl", CSV, ROWS, "train.jsonl", note=r"ends in .jsonl, its content is csv"),
    reads("jsonl named .csv", JSONL, ROWS),
    refused("tar", tarred(CSV), r"tar", "train.tar.gz"),
    refused("tar named .csv.gz", tarred(CSV), r".", "train.csv.gz"),
    refused("7z", b"7z\xbc\xaf\x27\x1c" + b"\0" * 99, r".", "train.csv"),
    refused("rar", b"Rar!\x1a\x07\x01\x00" + b"\xff" * 99, r".", "train.csv"),
    refused("zlib", zlib.compress(CSV), r".", "train.csv"),
    refused("old Excel named .csv",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(range(256)) * 9, r"."),
    refused("old Excel", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(range(256)) * 9,
            r"xls", "train.xls"),
    refused("pdf named .csv", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n", r"."),
    refused("an image named .csv", b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9, r"."),
    refused("a program named .csv", b"\x7fELF\x02\x01\x01" + b"\0" * 999, r"."),
    refused("zeros (a broken disk)", b"\0" * 5_000, r"."),
    refused("a web page named .csv",
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset='utf-8'>, a, b</head>\n"
            "<body>Sign in, please</body>\n</html>\n", r"."),
    refused("a pointer of Git LFS",
            "version https://git-lfs.github.com/spec/v1\noid sha256:0123456789\nsize 12345\n",
            r"."),
    refused("SQL named .csv", "CREATE TABLE a (text text, label int);\nINSERT INTO a VALUES "
            "('x', 1), ('y', 0);\n", r"."),
]  # fmt: skip

COLUMNS = [
    *(
        reads(f"texts as {kind}", parquet(TABLE.set_column(0, "text", TABLE["text"].cast(kind))),
              ROWS, "train.parquet")
        for kind in (pa.large_string(), pa.dictionary(pa.int8(), pa.string()), pa.string_view())
    ),
    reads("texts as bytes (Spark)", parquet(TABLE.set_column(
        0, "text", TABLE["text"].cast(pa.binary()))), ROWS, "train.parquet"),
    *(
        reads(f"labels as {kind}", parquet(pa.table(
            {"text": ["a", "b", "c"], "label": pa.array([1, 0, 1]).cast(kind)})),
            [("a", one), ("b", zero), ("c", one)], "train.parquet")
        for kind, one, zero in [(pa.int8(), "1", "0"), (pa.uint64(), "1", "0"),
                                (pa.bool_(), "true", "false"), (pa.float64(), "1", "0")]
    ),
    reads("labels as categories (pandas)", parquet(TABLE.set_column(
        1, "label", TABLE["label"].dictionary_encode())), ROWS, "train.parquet"),
    reads("index of pandas", parquet(TABLE.append_column(
        "__index_level_0__", pa.array(range(len(ROWS))))), ROWS, "train.parquet"),
    reads("lists, objects and times beside", parquet(TABLE
          .append_column("spans", pa.array([[1]] * len(ROWS)))
          .append_column("meta", pa.array([{"a": 1}] * len(ROWS)))
          .append_column("at", pa.array([0] * len(ROWS), pa.timestamp("ns", "UTC")))),
          ROWS, "train.parquet"),
    reads("no text in a row", parquet(pa.table({"text": [None, "b"], "label": ["x", "y"]})),
          [("", "x"), ("b", "y")], "train.parquet", note=r"\b1\b.*no text"),
    refused("a label that is no UTF-8", parquet(pa.table({
        "text": ["a", "b", "c"], "label": pa.array([b"x", b"y", b"\xff"]).view(pa.string())})),
        r"row 3\b.*UTF-8", "train.parquet"),
    refused("no label in a row", parquet(pa.table({"text": ["a", "b"], "label": ["x", None]})),
            r"row 2\b.*label", "train.parquet"),
    reads("lists as labels", parquet(pa.table({"text": ["a", "b"], "label": [["x"], ["y"]]})),
          [("a", "x"), ("b", "y")], "train.parquet"),
    refused("lists as texts", parquet(pa.table({"text": [["a"], ["b"]], "label": ["x", "y"]})),
            r"text", "train.parquet"),
    refused("no rows", parquet(TABLE.slice(0, 0)), r"no rows|is empty", "train.parquet"),
    refused("no columns", parquet(pa.table({})), r"column|no rows|is empty", "train.parquet"),
    refused("cut short", parquet()[:-20], r"parquet", "train.parquet"),
    refused("damaged", parquet()[:60] + b"\xff" * 60 + parquet()[120:], r".", "train.parquet"),
    refused("nothing", b"", r"is empty", "train.parquet"),
]  # fmt: skip


@pytest.mark.parametrize("case", PACKED)
def test_compression(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", NAMES)
def test_the_content_counts(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", COLUMNS)
def test_kinds_of_columns(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
