"""Files as other programs write them."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.inputs.cases import data_config
from textcls.config import Reading
from textcls.corpus.corpus import Corpus, Source
from textcls.corpus.reading import read_pieces, read_texts
from textcls.errors import InputError

TEXTS = [f"text {i}, of class {'ab'[i % 2]}" for i in range(20)]
LABELS = ["ab"[i % 2] for i in range(20)]
ROWS = list(zip(TEXTS, LABELS, strict=True))


def corpus_of(path: Path, **options: object) -> Corpus:
    config = data_config(train=str(path), test=str(path), validation=str(path), **options)
    return Source(config).read()


def check(path: Path) -> Corpus:
    corpus = corpus_of(path)
    assert corpus.test.texts.to_pylist() == TEXTS
    assert [corpus.label_names[i] for i in corpus.test.labels.ids] == LABELS
    return corpus


def test_labels_in_lists_of_one_as_doccano_writes_them(tmp_path: Path) -> None:
    path = tmp_path / "all.jsonl"
    rows = [{"id": i, "text": t, "label": [y]} for i, (t, y) in enumerate(ROWS)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    check(path)
    path.write_text(json.dumps(rows[0] | {"label": [{"a": "b"}]}) + "\n")
    with pytest.raises(InputError, match=r"line 1: column 'label' holds an object"):
        corpus_of(path)


def test_columns_of_lists_are_not_proposed(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    rows = [{"id": i, "annotations": [{"x": i}, {}], "data": {"text": t}, "cancelled": 0}
            for i, t in enumerate(TEXTS)]  # fmt: skip
    path.write_text(json.dumps(rows))
    with pytest.raises(InputError, match=r"say data.text=COLUMN data.label=COLUMN"):
        corpus_of(path)


def test_pandas_columns_on_one_long_line(tmp_path: Path) -> None:
    texts = [f"{i} {'word ' * 40}".strip() for i in range(3_000)]
    columns = {"text": dict(enumerate(texts)), "label": {i: "ab"[i % 2] for i in range(3_000)}}
    path = tmp_path / "frame.json"
    path.write_text(json.dumps(columns))
    assert path.stat().st_size > 500_000
    assert corpus_of(path).test.texts.to_pylist() == texts


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_delimited_rows_in_a_file_named_txt(delimiter: str, encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "all.txt"
    rows = [("text", "label"), *ROWS]
    text = "".join(f'"{t}"{delimiter}{y}\n' for t, y in rows)
    path.write_bytes(text.encode(encoding))
    check(path)


def test_tables_of_r(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    rows = "".join(f'"{i}" "{t}" "{y}"\n' for i, (t, y) in enumerate(ROWS, 1))
    path.write_text(f'"text" "label"\n{rows}')
    with pytest.raises(InputError, match=r"say data.delimiter=' '"):
        corpus_of(path)
    assert corpus_of(path, delimiter=" ").test.texts.to_pylist() == TEXTS


def test_cells_beyond_the_last_column_of_a_sheet_are_not_lost_in_silence(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [
        ("text", "label"),
        *ROWS * 20,
        ("more", "a", "lost"),
    ]:
        book.active.append(row)
    stream = io.BytesIO()
    book.save(stream)
    (tmp_path / "sheet.xlsx").write_bytes(stream.getvalue())
    with pytest.raises(InputError, match=r"row 402 of the sheet has cells beyond the last column"):
        corpus_of(tmp_path / "sheet.xlsx")


def test_a_folder_of_text_files_to_label(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / f"{i}.txt").write_text(f"first line\nof file {i}\n")
    (piece,) = read_pieces(tmp_path, Reading(), Reading(), keep=("file",))
    assert piece.texts.to_pylist() == [f"first line\nof file {i}\n" for i in range(3)]
    assert piece.kept.column("file").to_pylist() == ["0.txt", "1.txt", "2.txt"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="without text files"):
        next(read_texts(tmp_path / "empty", Reading(), Reading()))


def test_several_columns_named_as_one(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("title,body,label\na,b,x\nc,d,y\n")
    with pytest.raises(InputError, match=r"write several as 'data.text=\[title,body\]'"):
        corpus_of(path, text=("title,body",))
