"""Delimiters and quoting: found where they are plain, as said where the user says so."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import shared
from tests.inputs.cases import (
    MANY,
    PLAIN,
    ROWS,
    Case,
    check,
    csv_text,
    data_config,
    plain_text,
    read,
    reads,
    refused,
    rows_of,
)

PLAIN_COMMAS = [("well, yes", "pos"), ("no, no", "neg"), ("so, so", "pos"), ("no", "neg")]

DELIMITERS = [
    *(
        reads(f"{name} in a .csv", csv_text(ROWS, f"text{sign}label", sign), ROWS, note=note)
        for name, sign, note in [
            ("semicolon", ";", "delimiter"), ("tab", "\t", "delimiter"), ("bar", "|", "delimiter"),
        ]
    ),
    reads("semicolon, texts with commas, unquoted",
          plain_text(PLAIN_COMMAS, "text;label", ";"), PLAIN_COMMAS),
    reads("tab, texts with commas, unquoted",
          plain_text(PLAIN_COMMAS, "text\tlabel", "\t"), PLAIN_COMMAS),
    reads("bar, texts with commas and semicolons",
          plain_text([("a, b; c", "x"), ("d; e, f", "y")], "text|label", "|"),
          [("a, b; c", "x"), ("d; e, f", "y")]),
    reads("comma, texts with one semicolon each",
          plain_text([("a; b", "x"), ("c; d", "y"), ("e; f", "x")]),
          [("a; b", "x"), ("c; d", "y"), ("e; f", "x")]),
    reads("comma, no header, texts with semicolons",
          plain_text([(f"{t}; {t}", y) for t, y in MANY], None),
          [(f"{t}; {t}", y) for t, y in MANY]),
    reads("semicolon, no header, quoted", csv_text(ROWS, None, ";"), ROWS),
    reads("German Excel", "\ufeff" + plain_text(PLAIN, "Text;Label", ";", "\r\n")),
    reads("semicolon, empty columns (Excel)",
          "text;label;;\r\n" + "".join(f"{t};{y};;\r\n" for t, y in PLAIN)),
    reads("semicolon, said", plain_text(PLAIN_COMMAS, "text;label", ";"), PLAIN_COMMAS,
          delimiter=";"),
    reads("a delimiter that nothing finds", plain_text(PLAIN, "text~label", "~"), delimiter="~"),
    reads("tab, said by its name", plain_text(PLAIN, "text\tlabel", "\t"), delimiter="\t"),
    reads("tab, said as a word", plain_text(PLAIN, "text\tlabel", "\t"), delimiter="tab"),
    reads("comma in a .tsv", csv_text(ROWS), ROWS, name="train.tsv", delimiter=","),
    reads("tab in a .tab", plain_text(PLAIN, "text\tlabel", "\t"), name="train.tab"),
    refused("comma said where there are semicolons", plain_text(PLAIN, "text;label", ";"),
            r"column", delimiter=","),
    refused("tilde", plain_text(PLAIN, "text~label", "~"), r"column", mended=PLAIN,
            fill={"delimiter": "~"}),
    reads("tab, said as people type it", plain_text(PLAIN, "text\tlabel", "\t"),
          delimiter="\\t"),
    reads("a letter beyond ASCII said", plain_text(PLAIN, "text§label", "§"), delimiter="§"),
]  # fmt: skip

QUOTES = [
    reads("quotes doubled", csv_text(ROWS), ROWS),
    reads("quotes around all", csv_text([(t, f'"{y}"') for t, y in ROWS], '"text","label"')
          .replace('""pos""', '"pos"').replace('""neg""', '"neg"'), ROWS),
    reads("a quote inside a text", 'text,label\n5" screen,pos\nthe "best",neg\n',
          [('5" screen', "pos"), ('the "best"', "neg")]),
    reads("a quote at the end of a text", 'text,label\na 5",pos\nno,neg\n',
          [('a 5"', "pos"), ("no", "neg")]),
    reads("typographic quotes are letters", "text,label\n“well”,pos\n„na“,neg\n«ah»,pos\n",
          [("“well”", "pos"), ("„na“", "neg"), ("«ah»", "pos")]),
    reads("apostrophes are letters", "text,label\n'tis,pos\nrock 'n' roll,neg\n",
          [("'tis", "pos"), ("rock 'n' roll", "neg")]),
    reads("four quotes", 'text,label\n"""",pos\n"""a""",neg\n', [('"', "pos"), ('"a"', "neg")]),
    reads("backslashes alone are letters", "text,label\nC:\\temp,pos\na\\,neg\n",
          [("C:\\temp", "pos"), ("a\\", "neg")]),
    reads("backslash escapes, said", 'text,label\n"he said \\"hi, you\\"",pos\n"a\\\\b",neg\n',
          [('he said "hi, you"', "pos"), ("a\\b", "neg")], quoting="backslash"),
    reads("no quoting, said", 'text,label\n"well,pos\nno",neg\n',
          [('"well', "pos"), ('no"', "neg")], quoting="none"),
    reads("quoting, said", csv_text(ROWS), ROWS, quoting="double"),
    reads("backslash escapes (MySQL, Spark)",
          'text,label\n"he said \\"hi, you\\"",pos\n"no, \\"no\\"",neg\n',
          [('he said "hi, you"', "pos"), ('no, "no"', "neg")], note="quoting.*backslash"),
    refused("a quote that never ends", 'text,label\nfine,pos\n"never closed,neg\nno,pos\n',
            r"line 3\b", mended=[("fine", "pos"), ('"never closed', "neg"), ("no", "pos")]),
    refused("a quote that never ends, at the very end", 'text,label\nfine,pos\nno,neg\n"x',
            r"line 4\b"),
    reads("quotes that make no sense as such",
          'text,label\n"well,pos\n' + "fine,pos\nno,neg\n" * 20 + 'so "so",neg\n',
          [('"well', "pos"), *[("fine", "pos"), ("no", "neg")] * 20, ('so "so"', "neg")],
          note="quoting: none"),
    reads("blank before quotes", 'label, text\npos, "well, yes"\nneg, "no, no"\n',
          [("well, yes", "pos"), ("no, no", "neg")], note="before quotes"),
    reads("blank before quotes, around all", '"text", "label"\n"well, yes", "pos"\n"no", "neg"\n',
          [("well, yes", "pos"), ("no", "neg")], note="before quotes"),
    reads("blank before a quote in one text", 'text,label\n "so" he said,pos\nno,neg\nyes,pos\n',
          [(' "so" he said', "pos"), ("no", "neg"), ("yes", "pos")]),
    refused("letters after a closing quote", 'text,label\n"well" he said, "no",pos\nno,neg\n',
            r"line 2\b"),
]  # fmt: skip

LONE = [('"well, he said', "neg"), ("fine", "pos"), ('5" screen"', "neg"), ('""', "pos"),
        ('"all"', "neg"), ("no", "pos")]  # fmt: skip
SPANNED = [('a "b" c', "x"), ("two\nlines", "y"), ("a\ttab", "x"), ("no", "y")]

TABS = [
    reads("a quote that opens, another rows below", plain_text(LONE, "text\tlabel", "\t"), LONE,
          name="train.tsv"),
    reads("the same in a .csv", plain_text(LONE, "text\tlabel", "\t"), LONE),
    reads("every text in quotes", csv_text(ROWS, "text\tlabel", "\t"), ROWS, name="train.tsv"),
    reads("some texts in quotes, with doubled ones, lines and tabs (pandas)",
          "text\tlabel\n"
          '"a ""b"" c"\tx\n"two\nlines"\ty\n"a\ttab"\tx\nno\ty\n', SPANNED, name="train.tsv",
          note=r"\b1\b.*line"),
    reads("quoted, said", '"text"\t"label"\n"a"\t"x"\n"b"\t"y"\n', [("a", "x"), ("b", "y")],
          name="train.tsv", quoting="double"),
    reads("unquoted, said", "text\tlabel\n" '"a"\tx\n"b"\ty\n', [('"a"', "x"), ('"b"', "y")],
          name="train.tsv", quoting="none"),
    reads("CRLF", plain_text(LONE, "text\tlabel", "\t", "\r\n"), LONE, name="train.tsv"),
    reads("no header", plain_text(MANY, None, "\t"), MANY, name="train.tsv",
          note="header"),
    reads("label first, no header (UCI's spam)",
          "".join(f"{y}\t{t}\n" for t, y in MANY), MANY, name="train.tsv",
          note="header"),
    reads("tab after each row", "text\tlabel\n" + "".join(f"{t}\t{y}\t\n" for t, y in PLAIN),
          name="train.tsv", note=r"\b4\b"),
    refused("a tab inside a text", "text\tlabel\nfine\tpos\na\tb\tneg\nno\tneg\n", r"line 3\b",
            name="train.tsv"),
    refused("blanks for tabs (pasted)", "text    label\nfine    pos\nno    neg\n", r"column",
            name="train.tsv"),
    refused("header alone", "text\tlabel\n", r"no rows|is empty", name="train.tsv"),
]  # fmt: skip


@pytest.mark.parametrize("case", DELIMITERS)
def test_delimiters(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("value", ["||", "", '"', "\n", "\r"])
def test_a_delimiter_is_one_character(value: str) -> None:
    with pytest.raises(ValueError, match="one character"):
        data_config(delimiter=value)


@pytest.mark.parametrize("case", QUOTES)
def test_quotes(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", TABS)
def test_tabs(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


WRITERS: dict[str, dict[str, Any]] = {
    "minimal": {"quoting": csv.QUOTE_MINIMAL},
    "all": {"quoting": csv.QUOTE_ALL},
    "nonnumeric": {"quoting": csv.QUOTE_NONNUMERIC},
    "excel-tab": {"dialect": "excel-tab"},
    "unix": {"dialect": "unix"},
    "semicolon": {"delimiter": ";"},
    "bar": {"delimiter": "|"},
}


@pytest.mark.parametrize("style", WRITERS)
def test_what_python_writes_is_read(style: str, tmp_path: Path) -> None:
    rows = [*ROWS, ("two\nlines", "neg"), ("a\ttab|bar", "pos"), (" blanks ", "neg"), ('"', "pos")]
    stream = io.StringIO()
    csv.writer(stream, **WRITERS[style]).writerows([("text", "label"), *rows])
    path = tmp_path / ("train.tsv" if style == "excel-tab" else "train.csv")
    path.write_bytes(stream.getvalue().encode())
    assert rows_of(read(path, {})) == rows


def test_python_with_a_backslash_is_read_as_said(tmp_path: Path) -> None:
    rows = [*ROWS, ("two\nlines", "neg"), ("a\\b", "pos"), ("\\", "neg")]
    stream = io.StringIO()
    writer = csv.writer(stream, doublequote=False, escapechar="\\")
    writer.writerows([("text", "label"), *rows])
    (tmp_path / "train.csv").write_bytes(stream.getvalue().encode())
    assert rows_of(read(tmp_path / "train.csv", {"quoting": "backslash"})) == rows


@pytest.mark.parametrize(
    ("name", "dialect"),
    [
        ("germeval2018_coarse/train.tsv", {"dialect": "excel-tab"}),
        ("langid_django/train.tsv", {"dialect": "excel-tab"}),
        ("sst2/train.tsv", {"delimiter": "\t", "quoting": csv.QUOTE_NONE}),
        ("sms_spam/train.csv", {}),
        ("trec/train.csv", {}),
        ("jrte_pn/train.csv", {}),
    ],
)
def test_real_files_are_read_as_python_does(name: str, dialect: dict[str, Any]) -> None:
    path = shared(name)
    with path.open(encoding="utf-8-sig", newline="") as file:
        expected = [(row["text"], row["label"]) for row in csv.DictReader(file, **dialect)]
    assert rows_of(read(path, {})) == expected
