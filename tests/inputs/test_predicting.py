"""Reading for prediction: the column of the model's texts, or a refusal that names the columns."""

from __future__ import annotations

import errno
import gzip
import io
import json
import mmap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.command import main
from tests.inputs.cases import MANY, ROWS, check_message, csv_text, jsonl_text, plain_text
from textcls.config import Reading
from textcls.corpus.paths import find_files
from textcls.corpus.reading import Piece, read_labelled, read_lines, read_pieces, read_texts
from textcls.errors import InputError

STATM = Path("/proc/self/statm")
USUAL = Reading(text=("text",), label=("label",))
TEXTS = [text for text, _ in ROWS]


def texts(path: Path, reading: Reading | None = None, usual: Reading = USUAL) -> list[str]:
    pieces = read_texts(path, reading or Reading(), usual)
    return [text or "" for piece in pieces for text in piece.to_pylist()]


def mapped_bytes() -> int:
    """Return what this process has of files in memory."""
    return int(STATM.read_text().split()[2]) * mmap.PAGESIZE


def refused(path: Path, usual: Reading = USUAL, **reading: Any) -> str:
    with pytest.raises(InputError) as caught:
        texts(path, Reading(**reading), usual)
    check_message(str(caught.value), path.name)
    return str(caught.value)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "id,label\n1,x\n2,y\n"),
        ("a.csv", "id;label\n1;x\n2;y\n"),
        ("a.csv", "id,label,score\n1,x,0.5\n"),
        ("a.csv", "id,author,stars\n1,x,0.5\n"),
        ("a.tsv", "id\tlabel\n1\tx\n"),
        ("a.jsonl", '{"id": 1, "label": "x"}\n{"id": 2, "label": "y"}\n'),
        ("a.json", '[{"id": 1, "label": "x"}]'),
    ],
)
def test_a_file_without_the_texts_is_refused(name: str, content: str, tmp_path: Path) -> None:
    message = refused(write(tmp_path / name, content))
    assert "id" in message
    assert "text" in message


def test_several_folders_to_judge_by_are_refused(tmp_path: Path) -> None:
    for name in ("a/pos/1.txt", "b/neg/1.txt"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("what a film")
    with pytest.raises(InputError, match=r"names several folders, .*a first"):
        read_labelled(str(tmp_path / "?"), Reading(), USUAL, ("neg", "pos"), several=False)


@pytest.mark.parametrize("encoding", ["rot13", "hex", "no-such"])
def test_an_encoding_of_lines_that_is_none_of_text_is_refused(encoding: str) -> None:
    with pytest.raises(InputError, match="there is no such encoding"):
        list(read_lines(io.BytesIO(b"what a film\n"), encoding))


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "U8"])
def test_a_mark_before_the_first_line_is_no_text(encoding: str) -> None:
    (lines,) = read_lines(io.BytesIO(b"\xef\xbb\xbfwhat a film\n"), encoding)
    assert lines.to_pylist() == ["what a film"]


def test_parquet_without_the_texts_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1], "label": ["x"]}), tmp_path / "a.parquet")
    assert "id" in refused(tmp_path / "a.parquet")


def test_one_column_by_another_name_is_not_taken_in_silence(tmp_path: Path) -> None:
    # Ids alone are no texts, and a column that is called a label is none either.
    for header in ("id", "label", "score"):
        refused(write(tmp_path / "a.csv", f"{header}\n1\n2\n"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (csv_text(ROWS), TEXTS),
        (csv_text(ROWS, "text;label", ";"), TEXTS),
        (csv_text(ROWS, " Text , label"), TEXTS),
        ("text\na\n\nb\n", ["a", "", "b"]),
        ("text\n\n", [""]),
        ("label,text\n,a\n,b\n", ["a", "b"]),
        ('text\n"a\nb"\n', ["a\nb"]),
        ("\ufefftext\na\n", ["a"]),
        ("text,other,label\na,1,x\n", ["a"]),
        ("id,text\n1,a\n2,\n", ["a", ""]),
    ],
)
def test_rows_are_texts_labels_or_not(content: str, expected: list[str], tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.csv", content)) == expected


def test_a_column_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,body\n1,a\n2,b\n")
    assert texts(path, Reading(text=("body",))) == ["a", "b"]
    assert "bodi" in refused(path, text=("bodi",))


def test_a_file_without_header_for_a_model_of_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", plain_text(MANY, None))
    usual = Reading(text=("column_1",), label=("column_2",))
    assert texts(path, usual=usual) == [text for text, _ in MANY]


def test_bytes_that_are_no_letters_become_replacement_characters(tmp_path: Path) -> None:
    for name, content in {
        "a.csv": b"text,label\ncaf\xe9,x\nok,y\n",
        "a.jsonl": b'{"text":"caf\xe9"}\n{"text":"ok"}\n',
        "a.txt": b"caf\xe9\nok\n",
        "a.csv.gz": gzip.compress(b"text\ncaf\xe9\nok\n"),
    }.items():
        assert texts(write(tmp_path / name, content)) == ["caf\ufffd", "ok"]


def test_what_comes_before_a_fault_is_given(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "text,label\n" + "fine,x\n" * 50_000 + "well, no,y\n")
    found: list[str] = []
    with pytest.raises(InputError, match=r"line 50,?002\b") as caught:
        found.extend(t for texts in read_texts(path, Reading(), USUAL) for t in texts.to_pylist())
    check_message(str(caught.value), "a.csv")
    assert len(found) > 20_000


@pytest.mark.parametrize("keep", [None, ("id", "score"), ("score",), ()])
def test_other_columns_are_kept(keep: tuple[str, ...] | None, tmp_path: Path) -> None:
    rows = [(i, f"t{i}", i / 4) for i in range(20_000)]
    content = "id,text,score\n" + "".join(f"{i},{t},{s}\n" for i, t, s in rows)
    pieces = list(read_pieces(write(tmp_path / "a.csv", content), Reading(), USUAL, keep))
    assert all(isinstance(piece, Piece) for piece in pieces)
    assert all(len(piece.texts) == piece.kept.num_rows for piece in pieces if keep != ())
    assert [text for piece in pieces for text in piece.texts.to_pylist()] == [t for _, t, _ in rows]
    for name, place in (("id", 0), ("score", 2)):
        if keep is None or name in keep:
            kept = [v for piece in pieces for v in piece.kept[name].to_pylist()]
            assert [str(value) for value in kept] == [str(row[place]) for row in rows]
        else:
            assert all(name not in piece.kept.column_names for piece in pieces)


def test_a_column_to_keep_that_is_not_there(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "id,text\n1,a\n")
    with pytest.raises(InputError, match=r"idd") as caught:
        list(read_pieces(path, Reading(), USUAL, ("idd",)))
    check_message(str(caught.value), "a.csv")


def test_jsonl_keeps_lists_and_objects(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"text":"a","id":7,"tags":["x"],"meta":{"k":1}}\n')
    (piece,) = read_pieces(path, Reading(), USUAL, None)
    (row,) = piece.kept.to_pylist()
    values = {key: json.loads(v) if isinstance(v, str) else v for key, v in row.items()}
    assert values == {"id": 7, "tags": ["x"], "meta": {"k": 1}}


def test_patterns_name_their_option(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "x[1].csv", "d/e/f.csv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / name, "text\na\n")
    assert [p.name for p in find_files(f"{tmp_path}/?.csv", "INPUT")] == ["a.csv", "b.csv"]
    assert [p.name for p in find_files(f"{tmp_path}/x[1].csv", "INPUT")] == ["x[1].csv"]
    assert [p.name for p in find_files(f"{tmp_path}/**/f.csv", "INPUT")] == ["f.csv"]
    with pytest.raises(InputError, match=r"INPUT.*no\*"):
        find_files(f"{tmp_path}/no*", "INPUT")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a", ["a"]),
        (b"a\n", ["a"]),
        (b"a\n\nb\n", ["a", "", "b"]),
        (b"a\r\nb\r\n", ["a", "b"]),
        (b"a\rb\r", ["a", "b"]),
        (b"a\r\r", ["a", ""]),
        (b"\r", [""]),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        ("a\u2028b\x85c\n".encode(), ["a\u2028b\x85c"]),
        (b"a\0b\n", ["a\0b"]),
        (b"caf\xe9\n", ["caf\ufffd"]),
    ],
)
def test_lines_of_a_stream(content: bytes, expected: list[str]) -> None:
    stream = io.BufferedReader(io.BytesIO(content))
    assert [t for piece in read_lines(stream, "utf-8") for t in piece.to_pylist()] == expected


def test_lines_of_jsonl_out_of_order_for_a_model_of_csv(tmp_path: Path) -> None:
    assert texts(write(tmp_path / "a.jsonl", jsonl_text())) == TEXTS


@pytest.mark.parametrize(
    "error", [pa.ArrowMemoryError("malloc of size 64 failed"), OSError(errno.ENOMEM, "Cannot")]
)
def test_memory_that_runs_out_is_no_fault_of_the_file(
    error: Exception,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    trained: Path,
) -> None:
    def run_out(*_: Any, **__: Any) -> None:
        raise error

    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "a.parquet")
    monkeypatch.setattr(pq, "ParquetFile", run_out)
    assert main("predict", trained, tmp_path / "a.parquet") == 1
    assert capfd.readouterr().err.startswith("error: out of memory (")


def test_parquet_is_read_in_constant_memory(tmp_path: Path) -> None:
    if not STATM.exists():
        pytest.skip("this system does not say what is mapped")
    written = [f"{i} {'x' * 4_000}" for i in range(10_000)]  # 40 MB in one row group
    table = pa.table({"text": written, "id": range(10_000)})
    pq.write_table(table, tmp_path / "a.parquet", compression="none", use_dictionary=False)
    del table
    begun, found, held = pa.total_allocated_bytes(), 0, []
    mapped = mapped_bytes()
    for piece in read_pieces(tmp_path / "a.parquet", Reading(), USUAL, ("id",)):
        ids = piece.kept["id"].to_pylist()
        assert ids == list(range(found, found := found + len(ids)))
        assert piece.texts.to_pylist() == written[ids[0] : found]
        assert piece.texts.nbytes < 5_000_000  # what is made of it is bounded as well
        held.append(pa.total_allocated_bytes() - begun + mapped_bytes() - mapped)
    assert found == 10_000
    assert max(held) < 20_000_000
