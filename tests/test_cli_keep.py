"""``textcls predict``: several files, columns that are kept, formats that are written."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.command import complaint, main, textcls
from textcls import Classifier

# Of id and text; each must come back as it is.
ROWS = [
    ("1", "superb"), ("007", 'dull, "so" dull'), ("a\tb", "warm\nand great"), ("", ""),
    ('"q"', "awful"), ("größe 日本", "cold"), (" x ", "lovely"), ("1e5", "weak"),
]  # fmt: skip


@pytest.fixture
def rows_csv(tmp_path: Path) -> Path:
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "text"), *ROWS])
    return tmp_path / "rows.csv"


def rows_of(text: str, delimiter: str = ",") -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))


def unpacked(path: Path) -> str:
    kind = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd"}.get(path.suffix)
    with pa.input_stream(str(path), compression=kind) as stream:
        return bytes(stream.read()).decode()


def test_a_pattern_stands_for_its_files(
    trained: Path, classifier: Classifier, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new" / "deep").mkdir(parents=True)
    texts = {
        "new/b.csv": "dull",
        "new/a.csv": "superb",
        "new/deep/c.csv": "warm",
        "x (1).csv": "cold",
    }
    for name, text in texts.items():
        Path(name).write_text(f"id,text\n{name},{text}\n")
    for patterns, names in (
        (["new/*.csv"], ["new/a.csv", "new/b.csv"]),
        (["x (1).csv", "new/**/*.csv"], ["x (1).csv", "new/a.csv", "new/b.csv", "new/deep/c.csv"]),
        (["new/[b-z].csv", "new/a.csv"], ["new/b.csv", "new/a.csv"]),
    ):
        found = rows_of(textcls(capfd, "predict", trained, *patterns, "--keep", "id"))
        assert [row["id"] for row in found] == names
        assert [row["label"] for row in found] == classifier.predict([texts[n] for n in names])
    assert "error: 'new/*.tsv': there is no such file" in complaint(
        capfd, "predict", trained, "new/*.tsv"
    )


@pytest.mark.parametrize(
    "name",
    ["o.csv", "o.tsv", "o.TSV", "o.csv.gz", "o.tsv.bz2", "o.jsonl.zst", "o.jsonl", "o.parquet"],
)
def test_what_is_kept_comes_back_in_every_format(
    name: str, rows_csv: Path, trained: Path, classifier: Classifier, tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / name
    textcls(capfd, "predict", trained, rows_csv, "--keep", "id,text", "--out", out)
    if name.endswith("parquet"):
        found: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    elif "jsonl" in name:
        found = [json.loads(line) for line in unpacked(out).split("\n")[:-1]]
    else:
        found = rows_of(unpacked(out), "\t" if ".tsv" in name.lower() else ",")
    assert list(found[0]) == ["id", "text", "label", "probability"]
    assert [(row["id"] or "", row["text"] or "") for row in found] == ROWS
    assert [row["label"] for row in found] == classifier.predict([text for _, text in ROWS])


def test_what_is_written_is_read_again(
    rows_csv: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    once = textcls(capfd, "predict", trained, rows_csv, "--keep", "id,text")
    for name in ("o.tsv.gz", "o.csv", "o.jsonl", "o.parquet"):
        out = tmp_path / name
        textcls(capfd, "predict", trained, rows_csv, "--keep", "id,text", "--out", out)
        again = textcls(capfd, "predict", trained, out, "--keep", "id,text")
        assert again == once


def test_the_format_may_be_said(
    rows_csv: Path, trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    printed = textcls(capfd, "predict", trained, rows_csv, "--format", "tsv")
    assert printed.startswith("label\tprobability\n")
    textcls(capfd, "predict", trained, rows_csv, "--format", "csv", "--out", tmp_path / "o.gz")
    assert gzip.decompress((tmp_path / "o.gz").read_bytes()).startswith(b"label,probability\n")
    line = complaint(capfd, "predict", trained, rows_csv, "--out", tmp_path / "o.parquet.gz")
    assert "o.parquet.gz: a Parquet file is packed already: name it .parquet" in line


def test_columns_of_our_names_are_kept_under_others(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("text,label,input_label,probability\nsuperb,x,y,z\n")
    assert main("predict", trained, tmp_path / "a.csv", "--keep", "all") == 0
    out, err = capfd.readouterr()
    (row,) = rows_of(out)
    assert row.pop("label") == "good"
    float(row.pop("probability"))
    assert row == {"input_input_label": "x", "input_label": "y", "input_probability": "z"}
    assert err.splitlines() == [
        "note: the input's column label is written as input_input_label: label is what the model "
        "says",
        "note: the input's column probability is written as input_probability: probability is what "
        "the model says",
    ]


JSON_ROWS: list[dict[str, Any]] = [
    {"id": 7, "text": "superb", "on": True, "meta": {"a": [1, "ü"]}, "x": None, "y": 0.1},
    {"id": "7", "text": None, "on": None, "meta": [], "x": '"', "y": 2},
]


def test_json_keeps_its_types(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in JSON_ROWS), encoding="utf-8")
    options = ["--keep", "all", "--format", "jsonl"]
    found = [json.loads(x) for x in textcls(capfd, "predict", trained, path, *options).splitlines()]
    kept = ("id", "on", "meta", "x", "y")
    assert [{k: row[k] for k in kept} for row in found] == [
        {k: row[k] for k in kept} for row in JSON_ROWS
    ]
    textcls(capfd, "predict", trained, path, "--keep", "all", "--out", tmp_path / "o.parquet")
    for rows in (
        rows_of(textcls(capfd, "predict", trained, path, "--keep", "all")),
        parquet.read_table(tmp_path / "o.parquet").to_pylist(),
    ):
        assert [[row[k] or "" for k in kept] for row in rows] == [
            ["7", "true", '{"a": [1, "ü"]}', "", "0.1"],
            ["7", "", "[]", '"', "2"],
        ]


def test_parquet_keeps_its_types(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    day = datetime.datetime(2024, 2, 29, 12, 30)
    table = pa.table({
        "id": [1, None], "text": ["superb", "dull"], "day": [day, None], "f": [1.0, float("nan")],
        "tags": [["a"], None], "none": pa.nulls(2),
        "kind": pa.array(["k", "l"]).dictionary_encode(),
    })  # fmt: skip
    parquet.write_table(table, tmp_path / "a.parquet")
    keep = ["--keep", "all"]
    textcls(
        capfd, "predict", trained, tmp_path / "a.parquet", *keep, "--out", tmp_path / "o.parquet"
    )
    found = parquet.read_table(tmp_path / "o.parquet")
    for name in ("id", "day", "tags", "kind"):
        assert found.column(name).to_pylist() == table.column(name).to_pylist()
    assert found.schema.field("id").type == pa.int64()
    (first, second) = rows_of(textcls(capfd, "predict", trained, tmp_path / "a.parquet", *keep))
    assert (first["id"], first["day"], first["f"]) == ("1", "2024-02-29 12:30:00", "1.0")
    assert (first["tags"], first["none"], first["kind"]) == ('["a"]', "", "k")
    assert (second["id"], second["day"], second["tags"]) == ("", "", "")
    printed = textcls(capfd, "predict", trained, tmp_path / "a.parquet", *keep, "--format", "jsonl")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in printed.splitlines()]
    assert rows[0]["tags"] == ["a"]
    assert (rows[0]["id"], rows[1]["id"], rows[1]["f"]) == (1, None, None)


def test_without_rows_there_are_columns(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text("id,text\n")
    printed = textcls(capfd, "predict", trained, tmp_path / "a.csv", "--keep", "all")
    assert printed == "id,label,probability\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.csv", "--keep", "idd"], "--keep idd: there is no such column; a.csv has the columns"),
        (["lines.txt", "--keep", "id"], "lines.txt: is a file of lines: it has no columns to keep"),
        (["--keep", "id"], "--keep id: lines on standard input have no columns"),
        (
            ["a.csv", "b.csv", "--keep", "all"],
            "b.csv: keeps the columns no, the file before it id: ",
        ),
        (["a.parquet", "a.csv", "--keep", "id"], "a.csv: column 'id' holds string, .* int64"),
        (["other.csv"], "other.csv has the columns id, label: "),
        (["semi.csv"], r"semi.csv has the columns id, label, more: "),
    ],
)
def test_what_cannot_be_kept_or_labelled_is_refused(
    arguments: list[str], message: str, trained: Path, tmp_path: Path,
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("id,text\nx,fine\n")
    Path("b.csv").write_text("no,text\n1,fine\n")
    Path("lines.txt").write_text("fine\n")
    Path("other.csv").write_text("id,label\n1,good\n2,bad\n")
    Path("semi.csv").write_text("id;label;more\n1;good;3\n2;bad;4\n")
    parquet.write_table(pa.table({"id": [1], "text": ["fine"]}), "a.parquet")
    line = complaint(capfd, "predict", trained, *arguments, "--out", "o.parquet")
    assert re.search(message, line), line
    assert len(line) < 300
    assert not Path("o.parquet").exists()


def test_a_mend_works_as_it_is_printed(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "my file.csv"
    path.write_text('"my, id",text\n1,superb\n')
    line = complaint(capfd, "predict", trained, path, "--keep", "my id")
    mend = line.partition("did you mean ")[2].removesuffix("?")
    printed = textcls(capfd, "predict", trained, path, *shlex.split(mend))
    assert printed.startswith('"my, id",label,probability\n1,good,')
