"""A search by the real command, and what it leaves in its folder."""

from __future__ import annotations

import dataclasses
import json
import shutil
import signal
import subprocess
from pathlib import Path

import optuna
import pytest
import safetensors.torch
import torch
import yaml
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import (
    Run,
    make_config,
    one_line,
    run_cold,
    start_train,
    wait_for_epochs,
    write_files,
)
from tests.tuning.searches import rows_of, tiny_space
from textcls import run
from textcls.config import parse, read_config
from textcls.errors import InputError, TakenError
from textcls.tuning import search
from textcls.tuning.space import parse_tuning

TINY = [
    "tune=default", "~tune.space.tokenizer", "trainer.epochs=3", "tune.space.trainer.epochs.high=4",
]  # fmt: skip


def trials_of(folder: Path) -> list[optuna.trial.FrozenTrial]:
    storage = f"sqlite:///{folder / 'study.db'}"
    return optuna.load_study(study_name="tune", storage=storage).trials


def command_of(printed: str) -> list[str]:
    """Return the arguments of the command line that a search has found."""
    line = next(line for line in printed.splitlines() if line.startswith("python train.py "))
    return line.split()[2:]


Search = tuple[Path, "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Search:
    """A whole search of six trials."""
    tmp = tmp_path_factory.mktemp("searched")
    result = run_cold(
        [*TINY, "tune.trials=6", *write_files(tmp), "trainer.batch_size=16", "run_dir=search"],
        tmp, cache_dir,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return tmp / "search", result


def test_a_search_records_its_trials(searched: Search) -> None:
    folder, result = searched
    rows = rows_of(folder)
    assert [row["trial"] for row in rows] == [str(number) for number in range(6)]
    given = {"model.mode": "sqrtn", "optimizer.lr": "1.0", "trainer.label_smoothing": "0.1"}
    assert "trainer.epochs" in rows[0]
    assert "model.dim" not in rows[0]  # class scores, which have none
    assert {key: rows[0][key] for key in given} == given
    lines = [line for line in result.stdout.splitlines() if line.startswith("trial ")]
    assert "(as given)" in lines[0]
    assert sum("accuracy" in line and "epochs=" in line for line in lines) >= 6
    assert "6 trials: " in result.stdout
    assert "[I " not in result.stdout  # Optuna's own lines
    assert (folder / "history.png").stat().st_size > 1000
    assert (folder / "tune.log").read_text().count("trial ") >= 6


def test_trials_keep_their_record_but_no_weights_and_no_test(searched: Search) -> None:
    folder, _ = searched
    for row in rows_of(folder):
        trial = folder / "trials" / f"{int(row['trial']):04d}"
        config = parse(yaml.safe_load((trial / "config.yaml").read_text()))
        assert config.model.mode == row["model.mode"]
        assert str(config.model.dim) == "classes"
        epochs = [json.loads(line) for line in (trial / "epochs.jsonl").read_text().splitlines()]
        assert len(epochs) == int(row["epochs"])
        # What trainer.refit keeps is the whole schedule.
        assert epochs[-1]["validation"]["accuracy"] == float(row["accuracy"])
        assert not list(trial.rglob("*.safetensors"))
        assert not (trial / "metrics.json").exists()
        assert not any("test" in epoch for epoch in epochs)
        if row["end"] == "done":
            events = EventAccumulator(str(trial))
            events.Reload()
            (point,) = events.Scalars("validation/accuracy")
            assert point.value == pytest.approx(float(row["accuracy"]))


def test_the_best_is_what_its_command_line_gives(
    searched: Search, run_train: Run, tmp_path: Path
) -> None:
    folder, result = searched
    metrics = json.loads((folder / "best" / "metrics.json").read_text())
    best = max(float(row["accuracy"]) for row in rows_of(folder))
    assert metrics["validation"]["accuracy"] == best  # what its trial had
    assert best >= float(rows_of(folder)[0]["accuracy"])
    assert f"test accuracy {metrics['test']['accuracy']:.4f}" in result.stdout
    arguments = command_of(result.stdout)
    assert "trainer.batch_size=16" in arguments
    again = run_train(*arguments, "run_dir=again")
    assert again.returncode == 0, again.stderr
    weights = [
        safetensors.torch.load_file(path / "model" / "model.safetensors")
        for path in (folder / "best", tmp_path / "again")
    ]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])
    assert json.loads((tmp_path / "again/metrics.json").read_text())["test"] == metrics["test"]


def test_without_an_epoch_in_time_there_is_one_line(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    result = run_train(*files, *TINY, "tune.seconds=0.000001", "run_dir=search")
    assert result.returncode == 1
    assert "within tune.seconds=1e-06: give it more" in one_line(result)


@pytest.mark.parametrize(
    "signum",
    [
        signal.SIGTERM,
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGKILL, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_search_goes_on(
    signum: signal.Signals, files: list[str], run_train: Run, tmp_path: Path, cache_dir: Path
) -> None:
    slow = ["tune=default", "tune.seconds=100", "~tune.space.tokenizer", "~tune.space.trainer",
            "trainer.epochs=30", "trainer.batch_size=4", "run_dir=search"]  # fmt: skip
    child = start_train([*files, *slow], tmp_path, cache_dir)
    wait_for_epochs(tmp_path / "search" / "trials" / "0000", child)
    child.send_signal(signum)
    _, err = child.communicate(timeout=60)
    if signum == signal.SIGKILL:
        assert child.returncode == -signum
    else:
        assert child.returncode == 128 + signum
        assert err.strip() == f"error: stopped by {signum.name}: go on with resume=search"
    (first,) = trials_of(tmp_path / "search")
    assert first.user_attrs.get("end") == (None if signum == signal.SIGKILL else "cut")
    if signum == signal.SIGTERM:  # goes on as after SIGINT
        return

    # With less to do: this would take as long as it may.
    again = run_train(*files, *slow, "tune.trials=1")
    assert again.returncode == 0, again.stderr
    before, after = trials_of(tmp_path / "search")
    assert (before.number, after.number) == (0, 1)
    assert before.state in (TrialState.FAIL, TrialState.PRUNED)
    # The configuration as given had not come to its end: it goes first.
    assert after.user_attrs["given"]
    assert after.user_attrs["end"] == "done"
    assert [row["end"] for row in rows_of(tmp_path / "search")][1] == "done"

    if signum == signal.SIGINT:  # and on, by the settings in its folder
        assert run_train("resume=search").returncode == 0
        assert len(trials_of(tmp_path / "search")) == 3


def test_a_search_goes_on_with_what_it_began_with_only(searched: Search, run_train: Run) -> None:
    folder, _ = searched
    before = (folder / "trials.csv").read_bytes()
    config = read_config(folder)
    settings = yaml.safe_load((folder / "tune.yaml").read_text())["tune"]
    tuning = parse_tuning(settings)
    with pytest.raises(TakenError, match="seed is 1 there, 7 now"):
        search.start(dataclasses.replace(config, seed=7), tuning, folder, [])
    for space in ({**tuning.space, "model.dim": (8,)}, {"model.mode": tuning.space["model.mode"]}):
        changed = dataclasses.replace(tuning, space=space)
        with pytest.raises(TakenError, match=r"holds a search of another tune\.space\.model\.d"):
            search.start(config, changed, folder, [])
    with pytest.raises(TakenError, match=r"holds a run already \(metrics\.json\)"):
        search.start(config, tuning, folder / "best", [])
    with pytest.raises(TakenError, match=r"holds a run already \(tune\.yaml\)"):
        run.start(config, folder)
    assert (folder / "trials.csv").read_bytes() == before
    again = run_train(f"resume={folder}", "tune=default")
    assert again.returncode == 2
    assert "leave out tune=default" in one_line(again)


@pytest.mark.slow
def test_two_processes_share_a_search(files: list[str], tmp_path: Path, cache_dir: Path) -> None:
    command = [*TINY, *files, "tune.trials=5", "run_dir=od{d} ?#%20"]
    children = [start_train(command, tmp_path, cache_dir) for _ in range(2)]
    for child in children:
        _, err = child.communicate(timeout=120)
        assert child.returncode == 0, err
    folder = tmp_path / "od{d} ?#%20"
    rows = rows_of(folder)
    assert [int(row["trial"]) for row in rows] == list(range(10))
    assert {row["end"] for row in rows} <= {"done", "pruned"}
    settings = [tuple(row.values())[6:] for row in rows]
    assert len(set(settings)) == 10
    best = max(float(row["accuracy"]) for row in rows)
    metrics = json.loads((folder / "best" / "metrics.json").read_text())
    assert metrics["validation"]["accuracy"] == best


def test_a_damaged_search_is_told(searched: Search, tmp_path: Path) -> None:
    for name in ("study.db", "tune.yaml"):
        folder = tmp_path / name.replace(".", "_")
        shutil.copytree(searched[0], folder)
        (folder / name).write_text("damaged")
        with pytest.raises(InputError, match=rf"{name}:? is damaged"):
            search.resume(folder)


def test_a_bad_search_is_refused_before_any_work(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    result = run_train(*files, *TINY, "tune.space.model.dim=[0]", "run_dir=search")
    assert result.returncode == 2
    assert "tune.space.model.dim: 0: " in one_line(result)
    assert not (tmp_path / "search").exists()
    result = run_train("tune.seconds=60")
    assert "tune.seconds=60 is for a search: add tune=default" in one_line(result)
    with pytest.raises(InputError, match=r"gone\.csv: there is no such file"):
        search.start(
            make_config("data=local", "data.train=gone.csv"), tiny_space(), tmp_path / "search", []
        )


@pytest.mark.slow
def test_a_sweep_of_searches_compares_what_each_has_found(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    command = ["experiment=pooling", *files, *TINY, "tune.trials=2", "model.mode=mean,max",
               "seed=1", "run_dir=sweep"]  # fmt: skip
    result = run_train(*command)
    assert result.returncode == 0, result.stderr
    for mode in ("mean", "max"):
        folder = tmp_path / "sweep" / f"mode={mode}"
        rows = rows_of(folder)
        assert len(rows) == 2
        assert "model.mode" not in rows[0]
        assert read_config(folder / "best").model.mode == mode
    table = (tmp_path / "sweep" / "compare" / "table.csv").read_text()
    assert len(table.splitlines()) == 3
    again = run_train(*command)
    assert again.stdout.count(" is finished") == 2
    assert len(rows_of(tmp_path / "sweep" / "mode=max")) == 2


def test_without_optuna_there_is_one_line(files: list[str], run_train: Run, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['optuna'] = None\n")
    result = run_train(*files, *TINY, "run_dir=search", env={"PYTHONPATH": str(tmp_path)})
    assert result.returncode == 2
    assert "pip install 'textcls[tune]'" in one_line(result)
