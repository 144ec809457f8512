"""Runs in this process: what a whole command would take longer to show."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.conftest import make_config, with_options, write_files
from textcls import fitting, result, run, run_corpus, trainings
from textcls.config import Config
from textcls.data.targets import Targets
from textcls.errors import Interrupted, TextclsError
from textcls.files import read_epochs
from textcls.model.folder import load_model
from textcls.task.scores import Scores
from textcls.task.single import SingleLabel
from textcls.training import checkpoint
from textcls.training.checkpoint import Checkpoints, Progress
from textcls.training.loop import fit
from textcls.training.tracking import Listener
from textcls.values import Monitor


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


def test_the_best_epoch_is_kept(config: Config, tmp_path: Path) -> None:
    found = run.start(config, tmp_path / "run")
    records = read_epochs(tmp_path / "run")
    accuracies = [record["validation"]["accuracy"] for record in records]
    assert found["best_epoch"] == accuracies.index(max(accuracies)) + 1
    assert found["validation"] == records[found["best_epoch"] - 1]["validation"]
    assert found["fitted_on"] == {"train": 108, "validation": 0}


def test_weights_that_could_not_be_read_again_end_the_run(config: Config, tmp_path: Path) -> None:
    config = with_options(config, "optimizer", name="sgd", lr=1e13)
    config = with_options(config, "trainer", epochs=1)
    with pytest.raises(TextclsError, match=r"is not finite, or beyond 1e\+09: lower optimizer.lr"):
        run.start(config, tmp_path / "run")
    assert not (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "run" / "model").exists()


# --- trainings on all rows --------------------------------------------------------------------


def test_a_refitted_model_is_that_of_one_training_on_all_rows(
    config: Config, tmp_path: Path
) -> None:
    """The oracle: train on both files as one, without a choice of epochs."""
    data = dataclasses.replace(config.data, validation=config.data.test)
    config = dataclasses.replace(with_options(config, "trainer", refit=True), data=data)
    found = run.start(config, tmp_path / "run")
    assert found["fitted_on"] == {"train": 120, "validation": 40}
    assert found["best_epoch"] == found["epochs"] == 4
    assert len(read_epochs(tmp_path / "run")) == len(read_epochs(tmp_path / "run" / "refit")) == 4
    assert found["validation"] == read_epochs(tmp_path / "run")[-1]["validation"]
    card = (tmp_path / "run" / "model" / "README.md").read_text(encoding="utf-8")
    assert "then trained anew for 4 epochs on 160 rows" in card

    rows = [Path(str(path)).read_text(encoding="utf-8") for path in (data.train, data.test)]
    both = tmp_path / "both.csv"
    both.write_text(rows[0] + rows[1].partition("\n")[2], encoding="utf-8")
    data = dataclasses.replace(data, train=str(both), validation=data.test)
    config = dataclasses.replace(with_options(config, "trainer", refit=False), data=data)
    prepared = run_corpus.corpus(config)
    model = trainings.build(config, prepared, torch.device("cpu"))
    fit(model, prepared.train, None, prepared.label_names, config, Checkpoints(), Listener())
    parts = load_model(tmp_path / "run")
    assert parts.encoder.vocabulary.to_json() == prepared.encoder.vocabulary.to_json()
    for name, value in parts.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name])


@pytest.mark.parametrize(
    ("monitor", "best", "best_epoch", "expected"),
    [
        ("accuracy", 0.87, 4, 6),  # the last is 0.8, its standard error 0.04
        ("accuracy", 0.89, 4, 4),
        ("accuracy", 0.89, 1, 3),
        ("macro_f1", 0.89, 4, 4),
        ("loss", 0.27, 4, 6),  # the last is 0.46, its standard error 0.10
        ("loss", 0.25, 4, 4),
    ],
)
def test_the_schedule_is_shortened_for_more_than_two_standard_errors(
    monitor: Monitor, best: float, best_epoch: int, expected: int
) -> None:
    labels = torch.arange(100) % 2
    said = torch.where(torch.arange(100) < 80, labels, 1 - labels)
    # Right with 0.9, wrong with 0.1: cross-entropies of 0.11 and 2.30.
    logits = torch.where(F.one_hot(said) > 0, 0.9, 0.1).log()
    if monitor == "loss":
        losses = np.array([-math.log(0.9)] * 80 + [-math.log(0.1)] * 20)
        best += losses.mean() - 0.46 + 2 * (0.1 - losses.std() / 10)
    progress = Progress(epoch=6, best_epoch=best_epoch, best_value=best)
    found = SingleLabel().assess(Scores.of(logits), Targets(labels), ("a", "b"))
    assert fitting.choose_epochs(monitor, progress, found) == expected


def test_a_shortened_schedule_ends_at_zero(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fitting, "choose_epochs", lambda *_: 2)
    config = with_options(config, "trainer", refit=True)
    found = run.start(config, tmp_path / "run")
    assert (found["epochs"], found["best_epoch"]) == (4, 2)
    assert [r["learning_rate"] for r in read_epochs(tmp_path / "run" / "refit")] == [0.15, 0.0]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_run_goes_on_in_any_of_its_trainings(
    number: int, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = with_options(config, "trainer", refit=True, ensemble=2)
    whole = run.start(config, tmp_path / "whole")
    real: Any = fit
    calls = []

    def stopped(model: Any, train: Any, validation: Any, *others: Any) -> Any:
        calls.append(validation)
        if len(calls) == number:
            inner = others[3].epoch

            def epoch(record: dict[str, Any], progress: Any) -> None:
                inner(record, progress)
                if progress.epoch == 2:
                    raise Interrupted(2)

            others[3].epoch = epoch
        return real(model, train, validation, *others)

    with monkeypatch.context() as patched:
        patched.setattr(trainings, "fit", stopped)
        with pytest.raises(Interrupted):
            run.start(config, tmp_path / "cut")
    resumed = run.resume(tmp_path / "cut")
    for key in ("test", "validation", "epochs", "best_epoch", "fitted_on"):
        assert resumed[key] == whole[key]
    for place in (".", "refit", "refit/seed=2"):
        numbers = [one["epoch"] for one in read_epochs(tmp_path / "cut" / place)]
        assert numbers == [1, 2, 3, 4]
    weights = [load_model(tmp_path / name).model.state_dict() for name in ("whole", "cut")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_judging_by_rows_that_were_learned_is_said(
    config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run.start(with_options(config, "trainer", refit=True), tmp_path / "run")
    bags = run_corpus.validation_split(tmp_path / "run")
    assert "has learned from the validation split" in caplog.text
    parts = load_model(tmp_path / "run")
    assert bags.num_embeddings == parts.model.embedding.num_embeddings
    assert len(bags) == 12


def test_a_finished_run_keeps_no_checkpoint(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "SAVE_AFTER", 0)
    cut_before_the_test(config, tmp_path / "run", monkeypatch)
    assert (tmp_path / "run" / "checkpoints" / checkpoint.LAST).exists()
    run.resume(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.json").exists()
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_a_picture_that_fails_is_left_out_alone(
    config: Config,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    finished = tmp_path / "run" / "metrics.json"

    def strike(*_: Any) -> None:
        assert finished.exists()  # before anything is drawn
        raise MemoryError("Unable to allocate 74.5 GiB\nfor a matrix")

    monkeypatch.setattr(result, "drawn", strike)
    found = run.start(with_options(config, "trainer", epochs=1), tmp_path / "run")
    assert json.loads(finished.read_text(encoding="utf-8"))["test"] == found["test"]
    warnings = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert [line for line in warnings if "left out" in line] == [
        "the picture of the test result: is left out (Unable to allocate 74.5 GiB)"
    ]
    assert (tmp_path / "run" / "calibration.png").exists()
    assert (tmp_path / "run" / "projector").exists()
