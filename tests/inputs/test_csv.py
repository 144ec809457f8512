"""Tables separated by a comma, as spreadsheets, R, pandas and databases write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inputs.cases import (
    MANY,
    PLAIN,
    ROWS,
    Case,
    Row,
    check,
    csv_text,
    plain_text,
    reads,
    refused,
)

BOM = "\ufeff"
NUMBERED = [(text, "01"[label == "pos"]) for text, label in MANY]


def numbered(start: str, line: str, rows: list[Row] = PLAIN) -> str:
    """Return a header and a line for each row, formatted with i, t and y."""
    return start + "".join(line.format(i=i, t=t, y=y) for i, (t, y) in enumerate(rows, 1))


HEADERS = [
    reads("plain", csv_text(ROWS), ROWS),
    reads("no last line end", csv_text(ROWS).rstrip("\n"), ROWS),
    reads("quoted header", csv_text(ROWS, '"text","label"'), ROWS),
    reads("upper case", plain_text(header="TEXT,LABEL")),
    reads("blanks around names (hand-made)", plain_text(header=" Text , Label ")),
    reads("no-break space in a name (web page)", plain_text(header="text\u00a0,\u00a0label")),
    reads("tab in a name", plain_text(header="text\t,label")),
    reads("byte order mark (Excel)", BOM + plain_text()),
    reads("byte order mark before a quote (Excel)", BOM + csv_text(ROWS, '"text","label"'), ROWS),
    reads("two byte order marks (saved twice)", BOM * 2 + plain_text()),
    reads("empty columns after the names (Excel)", numbered("text,label,,\n", "{t},{y},,\n")),
    reads("empty columns with blanks", numbered("text,label, ,  \n", "{t},{y}, ,\n")),
    reads("empty columns, rows without", numbered("text,label,,\n", "{t},{y}\n")),
    reads("empty column in the middle", numbered("text,,label\n", "{t},,{y}\n")),
    reads("empty columns before the names", numbered(",,text,label\n", ",,{t},{y}\n")),
    reads("nameless index (pandas)", numbered(",text,label\n", "{i},{t},{y}\n")),
    reads("nameless index, odd names", numbered(",foo,label\n", "{i},{t},{y}\n")),
    reads("index of pandas, read and saved again",
          numbered("Unnamed: 0,text,label\n", "{i},{t},{y}\n")),
    reads("two indexes (saved three times)",
          numbered("Unnamed: 0.1,Unnamed: 0,text,label\n", "{i},{i},{t},{y}\n")),
    reads("row names (R, write.csv)", numbered('"","text","label"\n', '"{i}","{t}","{y}"\n')),
    reads("one blank first line", "\n" + plain_text()),
    reads("several blank first lines", "\n\r\n  \n" + plain_text()),
    reads("separators alone in the first line (Excel)", numbered(",\ntext,label\n", "{t},{y}\n")),
    reads("empty quotes alone in the first line", '"",""\n' + csv_text(ROWS), ROWS),
    reads("sep= (Excel)", numbered("sep=;\ntext;label\n", "{t};{y}\n")),
    reads("sep=, (Excel)", "sep=,\n" + plain_text()),
    reads("sep= with mark and CRLF (Excel)", BOM + "sep=,\r\n" + plain_text(end="\r\n")),
    reads("name with a line end (Google Forms)",
          numbered('"text\n(as typed)",label\n', "{t},{y}\n")),
    reads("name with a comma (Google Forms)",
          numbered('"What, if anything, did you think?",label\n', "{t},{y}\n")),
    reads("name in Chinese", numbered("文本,label\n", "{t},{y}\n")),
    reads("names given: spam of Kaggle", numbered("v1,v2,,,\n", "{y},{t},,,\n"), text=("v2",)),
    reads("spam of Kaggle", numbered("v1,v2,,,\n", "{y},{t},,,\n"), note="label.*column v1"),
    refused("AG News of Kaggle",
            numbered("Class Index,Title,Description\n", "{y},{i},{t}\n"),
            r"which column is the label.*Class Index, Title, Description"),
    refused("two columns of one name", numbered("text,label,label\n", "{t},{y},{i}\n"),
            r"label.*(twice|one name|same name)|(twice|one name|same name).*label"),
    refused("comment before the names", "# exported 2024-01-31\n" + plain_text(),
            r"# exported 2024-01-31 only"),
    refused("title before the names (Excel)", "Survey 2024,\n,\n" + plain_text(),
            r"which column|no label|data\.|has the columns"),
    refused("one column", "text\n" + "".join(f"{t}\n" for t, _ in PLAIN),
            r"label"),
    refused("header alone", "text,label\n", r"no rows|is empty"),
    refused("header alone, no line end", "text,label", r"no rows|is empty"),
    refused("nothing", "", r"is empty"),
    refused("white space alone", "\u00a0\n\u3000\n", r"is empty", name="train.txt"),
    refused("blank lines alone", "\n\n \n", r"is empty|no rows"),
    refused("a byte order mark alone", BOM, r"is empty|no rows"),
    refused("separators alone", ",\n,\n", r"empty|no rows|column|no label"),
]  # fmt: skip

HEADERLESS = [
    reads("text first", plain_text(MANY, None), MANY, note="header"),
    reads("label first (AG News, Yelp)",
          numbered("", '"{y}","{t}"\n', MANY), MANY, note="header"),
    reads("numbers as labels",
          plain_text(NUMBERED, None), NUMBERED, note="header"),
    reads("told by data.header", plain_text(header=None), header=False),
    reads("told, and texts that look like names", "text,label\nfine,label\nno,x\nwell,x\n",
          [("text", "label"), ("fine", "label"), ("no", "x"), ("well", "x")], header=False,
          text=("column_1",), label="column_2"),
    reads("a header that looks like data", "good,pos\nfine,pos\nno,neg\nwell,neg\n",
          [("fine", "pos"), ("no", "neg"), ("well", "neg")], header=True,
          text=("good",), label="pos"),
    reads("numbers for names (pandas)", numbered("0,1\n", "{t},{y}\n", MANY), MANY),
    reads("numbers for names, labels that are numbers (pandas)",
          plain_text(NUMBERED, "0,1"), NUMBERED),
    reads("numbers for names, and an index (pandas)",
          numbered(",0,1\n", "{i},{t},{y}\n", MANY), MANY),
    reads("numbers that are values", "".join(f"{i},{i % 3}\n" for i in range(12)),
          [(str(i), str(i % 3)) for i in range(12)], text=("column_1",), label="column_2"),
    reads("named columns", plain_text(header=None), columns=("text", "label")),
    reads("named columns, in another order", numbered("", "{y},{t}\n"), columns=("label", "text")),
    reads("named columns for a file that has them", plain_text(), columns=("text", "label")),
    reads("other names for a file that has some", plain_text(), note="header|first line",
          columns=("body", "stars"), text=("body",)),
    reads("named columns, and data.header says that there are none", plain_text(header=None),
          columns=("text", "label"), header=False),
    reads("named columns, and data.header says that there are some",
          plain_text(header="foo,bar"), columns=("text", "label"), header=True),
    refused("tweets (Sentiment140)",
            "".join(f'"{y}","14678{i}","Mon Apr 06 22:19:45 PDT 2009","NO_QUERY","user{i}","{t}"\n'
                    for i, (t, y) in enumerate(
                        [("good", "4"), ("bad", "0"), ("fine", "4"), ("no", "0")])),
            r"which column|data\."),
    refused("too few names", plain_text(header=None), r"data\.columns", columns=("text",)),
    refused("too many names", plain_text(header=None), r"data\.columns",
            columns=("text", "label", "more")),
    refused("one name twice", plain_text(header=None), r"data\.columns|two columns|twice",
            columns=("text", "text")),
]  # fmt: skip

LINES = [
    reads("CRLF (Windows)", csv_text(ROWS, end="\r\n"), ROWS),
    reads("CR (old Mac)", csv_text(ROWS, end="\r"), ROWS),
    reads("CR, unquoted (old Mac)", plain_text(end="\r")),
    reads("CR CR LF (Python without newline='')", csv_text(ROWS, end="\r\r\n"), ROWS),
    reads("CRLF and LF mixed",
          "text,label\r\nwhat a film,pos\nnever again,neg\r\nfine,pos\nno,neg"),
    reads("CR and LF mixed", "text,label\rwhat a film,pos\nnever again,neg\rfine,pos\nno,neg\n"),
    reads("blank lines between and after", plain_text(end="\n\n") + "\n\n"),
    reads("blank line with CRLF between", plain_text(end="\r\n\r\n")),
    reads("a text that spans lines", 'text,label\n"one\ntwo",pos\n"three\r\nfour",neg\nno,pos\n',
          [("one\ntwo", "pos"), ("three\r\nfour", "neg"), ("no", "pos")],
          note=r"\b2\b.*(lines|line)"),
    reads("a text of blank lines", 'text,label\n"\n\n",pos\nno,neg\n',
          [("\n\n", "pos"), ("no", "neg")], note=r"\b1\b.*line"),
    reads("line separators of Unicode are letters",
          "text,label\na\u2028b\u2029c,pos\nd\x85e\x0bf\x0cg\x1ch,neg\n",
          [("a\u2028b\u2029c", "pos"), ("d\x85e\x0bf\x0cg\x1ch", "neg")]),
    refused("end of file of DOS", plain_text() + "\x1a", r"(line|row) [56]\b.*label"),
]  # fmt: skip

WIDTHS = [
    reads("a separator after each row", numbered("text,label\n", "{t},{y},\n"),
          note=r"\b4 rows have blank extra fields"),
    reads("separators after some rows", "text,label\na b,pos,,\nc,neg\nd,pos,\n",
          [("a b", "pos"), ("c", "neg"), ("d", "pos")], note=r"\b2 rows have blank extra fields"),
    reads("rows that end early", "label,text,more\npos,a b\nneg\npos,c,x\nneg,d,\n",
          [("a b", "pos"), ("", "neg"), ("c", "pos"), ("d", "neg")],
          note=r"\b2\b.*(few|short|missing)"),
    reads("three thousand columns",
          ",".join(["text", *(f"f{i}" for i in range(3000)), "label"]) + "\n"
          + "".join(",".join([t, *("0" * 3000), y]) + "\n" for t, y in PLAIN)),
    refused("an unquoted comma in the second line", "text,label\nwell, no,neg\nfine,pos\n",
            r"line 2"),
    refused("an unquoted comma far down",
            "text,label\n" + "fine,pos\nno,neg\n" * 10_000 + "well, no,neg\n" + "fine,pos\n" * 9,
            r"line 20,?002\b"),
    refused("an unquoted comma after texts that span lines",
            'text,label\n' + '"two\nlines",pos\nno,neg\n' * 50 + "well, no,neg\n",
            r"line 152\b"),
    refused("an unquoted comma after blank lines", "\n\ntext,label\n\nfine,pos\n\na, b,neg\n",
            r"line 7\b"),
    refused("a label is missing", "text,label\nfine,pos\nno\nwell,neg\n",
            r"(line|row) [23]\b.*label"),
    refused("a label is blank", "text,label\nfine,pos\nno, \nwell,neg\n",
            r"(line|row) [23]\b.*label"),
    reads("row names without a name (R, write.table)",
          numbered('"text","label"\n', '"{i}","{t}","{y}"\n'), note="first column"),
    refused("an unquoted comma in every row", "text,label\nwell, no,neg\nso, so,pos\n",
            r"line 2\b"),
    refused("an unquoted comma in the only row", "text,label\nwell, no,neg\n", r"line 2\b"),
    refused("apostrophes as quotes", "text,label\n'well, no',neg\nfine,pos\n", r"line 2\b"),
    refused("rows quoted as a whole", '"text,label"\n"fine,pos"\n"no,neg"\n', r"column|label"),
    refused("several rows in a line", "text,label\nfine,pos,no,neg\n", r"line 2\b"),
]  # fmt: skip

VALUES = [
    reads("what is no number, date or null is a text",
          numbered("text,label\n", "{t},{y}\n") + "NA,pos\nnull,neg\nNone,pos\nNaN,neg\nN/A,pos\n"
          "#N/A,neg\n-inf,pos\nTRUE,neg\n2020-01-01,pos\n007,neg\n1e5,pos\n12:30,neg\n\\N,pos\n",
          [*PLAIN, ("NA", "pos"), ("null", "neg"), ("None", "pos"), ("NaN", "neg"), ("N/A", "pos"),
           ("#N/A", "neg"), ("-inf", "pos"), ("TRUE", "neg"), ("2020-01-01", "pos"), ("007", "neg"),
           ("1e5", "pos"), ("12:30", "neg"), ("\\N", "pos")]),
    reads("numbers alone as texts", "text,label\n007,a\n1.50,b\n1e5,a\n+3,b\n",
          [("007", "a"), ("1.50", "b"), ("1e5", "a"), ("+3", "b")]),
    reads("numbers below a page of words", "text,label\n" + "word,a\n" * 9_000 + "12,b\n",
          [("word", "a")] * 9_000 + [("12", "b")]),
    reads("words below a page of numbers", "text,label\n" + "12,1\n" * 9_000 + "word,b\n",
          [("12", "1")] * 9_000 + [("word", "b")]),
    reads("true and false as labels", "text,label\nyes,True\nno,False\nwell,True\n",
          [("yes", "True"), ("no", "False"), ("well", "True")]),
    reads("decimals as labels", "text,label\nyes,1.0\nno,0.0\nwell,1.0\n",
          [("yes", "1.0"), ("no", "0.0"), ("well", "1.0")]),
    reads("dates as labels", "text,label\nyes,2020-01-01\nno,2021-12-31\n",
          [("yes", "2020-01-01"), ("no", "2021-12-31")]),
    reads("NA as a label", "text,label\nyes,NA\nno,US\n", [("yes", "NA"), ("no", "US")]),
    reads("blanks around a text", "text,label\n  two  ,pos\n\tx ,neg\n",
          [("  two  ", "pos"), ("\tx ", "neg")]),
    reads("empty texts", 'text,label\n"",pos\n,neg\nx,pos\n',
          [("", "pos"), ("", "neg"), ("x", "pos")], note=r"\b2\b.*(no text|empty)"),
    reads("NUL in a text", "text,label\na\0b,pos\n\0,neg\n", [("a\0b", "pos"), ("\0", "neg")]),
    reads("controls in a text", "text,label\n\x1b[31mred\x07,pos\n\x7f,neg\n",
          [("\x1b[31mred\x07", "pos"), ("\x7f", "neg")]),
    reads("emoji and writing from right to left",
          "text,label\n👩‍👩‍👧 🏳️‍🌈,pos\nשלום \u202eevil,neg\n",
          [("👩‍👩‍👧 🏳️‍🌈", "pos"), ("שלום \u202eevil", "neg")]),
    reads("byte order mark inside", "text,label\na\ufeffb,pos\n\ufeffc,neg\n",
          [("a\ufeffb", "pos"), ("\ufeffc", "neg")]),
    reads("formulas (Excel)", 'text,label\n=1+1,pos\n"=HYPERLINK(""a"",""b"")",neg\n@x,pos\n',
          [("=1+1", "pos"), ('=HYPERLINK("a","b")', "neg"), ("@x", "pos")]),
    reads("a text of five megabytes", f"text,label\n{'long ' * 1_000_000},pos\nno,neg\n",
          [("long " * 1_000_000, "pos"), ("no", "neg")]),
    reads("a quoted text of five megabytes of lines",
          'text,label\n"' + ("x, y " * 200 + "\n") * 5_000 + '",pos\nno,neg\n',
          [(("x, y " * 200 + "\n") * 5_000, "pos"), ("no", "neg")], note=r"\b1\b.*line"),
    reads("lists as texts (pandas)", "text,label\n\"['a', 'b']\",pos\n[],neg\n",
          [("['a', 'b']", "pos"), ("[]", "neg")]),
]  # fmt: skip


@pytest.mark.parametrize("case", [*HEADERS, *HEADERLESS])
def test_the_first_line(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", [*LINES, *WIDTHS])
def test_lines_and_their_fields(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", VALUES)
def test_texts_and_labels_stay_as_they_are(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
