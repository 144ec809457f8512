"""Tables are read as Python's csv and json modules read them, whatever their cells hold."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from tests import fuzz_files
from tests.inputs.cases import Row, check_message, read, rows_of
from textcls.corpus.labels import normalise
from textcls.errors import InputError

csv.field_size_limit(2**31 - 1)
ALPHABET = '",;\t|\n\r \\ab\0é日😀\u2028\x85\u00a0\ufeff\x1a#=-0'
# Letters for labels: blanks would be normalised.
LABELS = st.text("abé0-_ ", min_size=1).map(lambda label: " ".join(label.split())).filter(bool)


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("properties") / "some.csv"


def python_rows(text: str, **style: Any) -> list[list[str]] | None:
    try:
        rows = csv.reader(io.StringIO(text, newline=""), strict=True, **style)
        return [row for row in rows if row]
    except csv.Error:
        return None


def rows_or_message(path: Path, options: dict[str, Any]) -> list[Row] | str:
    """Read a file; return its rows, or the message after checking its form."""
    try:
        return rows_of(read(path, options))
    except InputError as error:
        check_message(str(error), path.name)
        return str(error)


@given(st.text(ALPHABET), st.sampled_from([",", ";", "\t", "|"]), st.sampled_from(["\n", "\r\n"]))
@example('a,"b\r"\n', ",", "\n")
@example('"a""b",x\n"",y\n', ",", "\r\n")
@example("\0,x\n\0\0,y", ",", "\n")
@example(",x\n,y\n,,\n", ",", "\n")
def test_csv_is_read_as_python_reads_it(file: Path, body: str, sign: str, end: str) -> None:
    text = f"text{sign}label{end}{body}{end}one{sign}x{end}two{sign}y{end}"
    file.write_bytes(text.encode())
    options = {"delimiter": sign, "header": True, "quoting": "double"}
    found = rows_or_message(file, options)
    rows = python_rows(text, delimiter=sign)
    if rows is not None and all(len(row) == 2 and normalise(row[1]) for row in rows):
        assert found == [(text, normalise(label)) for text, label in rows[1:]]


ROWS = st.lists(st.tuples(st.text(ALPHABET), LABELS), max_size=6).map(
    lambda rows: [*rows, ("one", "x"), ("two", "y"), ("three", "x")]
)
STYLES: list[dict[str, Any]] = [
    {},
    {"quoting": csv.QUOTE_ALL},
    {"quoting": csv.QUOTE_NONNUMERIC},
    {"lineterminator": "\n"},
    {"delimiter": ";"},
    {"delimiter": "\t"},
    {"delimiter": "|", "quoting": csv.QUOTE_ALL, "lineterminator": "\n"},
]


@given(ROWS, st.sampled_from(STYLES))
@example([("a,b;c\td|e", "x"), ('"', "y")], {"delimiter": ";"})
@example([('"', "x"), ("", "y"), ('""', "x")], {"delimiter": "\t"})
def test_what_python_writes_comes_back(file: Path, rows: list[Row], style: dict[str, Any]) -> None:
    stream = io.StringIO(newline="")
    csv.writer(stream, **style).writerows([("text", "label"), *rows])
    delimiter = style.get("delimiter", ",")
    # Some versions of the module leave a lone CR unquoted.
    assume(
        python_rows(stream.getvalue(), delimiter=delimiter) == [["text", "label"], *map(list, rows)]
    )
    file.write_bytes(stream.getvalue().encode())
    assert rows_of(read(file, {"delimiter": delimiter, "quoting": "double"})) == rows


NATURAL = st.text("abcé, ;\"\n'", max_size=40)


@given(
    st.lists(st.tuples(NATURAL, st.sampled_from(["good", "bad"])), min_size=4, max_size=20),
    st.sampled_from(STYLES),
)
def test_what_python_writes_comes_back_unsaid(
    file: Path, rows: list[Row], style: dict[str, Any]
) -> None:
    rows = [*rows, ("the end", "good"), ("really", "bad")]
    stream = io.StringIO(newline="")
    csv.writer(stream, **style).writerows([("text", "label"), *rows])
    file.write_bytes(stream.getvalue().encode())
    assert rows_of(read(file, {})) == rows


@given(ROWS)
def test_python_with_a_backslash_comes_back(file: Path, rows: list[Row]) -> None:
    style: dict[str, Any] = {"doublequote": False, "escapechar": "\\", "quoting": csv.QUOTE_ALL}
    stream = io.StringIO(newline="")
    csv.writer(stream, **style).writerows([("text", "label"), *rows])
    assume(python_rows(stream.getvalue(), **style) == [["text", "label"], *map(list, rows)])
    file.write_bytes(stream.getvalue().encode())
    assert rows_of(read(file, {"quoting": "backslash", "delimiter": ","})) == rows


@given(
    st.lists(st.tuples(st.text(), LABELS), max_size=6),
    st.booleans(), st.sampled_from([None, 1]), st.sampled_from(["lines", "array", "columns"]),
)  # fmt: skip
def test_json_comes_back(
    file: Path, rows: list[Row], escaped: bool, indent: int | None, shape: str
) -> None:
    rows = [*rows, ("one", "x"), ("two", "y")]
    records = [{"text": text, "label": label} for text, label in rows]
    if shape == "lines":
        content = "\n".join(json.dumps(record, ensure_ascii=escaped) for record in records)
    elif shape == "array":
        content = json.dumps(records, ensure_ascii=escaped, indent=indent)
    else:
        columns = {key: {str(i): r[key] for i, r in enumerate(records)} for key in records[0]}
        content = json.dumps(columns, ensure_ascii=escaped, indent=indent)
    path = file.with_suffix(".jsonl" if shape == "lines" else ".json")
    path.write_bytes(content.encode())
    assert rows_of(read(path, {})) == [(text, normalise(label)) for text, label in rows]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.sampled_from(["id", "meta", "tags"]), VALUES), max_size=6))
def test_other_columns_of_json_may_hold_anything(file: Path, others: list[dict[str, Any]]) -> None:
    rows = [(f"t{i}", "xy"[i % 2]) for i in range(len(others))] + [("one", "x"), ("two", "y")]
    records = [
        {**other, "text": text, "label": label}
        for other, (text, label) in zip([*others, {}, {}], rows, strict=True)
    ]
    path = file.with_suffix(".jsonl")
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert rows_of(read(path, {})) == rows


@given(st.binary(max_size=40), st.integers(0, 200), st.integers(0, 20))
def test_damaged_json_gives_rows_or_a_line(file: Path, put: bytes, at: int, out: int) -> None:
    records = [{"text": f"text {i}", "label": "xy"[i % 2]} for i in range(6)]
    content = "".join(json.dumps(record) + "\n" for record in records).encode()
    content = content[:at] + put + content[at + out :]
    path = file.with_suffix(".jsonl")
    path.write_bytes(content)
    found = rows_or_message(path, {})
    with contextlib.suppress(ValueError):
        values = [json.loads(line) for line in content.split(b"\n") if line.strip()]
        if isinstance(found, list):
            assert len(found) == len(values)


@pytest.mark.parametrize("kind", fuzz_files.SEEDS)
def test_damaged_files_give_a_table_or_a_line(kind: str, tmp_path: Path) -> None:
    if kind == "xlsx":
        pytest.importorskip("openpyxl")
    failures = [
        (number, found) for number, found in fuzz_files.fuzz(kind, range(200), tmp_path) if found
    ]
    assert not failures, failures[:3]
