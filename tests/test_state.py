"""Files of a run folder that were damaged or edited: one line that names the file, or a warning."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from textcls import run
from textcls.config import read_config
from textcls.errors import InputError
from textcls.files import read_epochs
from textcls.report.study import read_study
from textcls.run_folder import alone, check_settings, write_settings
from textcls.sweep import statuses_of_failures

RECORD = {"train": {"loss": 0.5}, "validation": {"loss": 0.5}}


def write_epochs(folder: Path, *epochs: object, end: str = "") -> None:
    lines = [json.dumps(RECORD | {"epoch": epoch}) for epoch in epochs]
    (folder / "epochs.jsonl").write_text("".join(f"{line}\n" for line in lines) + end)


@pytest.mark.parametrize("end", ["", '{"epoch": 3, "tr', '{"epoch": 3\n'])
def test_a_record_that_a_kill_cut_short_is_left_out(end: str, tmp_path: Path) -> None:
    assert read_epochs(tmp_path) == []
    write_epochs(tmp_path, 1, 2, end=end)
    assert [record["epoch"] for record in read_epochs(tmp_path)] == [1, 2]


@pytest.mark.parametrize("epochs", [(2,), (1, 3), (1, 1), (2, 1), (1, None)])
def test_records_are_of_the_epochs_that_they_say(epochs: tuple[object], tmp_path: Path) -> None:
    write_epochs(tmp_path, *epochs)
    with pytest.raises(InputError, match=r"epochs\.jsonl: line [12] is not that of epoch [12]:"):
        read_epochs(tmp_path)


@pytest.mark.parametrize("line", ["5", "[]", "{}", "garbage", "\x00", '{"epoch": 1}'])
def test_a_damaged_record_is_named(line: str, tmp_path: Path) -> None:
    write_epochs(tmp_path, 2)
    text = (tmp_path / "epochs.jsonl").read_text()
    (tmp_path / "epochs.jsonl").write_text(f"{line}\n{text}")
    with pytest.raises(InputError, match=r"epochs\.jsonl: line 1 is "):
        read_epochs(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "5", "{}", '{"test": {}}', '{"test": 5}'])
def test_a_damaged_result_is_one_line(content: str, trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run")
    (tmp_path / "run" / "metrics.json").write_text(content)
    with pytest.raises(InputError, match=r"resume=.*run: its metrics\.json is damaged"):
        run.resume(tmp_path / "run")
    with pytest.raises(InputError, match="damaged"):
        read_study([tmp_path / "run"])


@pytest.mark.parametrize("content", ["", "[]", '{"exit_status": "x"}'])
def test_a_damaged_failure_is_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "failed.json").write_text(content)
    assert statuses_of_failures(tmp_path) == [1]


def edit(old: str, new: str) -> Callable[[str], str]:
    def edited(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return edited


@pytest.mark.parametrize(
    ("change", "is_same"),
    [
        (edit("seed: 1", "seed: 2"), False),
        (edit("batch_size:", "batch_size: 7  #"), False),
        (edit("num_threads: 1", "num_threads: 2"), True),  # it is computed elsewhere
        (edit("seed: 1", "# of mine\nseed: 1"), True),
    ],
)
def test_edited_settings_are_seen(
    change: Callable[[str], str],
    is_same: bool,
    trained: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    device, path = torch.device("cpu"), tmp_path / "config.yaml"
    write_settings(read_config(trained), tmp_path, device)
    check_settings(tmp_path, device)
    path.write_text(change(path.read_text(encoding="utf-8")), encoding="utf-8")
    if is_same:
        check_settings(tmp_path, device)
    else:
        with pytest.raises(InputError, match=r"its config\.yaml was changed since this run began"):
            check_settings(tmp_path, device)
    # What only describes the machine is no reason not to go on.
    (tmp_path / "environment.json").write_text("{")
    check_settings(tmp_path, device)
    assert "environment.json: is missing or damaged: it is written anew" in caplog.text
    assert json.loads((tmp_path / "environment.json").read_text())["python"]


def test_what_a_killed_run_left_is_removed(tmp_path: Path) -> None:
    left = [".metrics.json.12", "checkpoints/.last.safetensors.7", ".model-0123abcd/config.json"]
    others = [".lock", ".mine", ".libx.so.1", "model/config.json", ".git/.a-0123abcd/b"]
    for name in [*left, *others, "config.yaml"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    with alone(tmp_path):
        assert not any((tmp_path / name).exists() for name in [*left, ".model-0123abcd"])
        assert all((tmp_path / name).exists() for name in others)
