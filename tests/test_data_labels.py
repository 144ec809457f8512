"""What the data report says of rows that have any number of labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from textcls import cli

Report = Callable[..., dict[str, Any]]


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Report:
    """Return what ``textcls data --json`` says of rows of labels, as 0 and 1 or as lists."""

    def of(labels: Sequence[Any], *options: str) -> dict[str, Any]:
        rows = [
            {"text": f"text w{i} of these", "labels": own} if not isinstance(own, dict)
            else {"text": f"text w{i} of these"} | own
            for i, own in enumerate(labels)
        ]  # fmt: skip
        path = tmp_path / "train.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        assert cli.main(["data", str(path), "--json", *options]) == 0
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return found

    return of


def said(report: dict[str, Any], part: str) -> bool:
    return any(part in warning for warning in report["warnings"])


GOOD = [[["a", "b"], ["b"], ["c", "a"], []][i % 4] for i in range(400)]


def test_good_labels_have_no_warning_but_that_of_few_test_rows(report: Report) -> None:
    found = report(GOOD)
    assert [w for w in found["warnings"] if "an accuracy measured on so few" not in w] == []
    train = found["splits"]["train"]
    assert train["labels"] == sum(train["by_class"].values())
    assert train["most_labels"] == 2
    assert train["without_label"] == pytest.approx(train["rows"] / 4, rel=0.05)


def test_the_tables_count_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "train.jsonl"
    lines = [json.dumps({"text": f"w{i} x", "labels": own}) for i, own in enumerate(GOOD)]
    path.write_text("\n".join(lines) + "\n")
    assert cli.main(["data", str(path), "--test", str(path), "--validation", str(path)]) == 0
    shown = capsys.readouterr().out
    # 100 rows each of two labels, one, two and none.
    assert ["train", "500", "1.25", "2", "100"] in [line.split() for line in shown.splitlines()]
    assert ["b", "200", "200", "200", "50.0%"] in [line.split() for line in shown.splitlines()]
    assert "with other labels" not in shown
    assert "class" not in shown


def test_what_is_odd_about_labels_is_said(report: Report, tmp_path: Path) -> None:
    assert said(report([[*row, "all"] for row in GOOD]), "rows of train have the label 'all'")
    assert said(report([row if i < 100 else [] for i, row in enumerate(GOOD)]), "have no label")
    single = report([["a", "b"][i % 2] for i in range(100)], "--label-delimiter", ",")
    assert said(single, "no row of train has more than one label")
    assert said(report([*GOOD, ["c", "rare"]]), "train has a single row of 1 of 4 labels ('rare')")
    held = [
        part
        for split in ("--test", "--validation")
        for part in (split, str(tmp_path / "train.jsonl"))
    ]
    names = report([[f"x{i}", f"x{i + 1}"] for i in range(100)], *held)
    assert said(names, "does it hold labels?")


def test_labels_may_be_columns_of_ones_and_zeros(report: Report) -> None:
    rows = [{"a": 1, "b": i % 2, "c": int(i % 3 == 0)} for i in range(300)]
    columns = (part for name in "abc" for part in ("--label-column", name))
    found = report(rows, *columns)
    assert list(found["splits"]["train"]["by_class"]) == ["a", "b", "c"]
    assert said(found, "rows of train have the label 'a'")


def test_the_same_text_with_other_labels_contradicts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "train.jsonl"
    rows = [{"text": f"w{i // 2} x", "labels": own} for i, own in enumerate(GOOD)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert cli.main(["data", str(path), "--test", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert said(found, "of train have a text that other rows have with other labels")


def test_labels_that_are_several_in_one_are_noticed(report: Report) -> None:
    joined = [["drama,comedy", "comedy", "drama", "comedy,war", "war"][i % 5] for i in range(200)]
    assert said(report(joined), "2 of 5 labels look like several in one ('comedy,war', ")
    apart = report(joined, "--label-delimiter", ",")
    assert not said(apart, "look like several")
    assert list(apart["splits"]["train"]["by_class"]) == ["comedy", "drama", "war"]
    assert not said(report(["news, tech", "sports"] * 50), "look like several")
