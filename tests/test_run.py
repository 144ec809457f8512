"""Runs in this process: what a whole command would take longer to show."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_config, with_options, write_files
from textcls import run
from textcls.config import Config
from textcls.errors import TextclsError
from textcls.files import read_epochs


@pytest.fixture
def config(tmp_path: Path, cache_dir: Path) -> Config:
    made = make_config(*write_files(tmp_path), f"cache_dir={cache_dir}", "trainer.num_threads=1")
    return with_options(made, "trainer", epochs=4)


class PowerCutError(BaseException):
    """Ends a run where it strikes."""


def cut_before_the_test(config: Config, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Train, and end before anything is tested."""

    def strike(*_: Any) -> None:
        raise PowerCutError

    with monkeypatch.context() as patched:
        patched.setattr(run, "write_result", strike)
        with pytest.raises(PowerCutError):
            run.start(config, folder)


@pytest.mark.parametrize("lost", ["the first", "the best"])
def test_the_best_epoch_is_found_by_its_number(
    lost: str, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run.start(config, tmp_path / "whole")
    folder = tmp_path / "cut"
    cut_before_the_test(config, folder, monkeypatch)
    records = read_epochs(folder)
    assert whole["validation"] == records[whole["best_epoch"] - 1]["validation"]
    number = 1 if lost == "the first" else whole["best_epoch"]
    lines = [json.dumps(record) + "\n" for record in records if record["epoch"] != number]
    (folder / "epochs.jsonl").write_text("".join(lines), encoding="utf-8")
    resumed = run.resume(folder)
    assert resumed["best_epoch"] == whole["best_epoch"]
    assert resumed["validation"] == whole["validation"]


def test_weights_that_could_not_be_read_again_end_the_run(config: Config, tmp_path: Path) -> None:
    config = with_options(config, "optimizer", name="sgd", lr=1e13)
    with pytest.raises(TextclsError, match=r"is not finite, or beyond 1e\+09: lower optimizer.lr"):
        run.start(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "run" / "model").exists()


def test_a_finished_run_keeps_no_checkpoint(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_before_the_test(config, tmp_path / "run", monkeypatch)
    assert (tmp_path / "run" / "checkpoints" / "last.safetensors").exists()
    run.resume(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()
