from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import make_config, shared, write_csv, write_files
from tests.test_facts import CONFIG, GOOD, LABELS, count
from textcls import run as running
from textcls.cli import main
from textcls.cli.data import configuration
from textcls.data.checks import find_mistakes
from textcls.data.prepare import prepare
from textcls.report.data import as_markdown, log_lines


def facts_of(label_names: tuple[str, ...] = LABELS) -> dict[str, Any]:
    splits = count(GOOD, CONFIG)
    for own in splits.values():
        own["by_class"] = dict(zip(label_names, own["by_class"].values(), strict=True))
    file = {
        "path": "folder/train.csv", "format": "csv", "rows": 240,
        "columns": ["id", "text", "label"], "compression": "gzip", "encoding": "latin-1",
        "delimiter": "\t", "quoting": "double", "header": False, "multiline": 3, "notes": [],
    }  # fmt: skip
    return {
        "columns": {"text": ["text"], "label": ["label"], "left": ["id"]},
        "files": {"train": [file] * 5},
        "splits": splits,
        "vocabulary": 99,
        "notes": ["3 labels were stripped"],
    }


def test_the_log_says_what_was_read_in_few_lines() -> None:
    lines = log_lines(facts_of())
    assert lines[0] == (
        "train: folder/train.csv: csv, gzip, delimiter tab, quoting double, no header, latin-1, "
        "240 rows, 3 fields of several lines"
    )
    assert lines[3] == "train: … and 2 more files, 1,200 rows in all"
    assert lines[4] == "text from 'text', label from 'label', not used: 'id'"
    assert lines[5] == "3 classes, by share of train: a 33.3%, b 33.3%, c 33.3%"
    assert len({len(line) for line in lines[6:10]}) == 1  # a table, aligned
    assert lines[9].split() == ["test", "120", "0", "0", "0", "5", "5", "5", "20.0%"]
    assert lines[-1] == "3 labels were stripped"


def test_names_cannot_break_the_report() -> None:
    facts = facts_of(("a|b\x1b[1m", "<script>", "e\nf"))
    facts["columns"]["text"] = ["te|xt\x1b[2J"]
    facts["notes"] = ["<b>\x1b\n# heading"]
    for line in log_lines(facts):
        assert "\x1b" not in line
        assert "\n" not in line
    shown = as_markdown(facts, ["<i>"])
    assert "\x1b" not in shown
    for escaped in ("<script>", "<b>", "<i>", "\n#"):
        assert escaped not in shown
    rows = [line for line in shown.splitlines() if line.startswith("| ")]
    assert {line.replace("\\|", "").count("|") for line in rows} == {4, 6, 10}
    assert "folder/" not in shown  # a card travels: where files were on this machine does not


def test_a_run_reports_its_data_everywhere(tmp_path: Path, cache_dir: Path) -> None:
    files = write_files(tmp_path)
    with open(tmp_path / "test.csv", "a") as test:  # a row of train, and an empty text
        test.write((tmp_path / "train.csv").read_text().splitlines()[1] + "\n,bad\n")
    config = make_config(*files, f"cache_dir={cache_dir}", "trainer.epochs=1")
    for name in ("first", "again"):  # out of the cache as well
        run = tmp_path / name
        running.start(config, run)
        log = (run / "train.log").read_text(encoding="utf-8")
        written = json.loads((run / "data.json").read_text(encoding="utf-8"))
        assert written["splits"]["test"]["rows"] == 42
        assert written["splits"]["test"]["empty"] == 1
        leak = next(w for w in written["warnings"] if "same texts as rows of train" in w)
        assert f"WARNING {leak}" in log
        assert "no text" in log
        events = EventAccumulator(str(run), {"tensors": 0}).Reload()
        (shown,) = events.Tensors("data/text_summary")
        text = shown.tensor_proto.string_val[0].decode()
        card = ModelCard.load(run / "model" / "README.md").text
        for part in (text, card):
            assert "Text from 'text', label from 'label'." in part
            assert (
                "| test | test.csv | csv, delimiter ',', quoting double, utf-8, 42 rows |" in part
            )
            assert "| test | 42 | 1 |" in part
            assert "| good | 54 | 6 | 21 | 50.0% |" in part
            assert leak in part
    assert "(cached)" in log


def test_a_moved_file_is_reported_where_it_is(tmp_path: Path, cache_dir: Path) -> None:
    write_files(tmp_path)
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        for name in ("train.csv", "test.csv"):
            (tmp_path / place / name).write_bytes((tmp_path / name).read_bytes())
        train, test = (tmp_path / place / name for name in ("train.csv", "test.csv"))
        config = make_config(
            "data=local", f"data.train={train}", f"data.test={test}", f"cache_dir={cache_dir}",
            "trainer.epochs=1",
        )  # fmt: skip
        running.start(config, tmp_path / place / "run")
        written = json.loads((tmp_path / place / "run" / "data.json").read_text(encoding="utf-8"))
        assert [file["path"] for file in written["files"]["train"]] == [str(train)]
        assert f"validation: 12 rows of {train}, held out by label" in written["notes"]


def test_a_warning_is_told_as_one_on_the_terminal(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config(*write_files(tmp_path), f"cache_dir={cache_dir}", "trainer.epochs=1")
    running.start(config, tmp_path / "run")
    printed = capsys.readouterr().out.splitlines()
    assert any(line.startswith("warning: test has 40 rows: an accuracy") for line in printed)


def test_the_mend_for_texts_without_spaces_works_as_printed(
    cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = shared("chn_hotel/train.parquet")
    assert json.loads(data(path, "--json", capsys=capsys))["warnings"] == []  # by tokenizer=basic
    config = make_config("data=local", f"data.train={path}")
    prepared = prepare(config.data, config.tokenizer, cache_dir)
    (warning,) = find_mistakes(prepared.facts, config.tokenizer)
    mend = warning.partition(" use ")[2].split()
    config = make_config("data=local", f"data.train={path}", *mend)
    prepared = prepare(config.data, config.tokenizer, cache_dir)
    assert find_mistakes(prepared.facts, config.tokenizer) == []


# --- textcls data ----------------------------------------------------------------------------


def data(*arguments: Any, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["data", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_the_command_reports_what_training_would(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = write_files(tmp_path)
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    printed = data(train, "--test", test, "--json", capsys=capsys)
    assert printed.count("\n") == 1
    shown = json.loads(printed)
    first = shown.pop("first_rows")
    assert first[0] == {"label": "good", "text": "item 0 was great and great"}
    running.start(
        make_config(*files, f"cache_dir={cache_dir}", "trainer.epochs=1"), tmp_path / "run"
    )
    assert shown == json.loads((tmp_path / "run" / "data.json").read_text(encoding="utf-8"))


def test_the_command_assumes_the_defaults_of_training() -> None:
    config = make_config("data=local", "data.train=a.csv", "data.test=b.csv")
    default = make_config("experiment=null").tokenizer.name
    tokenizer = dataclasses.replace(config.tokenizer, name=default)  # what it counts is words
    assert configuration("a.csv", None, "b.csv", {}) == (config.data, tokenizer)


def test_the_command_shows_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "reviews.csv"
    lines = (f"{'Good' if i % 2 else 'good'};the {i}th \x1b[1m日本 text;{i}" for i in range(60))
    path.write_text("\n".join(["stars;review;id", *lines]), encoding="utf-8")
    printed = data(
        path, "--delimiter", ";", "--text-column", "review", "--label-column", "stars",
        capsys=capsys,
    )  # fmt: skip
    for said in ("label from 'stars', not used: 'id'", "delimiter ';'", "日本 text"):
        assert said in printed
    alike = "the labels 'Good', 'good' look alike, and are different classes: make them one"
    assert f"warning: {alike}" in printed.splitlines()  # whatever the terminal's width
    assert "\x1b[1m日" not in printed


def test_several_files_are_reported_each_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [write_csv(tmp_path / f"{rows}.csv", rows) for rows in (60, 80)]
    rows = [
        json.loads(line)["splits"] for line in data(*paths, "--json", capsys=capsys).splitlines()
    ]
    assert [sum(own["rows"] for own in splits.values()) for splits in rows] == [60, 80]


def test_warnings_name_the_commands_own_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.csv"
    rows = "".join(f"{'the same text' if i % 3 else i},{'ab'[i % 2]}\n" for i in range(90))
    path.write_text(f"text,label\n{rows}")
    shown = json.loads(data(path, "--json", capsys=capsys))
    assert any("(--text-column COLUMN)" in warning for warning in shown["warnings"])
    assert not any("data." in warning for warning in shown["warnings"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("absent.csv",), "absent.csv: there is no such file"),
        (("a.csv", "--test", "absent.csv"), "--test absent.csv: there is no such file"),
        (("a.csv", "--label-column", "x"), "--label-column x"),
        (("a.csv", "--label-names", "x,x"), "--label-names gives one name to two labels"),
        (("a.csv", "--columns", ","), "'--columns': there is no name in it"),
        (("a.csv", "--columns", "a\nb"), "'--columns': names are in one line"),
        (("a.csv", "--test", ""), "--test '': names no file"),
        (("",), "'' names no file"),
        ((), "Missing argument"),
    ],
)
def test_bad_input_is_said_in_one_line(
    arguments: tuple[str, ...],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_csv(tmp_path / "a.csv", 60)
    assert main(["data", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert said in captured.err
