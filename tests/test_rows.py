"""The rows of a split that several files make, or one file that two readers read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.inputs.cases import PLAIN, data_config, read, rows_of
from textcls.cli.data import configuration
from textcls.cli.data import read as read_for_report
from textcls.corpus.corpus import Source
from textcls.errors import InputError

HEADER = "text,label\n"
LINES = "".join(f"{text},{label}\n" for text, label in PLAIN)


def test_files_of_several_formats_are_one_split(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(HEADER + LINES)
    lines = [json.dumps({"text": text, "label": label}) for text, label in PLAIN]
    (tmp_path / "b.jsonl").write_text("\n".join(lines))
    corpus = read(tmp_path / "*", {})
    assert rows_of(corpus) == 2 * PLAIN
    _, rows = read_for_report(*configuration(str(tmp_path / "*"), None, None, {}))
    assert {(text, label) for label, text in rows} <= set(PLAIN)


def test_a_file_that_is_read_to_its_end_by_the_other_reader_is_one_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("textcls.corpus.delimited.BATCH_BYTES", 64)
    (tmp_path / "a.csv").write_text(HEADER + 20 * LINES + "short\n" + LINES)
    with pytest.raises(InputError, match="line 82 has no label"):
        read(tmp_path / "a.csv", {})
    (tmp_path / "a.csv").write_text(HEADER + 20 * LINES + "wide,pos,,\n" + LINES)
    corpus = read(tmp_path / "a.csv", {})
    assert rows_of(corpus) == [*20 * PLAIN, ("wide", "pos"), *PLAIN]


def test_a_header_of_other_names_is_repeated(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(2 * ("words,kind\n" + 3 * LINES))
    corpus = read(tmp_path / "a.csv", {"text": ("words",), "label": "kind"})
    assert rows_of(corpus) == 6 * PLAIN


def test_rows_are_found_in_files_that_repeat_their_header(tmp_path: Path) -> None:
    repeating = HEADER + LINES + HEADER + LINES
    (tmp_path / "a.csv").write_text(repeating)
    (tmp_path / "b.csv").write_text(repeating)
    corpus = read(tmp_path / "?.csv", {})
    assert rows_of(corpus) == 4 * PLAIN
    for name, facts in zip("ab", corpus.files["train"], strict=True):
        assert facts.path.endswith(f"{name}.csv")
        assert (facts.rows, facts.notes) == (8, ["1 row repeats the header: left out"])

    for name in "ab":  # the last row of the one, of the other
        (tmp_path / f"{name}.csv").write_text(f"{repeating}what,\n")
        with pytest.raises(InputError, match=rf"{name}\.csv: line 11 has no label"):
            Source(data_config(train=str(tmp_path / "?.csv"))).read()
        (tmp_path / f"{name}.csv").write_text(repeating)
