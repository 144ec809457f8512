"""Spreadsheets, fastText's lines, folders of texts, patterns of several files."""

from __future__ import annotations

import datetime
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.inputs.cases import (
    MANY,
    PLAIN,
    ROWS,
    Case,
    check,
    check_notes,
    csv_text,
    plain_text,
    predicted,
    read,
    reads,
    refusal,
    refused,
    rows_of,
)
from textcls.errors import InputError

LINES = [
    reads("labels and texts", "".join(f"__label__{y} {t}\n" for t, y in ROWS), ROWS, "train.txt"),
    reads("tab after the label", "".join(f"__label__{y}\t{t}\n" for t, y in ROWS), ROWS,
          "train.txt"),
    reads("comma after the label (fastText's tutorial)",
          "".join(f"__label__{y} , {t}\n" for t, y in PLAIN),
          [(f", {t}", y) for t, y in PLAIN], "train.txt"),
    reads("several labels", "__label__a __label__b one\n__label__b two\n",
          [("one", "a"), ("two", "b")], "train.txt", note=r"\b1\b.*several labels",
          task="single"),
    reads("CRLF", "__label__a one\r\n__label__b two\r\n", [("one", "a"), ("two", "b")],
          "train.txt"),
    reads("blank lines", "\n__label__a one\n  \n\n__label__b two\n\n", [("one", "a"), ("two", "b")],
          "train.txt"),
    reads("no text", "__label__a\n__label__b two\n", [("", "a"), ("two", "b")], "train.txt"),
    reads("separators of Unicode inside", "__label__a o\u2028n\x85e\n__label__b t\x0cwo\n",
          [("o\u2028n\x85e", "a"), ("t\x0cwo", "b")], "train.txt"),
    reads("another ending (fastText)", "__label__a one\n__label__b two\n",
          [("one", "a"), ("two", "b")], "cooking.train"),
    reads("NUL", "__label__a o\0ne\n__label__b two\n", [("o\0ne", "a"), ("two", "b")], "train.txt"),
    reads("a text of five megabytes", f"__label__a {'long ' * 1_000_000}\n__label__b two\n",
          [("long " * 1_000_000, "a"), ("two", "b")], "train.txt"),
    refused("the label at the end", "one __label__a\ntwo __label__b\n", r"line 1\b.*__label__",
            "train.txt"),
    refused("no label far down", "__label__a one\n\n__label__b two\n" * 9_000 + "three\n",
            r"line 27,?001\b.*__label__", "train.txt"),
    refused("a label of no letters", "__label__ one\n__label__b two\n", r"line 1\b", "train.txt"),
    refused("a .txt of texts alone", "one\ntwo\n", r"line 1\b.*__label__", "train.txt"),
]  # fmt: skip


def predicts_like_training(case: Case) -> bool:
    """Tell whether a line is the same text for prediction, which does not look for labels."""
    return case.error is not None


@pytest.mark.parametrize("case", LINES)
def test_lines_of_fasttext(case: Case, tmp_path: Path) -> None:
    if predicts_like_training(case):
        check(case, tmp_path)
        return
    path = tmp_path / case.name
    path.write_bytes(case.content)
    corpus = read(path, case.options)
    assert rows_of(corpus) == case.rows
    check_notes(corpus.notes, case.note)


# --- spreadsheets ------------------------------------------------------------------------------


def sheet(*rows: tuple[Any, ...], more: bool = False, blank: int = 0) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in [*[()] * blank, *rows]:
        book.active.append(row)
    if more:
        book.create_sheet("notes").append(("not", "this"))
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


HEADER = ("text", "label")
SHEETS: dict[str, tuple[dict[str, Any], list[tuple[Any, ...]], list[tuple[str, str]]]] = {
    "plain": ({}, [HEADER, *ROWS], ROWS),
    "texts of lines": ({}, [HEADER, ("a\nb", "x"), ('"c", d', "y")], [("a\nb", "x"),
                                                                      ('"c", d', "y")]),
    "whole numbers as labels": ({}, [HEADER, ("a", 1), ("b", 0)], [("a", "1"), ("b", "0")]),
    "numbers as texts": ({}, [HEADER, (12, "x"), ("b", "y")], [("12", "x"), ("b", "y")]),
    "true and false": ({}, [HEADER, ("a", True), ("b", False)], [("a", "true"), ("b", "false")]),
    "dates": ({}, [HEADER, ("a", datetime.date(2024, 1, 31)), ("b", datetime.date(2024, 2, 1))],
              [("a", "2024-01-31"), ("b", "2024-02-01")]),
    "blank first rows": ({"blank": 2}, [HEADER, *ROWS], ROWS),
    "blank rows between": ({}, [HEADER, ROWS[0], (), ROWS[1]], ROWS[:2]),
    "empty texts": ({}, [HEADER, ("", "x"), (None, "y"), ("c", "y")],
                    [("", "x"), ("", "y"), ("c", "y")]),
    "columns without names": ({}, [(None, "text", "label", None), (1, "a", "x", None),
                                   (2, "b", "y", "?")], [("a", "x"), ("b", "y")]),
    "two sheets": ({"more": True}, [HEADER, *ROWS], ROWS),
    "what is no error is a text": ({}, [HEADER, ("NA", "x"), ("null", "y")],
                                   [("NA", "x"), ("null", "y")]),
}  # fmt: skip


@pytest.mark.parametrize("what", SHEETS)
def test_sheets(what: str, tmp_path: Path) -> None:
    options, rows, expected = SHEETS[what]
    path = tmp_path / "train.xlsx"
    path.write_bytes(sheet(*rows, **options))
    corpus = read(path, {})
    if what == "true and false":
        assert [text for text, _ in rows_of(corpus)] == ["a", "b"]
        assert [label.lower() for _, label in rows_of(corpus)] == ["true", "false"]
    else:
        assert [(t, y.removesuffix(" 00:00:00")) for t, y in rows_of(corpus)] == expected
    check_notes(corpus.notes, "sheet" if what == "two sheets" else None)
    assert predicted(path, {}, corpus) == [text for text, _ in expected]


def test_a_sheet_named_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(sheet(HEADER, *ROWS))
    assert rows_of(read(tmp_path / "train.csv", {})) == ROWS


def test_sheets_that_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.xlsx"
    for content in (sheet(), sheet(HEADER), b"", b"PK\x03\x04nothing", sheet(HEADER, *ROWS)[:-99]):
        path.write_bytes(content)
        refusal(path, {})


def test_without_openpyxl_the_message_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "train.xlsx"
    path.write_bytes(sheet(HEADER, *ROWS))
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    message = refusal(path, {})
    assert "openpyxl" in message
    assert "csv" in message


# --- folders and patterns ----------------------------------------------------------------------


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def test_a_folder_a_class(tmp_path: Path) -> None:
    files = {f"{y}/{i}_7.txt": text for i, (text, y) in enumerate(ROWS)}
    folder = write(tmp_path / "train", {**files, "pos/.DS_Store": b"\0", ".cache/x.txt": "x"})
    assert sorted(rows_of(read(folder, {}))) == sorted(ROWS)


def test_a_file_of_a_folder_is_one_text(tmp_path: Path) -> None:
    files = {
        "pos/a.txt": "two\nlines\n",
        "pos/b.txt": "",
        "neg/c.txt": "\ufeffça",
    }
    rows = rows_of(read(write(tmp_path / "train", files), {}))
    assert sorted((t.strip(), y) for t, y in rows) == sorted(
        [("two\nlines", "pos"), ("", "pos"), ("ça", "neg")]
    )


@pytest.mark.parametrize(
    ("what", "files"),
    [
        ("empty", {}),
        ("one class", {"pos/a.txt": "x", "pos/b.txt": "y"}),
        ("csv files", {"train.csv": "text,label\n", "test.csv": "text,label\n"}),
        ("texts without classes", {"a.txt": "x", "b.txt": "y"}),
        ("files of other kinds", {"pos/a.pdf": b"%PDF\n\xe2\xe3", "neg/b.pdf": b"%PDF\n\xe2\xe3"}),
        ("letters of another encoding", {"pos/a.txt": b"caf\xe9", "neg/b.txt": "y"}),
    ],
)
def test_folders_that_are_refused(what: str, files: dict[str, str | bytes], tmp_path: Path) -> None:
    folder = write(tmp_path / "train", files)
    folder.mkdir(exist_ok=True)
    message = refusal(folder, {}, "a." if what.startswith(("letters", "files of")) else None)
    if what == "csv files":
        assert "train.csv" in message
    if what == "letters of another encoding":
        assert "a.txt" in message


def test_files_beside_the_folders_are_said_to_be_left_out(tmp_path: Path) -> None:
    files = {f"{y}/{i}.txt": text for i, (text, y) in enumerate(ROWS)}
    corpus = read(write(tmp_path / "train", {**files, "README": "x", ".hidden": "x"}), {})
    assert sorted(rows_of(corpus)) == sorted(ROWS)
    check_notes(corpus.notes, "1 file beside these folders: left out")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
@pytest.mark.parametrize(
    "name", [b"gr\xfc\xdfe/pos/1.txt", b"all/gr\xfc\xdfe/1.txt", b"gr\xfc\xdfe.csv"]
)
def test_names_that_are_not_utf8_are_refused(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(plain_text())
    with pytest.raises(InputError, match="not valid UTF-8: rename it"):
        read(tmp_path / "*", {})


def test_patterns_find_a_file_once(tmp_path: Path) -> None:
    write(tmp_path, {"a/b/c.csv": plain_text()})
    assert rows_of(read(tmp_path / "**" / "**" / "*.csv", {})) == PLAIN


def test_patterns_find_every_level(tmp_path: Path) -> None:
    write(tmp_path, {
        "a.csv": csv_text(ROWS[:2]), "b/c.csv": csv_text(ROWS[2:4]),
        "b/d/e/f.csv": csv_text(ROWS[4:]), "b/notes.txt": "no", ".git/x.csv": "no",
    })  # fmt: skip
    assert sorted(rows_of(read(tmp_path / "**" / "*.csv", {}))) == sorted(ROWS)


def test_files_of_one_pattern_may_differ_in_dialect(tmp_path: Path) -> None:
    write(tmp_path, {
        "1.csv": "\ufeff" + csv_text(ROWS[:2], "text;label", ";", "\r\n"),
        "2.csv": csv_text(ROWS[2:4]).encode("utf-16"), "3.csv": csv_text(ROWS[4:], " Text ,Label"),
    })  # fmt: skip
    try:
        rows = rows_of(read(tmp_path / "?.csv", {}))
    except Exception:
        # Names that differ by their case may be refused, if it is said.
        refusal(tmp_path / "?.csv", {}, "3.csv")
        (tmp_path / "3.csv").write_text(csv_text(ROWS[4:]), encoding="utf-8")
        rows = rows_of(read(tmp_path / "?.csv", {}))
    assert rows == ROWS


@pytest.mark.parametrize(
    ("second", "wanted"),
    [
        ("body,label\na,pos\n", "2.csv"),
        ("text,label\na, b,pos\n", r"2.csv.*line 2\b"),
        ("", "2.csv"),
        (b"text,label\ncaf\xe9,pos\n", r"2.csv.*line 2\b"),
    ],
)
def test_the_file_at_fault_is_named(second: str | bytes, wanted: str, tmp_path: Path) -> None:
    write(tmp_path, {"1.csv": plain_text(), "2.csv": second})
    message = refusal(tmp_path / "?.csv", {}, "2.csv")
    assert re.search(wanted, message), message


def test_columns_that_nobody_asked_for_may_differ(tmp_path: Path) -> None:
    write(tmp_path, {"1.csv": plain_text(), "2.csv": "id,text,label\n1,a,pos\n"})
    assert rows_of(read(tmp_path / "?.csv", {})) == [*PLAIN, ("a", "pos")]


def test_a_table_of_tabs_may_be_called_txt(tmp_path: Path) -> None:
    # As UCI's "sentiment labelled sentences" are.
    (tmp_path / "train.txt").write_text(plain_text(MANY, None, "\t"))
    corpus = read(tmp_path / "train.txt", {})
    assert rows_of(corpus) == MANY
    check_notes(corpus.notes, "header")


def test_a_label_that_is_missing_in_a_later_file(tmp_path: Path) -> None:
    write(tmp_path, {"1.csv": plain_text(), "2.csv": "text,label\nfine,pos\nno,\n"})
    message = refusal(tmp_path / "?.csv", {}, "2.csv")
    assert "2.csv" in message
    assert "line 3" in message or "row 2" in message
