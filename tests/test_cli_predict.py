"""``textcls predict``: what is read, and what is written for it."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.command import ODD, as_texts, main, textcls
from tests.conftest import WORDS, make_config
from textcls import Classifier
from textcls import run as running
from textcls.config import Reading
from textcls.corpus.reading import read_lines, read_texts
from textcls.model.folder import save_model


def write_odd(folder: Path, kind: str) -> Path:
    """Write the odd rows as a file of a kind; a line cannot hold a line break, all else can."""
    path = folder / f"odd.{kind}"
    if kind == "csv":
        quoted = [b'"' + row.replace(b'"', b'""') + b'",x\n' for row in ODD]
        path.write_bytes(b"text,label\n" + b"".join(quoted))
    elif kind == "jsonl":
        escaped = [row.replace(b'"', b'\\"').replace(b"\x00", b"\\u0000") for row in ODD]
        path.write_bytes(b"".join(b'{"text": "' + row + b'"}\n' for row in escaped))
    elif kind == "parquet":
        rows = pa.array(ODD, pa.binary())
        texts = pa.StringArray.from_buffers(len(rows), *rows.buffers()[1:])
        parquet.write_table(pa.table({"text": texts, "label": ["x"] * len(ODD)}), path)
    elif kind == "txt":
        path.write_bytes(b"".join(row + b"\n" for row in ODD))
    else:
        path.write_bytes(gzip.compress(b"".join(row + b"\r\n" for row in ODD)))
    return path


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "txt", "txt.gz"])
def test_a_row_out_for_each_row_in_whatever_it_holds(
    kind: str, trained: Path, classifier: Classifier, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    printed = textcls(capfd, "predict", trained, write_odd(tmp_path, kind), "--probabilities")
    rows = list(csv.DictReader(io.StringIO(printed)))
    expected = classifier.predict_proba(as_texts(ODD))
    assert [row["label"] for row in rows] == classifier.predict(as_texts(ODD))
    for i, name in enumerate(classifier.label_names):
        found = [float(row[f"p({name})"]) for row in rows]
        np.testing.assert_allclose(found, expected[:, i], atol=1e-6)
    np.testing.assert_allclose([float(r["probability"]) for r in rows], expected.max(1), atol=1e-6)


def test_csv_jsonl_and_parquet_say_the_same(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file, texts = write_odd(tmp_path, "txt"), as_texts(ODD)
    options = ["--top", 5, "--threshold", 0.4, "--probabilities"]
    for kind in ("csv", "jsonl", "parquet"):
        textcls(capfd, "predict", trained, file, *options, "--out", tmp_path / f"out.{kind}")
    table = parquet.read_table(tmp_path / "out.parquet")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    of_json = [json.loads(line) for line in lines]
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as opened:
        of_csv = list(csv.DictReader(opened))
    assert table.column_names == [
        "label", "probability", "label_2", "probability_2", "p(bad)", "p(good)"
    ]  # fmt: skip
    best = classifier.predict_top(texts, k=5, threshold=0.4)
    assert any(len(row) == 1 for row in best)  # the threshold leaves something out
    for row, as_json, as_csv, expected in zip(
        table.to_pylist(), of_json, of_csv, best, strict=True
    ):
        assert as_json == pytest.approx(row, abs=1e-6)
        assert {key: value or None for key, value in as_csv.items()} == {
            key: None if value is None else str(value) for key, value in as_json.items()
        }
        found = [(row[f"label{n}"], row[f"probability{n}"]) for n in ("", "_2")]
        assert [pair for pair in found if pair[0] is not None] == expected
        assert all((label is None) == (p is None) for label, p in found)


def test_several_files_follow_one_another(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_text("superb\n\ndull")  # the last line has no end
    (tmp_path / "b.csv").write_text("id,body\n1,warm\n2,\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "a.txt", tmp_path / "b.csv",
                      "--text-column", "body", "--format", "jsonl")  # fmt: skip
    found = [json.loads(line)["label"] for line in printed.splitlines()]
    assert found == classifier.predict(["superb", "", "dull", "warm", ""])


def test_text_columns_are_joined(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "two.csv").write_text("title;body\ndull;great\nwarm;\n")
    options = ["--text-column", "title", "--text-column", "body", "--delimiter", ";"]
    printed = textcls(capfd, "predict", trained, tmp_path / "two.csv", *options)
    found = [row["probability"] for row in csv.DictReader(io.StringIO(printed))]
    expected = classifier.predict_proba(["dull great", "warm"]).max(1)
    np.testing.assert_allclose([float(p) for p in found], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["empty.txt", "empty.csv"])
def test_no_rows_are_no_rows(
    name: str, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_text("text\n" if name.endswith("csv") else "")
    assert textcls(capfd, "predict", trained, tmp_path / name) == "label,probability\n"


# --- columns and encodings --------------------------------------------------------------------


@pytest.fixture(scope="module")
def latin(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    """A run on a file that needs to be told about, and that file."""
    folder = tmp_path_factory.mktemp("latin")
    rows = "".join(
        f"{label};sch\u00f6n {word}\n"
        for _ in range(15)
        for label, words in WORDS.items()
        for word in words
    )
    (folder / "train.csv").write_text(f"sentence;facts\n{rows}", encoding="latin-1")
    options = [f"data.train={folder / 'train.csv'}", "data.label=sentence", "data.delimiter=';'"]
    config = make_config("data=local", *options, "data.encoding=latin-1", f"cache_dir={cache_dir}",
                         "trainer.epochs=3")  # fmt: skip
    running.start(config, folder / "run")
    return folder


def test_run_model_and_compressed_model_read_a_file_as_the_training_did(
    latin: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    new = tmp_path / "new.csv"
    new.write_text("sentence;facts\nbad;sch\u00f6n lovely\nbad;broken\n", encoding="latin-1")
    textcls(capfd, "compress", latin / "run", "--out", tmp_path / "small", "--max-loss", 0)
    found = [
        textcls(capfd, "predict", model, new)
        for model in (latin / "run", latin / "run" / "model", tmp_path / "small")
    ]
    for printed in found:
        rows = list(csv.DictReader(io.StringIO(printed)))
        assert [row["label"] for row in rows] == ["good", "bad"]
    assert found[0] == found[1]
    for model in (latin / "run" / "model", tmp_path / "small"):
        assert "accuracy 0.5000" in textcls(capfd, "evaluate", model, new)
    # What training had is looked for, not asked for: another file may have other columns.
    (tmp_path / "other.csv").write_text("id;text\n1;lovely\n")
    assert "good" in textcls(capfd, "predict", latin / "run", tmp_path / "other.csv")


def test_bytes_that_are_no_text_are_told(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_bytes("sch\u00f6n great\ngreat\n".encode("latin-1"))
    assert main("predict", trained, tmp_path / "a.txt") == 0
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 3
    assert err.startswith("note: 1 texts hold U+FFFD")
    assert "--encoding" in err


def test_a_csv_without_a_header(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("superb,1\ndull,2\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "a.csv", "--columns", "text,id")
    assert [line.split(",")[0] for line in printed.splitlines()] == ["label", "good", "bad"]
    # Where the first line is the very names, it is the header.
    (tmp_path / "b.csv").write_text("text,id\nsuperb,1\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "b.csv", "--columns", "text,id")
    assert len(printed.splitlines()) == 2


# --- lines and pieces -------------------------------------------------------------------------


class Pieces:
    """A stream that gives what it has, as a pipe does."""

    def __init__(self, *pieces: bytes) -> None:
        self.left = list(pieces)

    def read(self, size: int) -> bytes:
        return self.left.pop(0) if self.left else b""


def test_lines_are_handed_on_as_they_come() -> None:
    stream = Pieces("\ufeffone\ntw".encode(), b"o\r\n\nthr", b"ee", b" and \xe2\x82", b"\xac\n")
    lines = read_lines(stream)
    assert next(lines).to_pylist() == ["one"]
    assert len(stream.left) == 4  # nothing was read ahead
    assert next(lines).to_pylist() == ["two", ""]
    assert [line for piece in lines for line in piece.to_pylist()] == ["three and €"]


def test_labels_in_fasttexts_format_are_no_text() -> None:
    raw = b"__label__a __label__b x y\n __label__c\nx __label__d\n__label__\n"
    found = [line for piece in read_lines(io.BytesIO(raw)) for line in piece.to_pylist()]
    assert found == ["x y", "", "x __label__d", "__label__"]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_files_are_read_piece_by_piece(kind: str, tmp_path: Path) -> None:
    texts = [f"row {i}" for i in range(20_000)]
    path = tmp_path / f"many.{kind}"
    if kind == "csv":
        path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    elif kind == "jsonl":
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    else:
        parquet.write_table(pa.table({"text": texts}), path)
    pieces = list(read_texts(path, Reading(), Reading()))
    assert max(map(len, pieces)) <= 8_192
    assert [text for piece in pieces for text in piece.to_pylist()] == texts


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings(
    encoding: str, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.txt").write_bytes("na\u00efve great\nwarm".encode(encoding))
    printed = textcls(capfd, "predict", trained, tmp_path / "a.txt", "--encoding", encoding)
    assert [row["label"] for row in csv.DictReader(io.StringIO(printed))] == ["good", "good"]


def test_labels_move_no_cursor_on_a_terminal(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    names = tuple(f"\x1b[2J{name}\u202e" for name in classifier.label_names)
    save_model(dataclasses.replace(classifier.parts, label_names=names), tmp_path / "model")
    (tmp_path / "a.txt").write_text("great\ndull\n", encoding="utf-8")
    piped = textcls(capfd, "predict", tmp_path / "model", tmp_path / "a.txt", "--format", "tsv")
    assert "\x1b[2J" in piped  # what a program reads is what was meant
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = textcls(capfd, "predict", tmp_path / "model", tmp_path / "a.txt", "--format", "tsv")
    assert shown == piped.replace("\x1b", "\u241b").replace("\u202e", "\ufffd")
