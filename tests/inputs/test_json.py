"""JSON: an array, lines, one object of columns, and what people have in their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.inputs.cases import (
    PLAIN,
    ROWS,
    Case,
    check,
    jsonl_text,
    read,
    reads,
    refusal,
    refused,
    rows_of,
)

RECORDS = [{"text": text, "label": label} for text, label in ROWS]
TWO = [("a", "x"), ("b", "y")]


def lines(*values: Any) -> str:
    return "".join(json.dumps(value) + "\n" for value in values)


SHAPES = [
    reads("lines", jsonl_text(), ROWS, "train.jsonl"),
    reads("lines in a .json", jsonl_text(), ROWS, "train.json"),
    reads("lines in an .ndjson", jsonl_text(), ROWS, "train.ndjson"),
    reads("an array", json.dumps(RECORDS), ROWS, "train.json"),
    reads("an array in a .jsonl", json.dumps(RECORDS), ROWS, "train.jsonl"),
    reads("an array over many lines", json.dumps(RECORDS, indent=2), ROWS, "train.json"),
    reads("an array of objects, one a line (Django, Postgres)",
          "[\n" + ",\n".join(map(json.dumps, RECORDS)) + "\n]\n", ROWS, "train.json"),
    reads("no last line end", jsonl_text().rstrip(), ROWS, "train.jsonl"),
    reads("CRLF", jsonl_text().replace("\n", "\r\n"), ROWS, "train.jsonl"),
    reads("blank lines", "\n\n" + jsonl_text().replace("\n", "\n\n \n"), ROWS, "train.jsonl"),
    reads("byte order mark", "\ufeff" + jsonl_text(), ROWS, "train.jsonl"),
    reads("byte order mark before an array", "\ufeff" + json.dumps(RECORDS), ROWS, "train.json"),
    reads("UTF-16", json.dumps(RECORDS, ensure_ascii=False).encode("utf-16"), ROWS, "train.json"),
    reads("UTF-16 lines", jsonl_text().encode("utf-16"), ROWS, "train.jsonl"),
    reads("blanks before", " \n\t" + json.dumps(RECORDS), ROWS, "train.json"),
    reads("one object only", lines({"text": ["a", "b"], "label": ["x", "y"]}), TWO, "train.json"),
    reads("keys in another order", lines({"text": "a", "label": "x"}, {"label": "y", "text": "b"}),
          TWO, "train.jsonl"),
    reads("keys that come later", lines({"text": "a", "label": "x"},
                                        {"text": "b", "label": "y", "more": 1}), TWO,
          "train.jsonl"),
    reads("keys that come later, far down",
          lines(*[{"text": "a", "label": "x"}] * 9_000, {"new": 1, "text": "b", "label": "y"}),
          [("a", "x")] * 9_000 + [("b", "y")], "train.jsonl"),
    reads("a column that changes its kind", lines({"text": "a", "label": "x", "n": 1},
                                                  {"text": "b", "label": "y", "n": "one"},
                                                  {"text": "b", "label": "y", "n": [{"z": {}}]}),
          [*TWO, ("b", "y")], "train.jsonl"),
    reads("objects and lists in other columns (Prodigy)",
          lines(*({"text": t, "label": y, "_input_hash": -1, "meta": {"source": "x"}, "spans": []}
                  for t, y in PLAIN)), PLAIN, "train.jsonl"),
    reads("objects over many lines (jq)", "\n".join(json.dumps(r, indent=2) for r in RECORDS),
          ROWS, "train.json"),
    reads("Label Studio, small JSON",
          json.dumps([{"text": t, "id": i, "sentiment": y, "annotator": 1, "created_at": "2024"}
                      for i, (t, y) in enumerate(PLAIN)]), PLAIN, "train.json"),
    refused("Label Studio",
            json.dumps([{"id": 1, "data": {"text": "a"}, "annotations": [
                {"result": [{"value": {"choices": ["x"]}, "from_name": "sentiment"}]}]}] * 3),
            r"column", "train.json"),
    refused("doccano", lines({"id": 1, "text": "a", "label": ["x"]},
                             {"id": 2, "text": "b", "label": []}), r"'?label'?", "train.jsonl"),
    refused("spaCy", lines({"text": "a", "cats": {"x": 1.0, "y": 0.0}},
                           {"text": "b", "cats": {"x": 0.0, "y": 1.0}}), r"cats", "train.jsonl"),
    refused("Rasa", json.dumps({"rasa_nlu_data": {"common_examples": RECORDS}}), r"column|object",
            "train.json"),
    refused("a service's answer", json.dumps({"error": "rate limit exceeded"}), r"column|label",
            "train.json"),
    refused("arrays", json.dumps([list(row) for row in ROWS]), r"object|record", "train.json"),
    refused("texts alone", json.dumps([text for text, _ in ROWS]), r"object|record", "train.json"),
    refused("texts alone, a line each", lines("a", "b"), r"object|record", "train.jsonl"),
    refused("a number", "17", r"object|record", "train.json"),
    refused("null", "null", r"object|record|no rows", "train.json"),
    refused("an empty array", "[]", r"no rows|is empty", "train.json"),
    refused("an empty object", "{}", r"column|no rows|is empty", "train.json"),
    refused("nothing", "", r"is empty", "train.json"),
    refused("blanks", " \n\n", r"is empty|no rows", "train.jsonl"),
]  # fmt: skip

VALUES = [
    reads("letters escaped", jsonl_text(ensure_ascii=True), ROWS, "train.jsonl"),
    reads("letters not escaped", jsonl_text(ensure_ascii=False), ROWS, "train.jsonl"),
    reads("pairs of surrogates", '{"text":"\\ud83d\\ude00","label":"x"}\n{"text":"b","label":"y"}',
          [("😀", "x"), ("b", "y")], "train.jsonl"),
    reads("half a pair (Twitter)",
          '{"text":"a\\ud83d","label":"x"}\n{"text":"\\ude00b","label":"y"}\n'
          '{"text":"c","label":"y"}\n',
          [("a\ufffd", "x"), ("\ufffdb", "y"), ("c", "y")], "train.jsonl",
          note=r"\b2\b.*surrogate"),
    reads("half a pair in an array", '[{"text":"a\\ud83d","label":"x"},{"text":"c","label":"y"}]',
          [("a\ufffd", "x"), ("c", "y")], "train.json", note=r"\b1\b.*surrogate"),
    reads("NUL", '{"text":"a\\u0000b","label":"x"}\n{"text":"c","label":"y"}\n',
          [("a\0b", "x"), ("c", "y")], "train.jsonl"),
    reads("escapes", lines({"text": 'a\n\t"\\/', "label": "x"}, {"text": "b", "label": "y"}),
          [('a\n\t"\\/', "x"), ("b", "y")], "train.jsonl"),
    reads("line separators of Unicode",
          '{"text":"a\u2028b\x85c","label":"x"}\n{"text":"b","label":"y"}\n',
          [("a\u2028b\x85c", "x"), ("b", "y")], "train.jsonl"),
    reads("texts that look like other things",
          lines(*({"text": t, "label": y} for t, y in
                  [("NA", "x"), ("null", "y"), ("2020-01-01", "x"), ("2020-01-01T00:00:00Z", "y"),
                   ("1", "x"), ("true", "y"), ("", "x")])),
          [("NA", "x"), ("null", "y"), ("2020-01-01", "x"), ("2020-01-01T00:00:00Z", "y"),
           ("1", "x"), ("true", "y"), ("", "x")], "train.jsonl"),
    reads("dates alone as texts", lines({"text": "2020-01-01", "label": "x"},
                                        {"text": "2020-01-01 10:00:00", "label": "y"}),
          [("2020-01-01", "x"), ("2020-01-01 10:00:00", "y")], "train.jsonl"),
    reads("dates as labels", lines({"text": "a", "label": "2020-01-01"},
                                   {"text": "b", "label": "2021-01-01"}),
          [("a", "2020-01-01"), ("b", "2021-01-01")], "train.jsonl"),
    reads("numbers as labels", lines(*({"text": t, "label": "xy".index(y)} for t, y in TWO)),
          [("a", "0"), ("b", "1")], "train.jsonl"),
    reads("decimals as labels", lines({"text": "a", "label": 1.0}, {"text": "b", "label": 0.5}),
          [("a", "1"), ("b", "0.5")], "train.jsonl"),
    reads("true and false as labels", lines({"text": "a", "label": True},
                                            {"text": "b", "label": False}),
          [("a", "true"), ("b", "false")], "train.jsonl"),
    reads("large numbers as labels", lines({"text": "a", "label": 2**53 + 1},
                                           {"text": "b", "label": 2**53}),
          [("a", str(2**53 + 1)), ("b", str(2**53))], "train.jsonl"),
    reads("null as a text", lines({"text": None, "label": "x"}, {"text": "b", "label": "y"}),
          [("", "x"), ("b", "y")], "train.jsonl", note=r"\b1\b.*no text"),
    reads("a text that is missing", lines({"label": "x"}, {"text": "b", "label": "y"}),
          [("", "x"), ("b", "y")], "train.jsonl", note=r"\b1\b.*no text"),
    reads("a text of five megabytes", lines({"text": "long " * 1_000_000, "label": "x"},
                                            {"text": "b", "label": "y"}),
          [("long " * 1_000_000, "x"), ("b", "y")], "train.jsonl"),
    reads("NaN beside (Python)", lines({"text": "a", "label": "x", "score": float("nan")},
                                       {"text": "b", "label": "y", "score": float("-inf")}),
          TWO, "train.jsonl"),
    reads("numbers beyond 64 bits beside",
          '{"text":"a","label":"x","id":123456789012345678901234}\n'
          '{"text":"b","label":"y","id":1e999}\n', TWO, "train.jsonl"),
    refused("null as a label", lines({"text": "a", "label": "x"}, {"text": "b", "label": None}),
            r"(line|row) 2\b.*label", "train.jsonl"),
    refused("a label that is missing", lines({"text": "a", "label": "x"}, {"text": "b"}),
            r"(line|row) 2\b.*label", "train.jsonl"),
    refused("NaN as a label (pandas)", '{"text":"a","label":"x"}\n{"text":"b","label":NaN}\n',
            r"(line|row) 2\b", "train.jsonl"),
    refused("lists as texts (tokens)", lines({"text": ["a"], "label": "x"},
                                             {"text": ["b", "c"], "label": "y"}),
            r"text", "train.jsonl"),
]  # fmt: skip

FAULTS = [
    refused("a comma too many", '{"text":"a","label":"x"}\n{"text":"b","label":"y",}\n',
            r"line 2\b", "train.jsonl"),
    refused("a line cut short", jsonl_text() + '{"text":"b","lab', r"line 7\b", "train.jsonl"),
    refused("a bad line far down", jsonl_text() * 3_000 + "{'text':'b'}\n" + jsonl_text(),
            r"line 18,?001\b", "train.jsonl"),
    refused("a bad line after blank ones", '\n\n{"text":"a","label":"x"}\n\n{"text" "b"}\n',
            r"line 5\b", "train.jsonl"),
    refused("a bad line in an array", "[\n" + ",\n".join([
        *map(json.dumps, RECORDS), '{"text" "b"}']) + "\n]", r"line 8\b", "train.json"),
    refused("an array cut short", json.dumps(RECORDS)[:-9], r"line 1\b", "train.json"),
    refused("apostrophes (Python)", "".join(f"{record}\n" for record in RECORDS), r"line 1\b",
            "train.jsonl"),
    refused("a comment", "// rows\n" + jsonl_text(), r"line 1\b", "train.jsonl"),
    refused("a line that is no object", jsonl_text() + "[1, 2]\n", r"line 7\b", "train.jsonl"),
    refused("text after the array", json.dumps(RECORDS) + "\nend", r"line 2\b", "train.json"),
    refused("a line end inside a text", '{"text":"a\nb","label":"x"}\n', r"line 1\b",
            "train.jsonl"),
    refused("NUL between", '{"text":"a","label":"x"}\n\0\0\0\n', r"line 2\b", "train.jsonl"),
    refused("csv by another name", "text,label\na,x\n", r"line 1\b", "train.jsonl"),
    refused("a page of a website", "<!DOCTYPE html>\n<html></html>", r"line 1\b", "train.json"),
    refused("nested too deep", "[" * 100_000, r"nested|deep", "train.json"),
    refused("nested too deep in a line",
            '{"text":"a","label":' + "[" * 100_000 + "]" * 100_000 + "}", r"nested|deep|label",
            "train.jsonl"),
    refused("latin-1",
            '{"text":"a","label":"x"}\n{"text":"caf\xe9","label":"y"}\n'.encode("latin-1"),
            r"line 2\b", "train.jsonl", mended=[("a", "x"), ("café", "y")]),
]  # fmt: skip


@pytest.mark.parametrize("case", SHAPES)
def test_shapes(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", VALUES)
def test_values(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("case", FAULTS)
def test_faults_name_their_line(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)


@pytest.mark.parametrize("orient", ["columns", "list", "records", "lines", "table"])
def test_what_pandas_writes_is_read(orient: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS * 6, columns=["text", "label"])
    path = tmp_path / "train.json"
    if orient == "list":
        path.write_text(json.dumps(frame.to_dict("list")))
    elif orient == "lines":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_json(path, orient=orient)
    assert rows_of(read(path, {})) == ROWS * 6


def test_splits_in_order_and_columns_out_of_order(tmp_path: Path) -> None:
    # After a filter the index has holes, and "10" comes before "9" where it is a text.
    frame = pd.DataFrame(ROWS * 6, columns=["text", "label"]).iloc[::-3]
    path = tmp_path / "train.json"
    frame.to_json(path)
    assert rows_of(read(path, {})) == list(frame.itertuples(index=False, name=None))


@pytest.mark.parametrize("orient", ["split", "index"])
def test_what_else_pandas_writes_is_read_or_refused(orient: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame(ROWS * 600, columns=["text", "label"])
    path = tmp_path / "train.json"
    frame.to_json(path, orient=orient)
    try:
        assert rows_of(read(path, {})) == ROWS * 600
    except AssertionError:
        raise
    except Exception:
        refusal(path, {})


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 40])
def test_an_array_is_read_piece_by_piece(
    size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [
        '"\\\\',
        "é\u2028\n",
        "😀",
        -1.5e-7,
        float("-inf"),
        float("nan"),
        None,
        True,
        {"a": []},
    ]
    rows = [{"text": text, "label": label, "more": v} for text, label in TWO for v in values]
    path = tmp_path / "train.json"
    path.write_text(json.dumps(rows, indent=1))
    monkeypatch.setattr("textcls.corpus.json_file._PIECE", size)
    corpus = read(path, {"text": ("text",), "label": "label"})
    assert rows_of(corpus) == [TWO[0]] * len(values) + [TWO[1]] * len(values)


def test_a_fault_is_named_without_reading_the_rest_of_an_array(tmp_path: Path) -> None:
    # The end is no UTF-8, which whoever reads it would complain of.
    good = b'{"text": "%s", "label": "x"},\n' % (b"a" * 100)
    path = tmp_path / "train.json"
    path.write_bytes(b"[\n" + good + b'{"text": oops},\n' + good * 40_000 + b"\xff]")
    assert "line 3 is no JSON" in refusal(path, {})
