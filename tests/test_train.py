"""The real command, as a user runs it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests import warm
from tests.conftest import (
    PROJECT,
    Run,
    one_line,
    run_cold,
    start_train,
    train_environment,
    wait_for_epochs,
    write_csv,
)
from textcls import Classifier
from textcls.config import parse
from textcls.corpus.corpus import Source
from textcls.files import read_epochs


def metrics_of(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return result


def read_events(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0, "scalars": 0})
    events.Reload()
    return events


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, cache_dir: Path
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A run by the names that other things are built on."""
    tmp = tmp_path_factory.mktemp("finished")
    train = write_csv(tmp / "train.csv", 120)
    test = write_csv(tmp / "test.csv", 40, shift=1)
    result = run_cold(
        ["data=local", f"data.train={train}", f"data.test={test}", f"data.validation={test}",
         "data.text=text", "data.label=label", "model.mode=mean", "model.dim=32", "seed=1",
         f"run_dir={tmp / 'run'}"],
        tmp, cache_dir,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return tmp / "run", result


Finished = tuple[Path, "subprocess.CompletedProcess[str]"]


def test_metrics_have_their_fixed_names(finished: Finished) -> None:
    metrics = metrics_of(finished[0])
    assert metrics["test"]["accuracy"] > 0.9
    for name in ("accuracy", "macro_f1", "loss"):
        assert isinstance(metrics["test"][name], float)
    for name in ("train_seconds", "prepare_seconds", "tokens_per_second"):
        assert metrics[name] > 0
    assert metrics["epochs"] == len((finished[0] / "epochs.jsonl").read_text().splitlines())


def test_the_run_folder_holds_what_it_should(finished: Finished) -> None:
    folder = finished[0]
    names = {path.name for path in folder.iterdir()}
    assert {"config.yaml", "environment.json", "metrics.json", "epochs.jsonl", "train.log",
            "model", "confusion_matrix.png", "train", "validation"} <= names  # fmt: skip
    assert "checkpoints" not in names  # nothing goes on from a finished run
    config = parse(yaml.safe_load((folder / "config.yaml").read_text()))
    assert (config.model.dim, config.seed) == (32, 1)
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["packages"]["torch"].startswith(torch.__version__.split("+")[0])
    assert "model.dim=32" in environment["command"]
    record = json.loads((folder / "epochs.jsonl").read_text().splitlines()[0])
    for split in ("train", "validation"):
        assert {"loss", "accuracy", "macro_f1", "per_class", "confusion"} <= record[split].keys()
    assert "validation loss" in (folder / "train.log").read_text()
    assert [name for name in names if name.startswith(".")] == [".lock"]


def test_what_the_user_sees_at_the_end(finished: Finished) -> None:
    folder, result = finished
    assert "test accuracy" in result.stdout
    assert "confusion matrix" in result.stdout
    assert f"run folder   {folder}" in result.stdout
    assert f"tensorboard --logdir {folder.parent}" in result.stdout
    assert result.stdout.count("epoch ") >= metrics_of(folder)["epochs"]
    assert "\x1b" not in result.stdout  # no terminal, no control codes
    assert result.stderr == ""


def test_a_finished_run_predicts_the_same_in_python(finished: Finished) -> None:
    folder = finished[0]
    classifier = Classifier.load(folder)
    config = parse(yaml.safe_load((folder / "config.yaml").read_text()))
    test = Source(config.data).read().test
    probabilities = classifier.predict_proba(test.texts.to_pylist())
    expected = metrics_of(folder)["test"]
    assert (probabilities.argmax(1) == test.labels.ids).mean() == expected["accuracy"]
    picked = probabilities[np.arange(len(test)), test.labels.ids]
    assert -np.log(picked.astype(np.float64)).mean() == pytest.approx(expected["loss"], abs=1e-6)


def test_tensorboard_reads_it_all_back(finished: Finished) -> None:
    folder = finished[0]
    epochs = [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]
    for split in ("train", "validation"):
        events = read_events(folder / split)
        for name in ("loss", "accuracy", "macro_f1"):
            points = [(point.step, point.value) for point in events.Scalars(name)]
            expected = [(record["epoch"], record[split][name]) for record in epochs]
            assert points == [(step, pytest.approx(value)) for step, value in expected]
    assert read_events(folder / "train").Scalars("learning_rate")
    root = read_events(folder)
    final = {tag: root.Scalars(tag)[0].value for tag in root.Tags()["scalars"]}
    assert final["test/accuracy"] == pytest.approx(metrics_of(folder)["test"]["accuracy"])
    assert root.Images("confusion_matrix/test")[0].width > 100
    tensors = root.Tags()["tensors"]
    assert "precision_recall/good" in tensors
    assert root.SummaryMetadata("precision_recall/good").plugin_data.plugin_name == "pr_curves"
    summaries = [p.name for p in folder.glob("events*")]
    assert summaries
    hparams = b"".join(path.read_bytes() for path in folder.glob("events*"))
    assert b"_hparams_/session_start_info" in hparams
    assert b"model.mode" in hparams
    projector = folder / "projector"
    assert "projector/tokens/tensors.tsv" in (folder / "projector_config.pbtxt").read_text()
    rows = next(projector.rglob("metadata.tsv")).read_text(encoding="utf-8").splitlines()
    assert rows[0].split("\t") == ["token", "count", "class"]
    assert len(next(projector.rglob("tensors.tsv")).read_text().splitlines()) == len(rows) - 1


@pytest.mark.slow
def test_run_folders_never_overwrite_each_other(
    finished: Finished, files: list[str], run_train: Run, tmp_path: Path
) -> None:
    before = (finished[0] / "metrics.json").read_bytes()
    result = run_train(*files, f"run_dir={finished[0]}")
    assert result.returncode == 2
    assert "holds a run already" in one_line(result)
    assert (finished[0] / "metrics.json").read_bytes() == before
    for _ in range(2):
        assert run_train(*files, "trainer.epochs=1").returncode == 0
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_the_demo_needs_nothing_but_the_command(run_train: Run, tmp_path: Path) -> None:
    result = run_train("trainer.epochs=2", "run_dir=demo")
    assert result.returncode == 0, result.stderr
    assert metrics_of(tmp_path / "demo")["test"]["accuracy"] > 0.7


# --- interruption ------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_imports_nothing_slow(files: list[str], tmp_path: Path) -> None:
    """Each of these takes longer to import than most trainings take; see CONTRIBUTING."""
    slow = (
        "torch._dynamo", "sklearn", "scipy", "datasets", "pandas", "torchtext", "matplotlib.pyplot",
        "optuna",
    )  # fmt: skip
    code = (
        "import atexit, runpy, sys\n"
        f"tell = lambda: print('imported:', *(n for n in {slow} if n in sys.modules))\n"
        f"atexit.register(tell); runpy.run_path({str(PROJECT / 'train.py')!r}, None, '__main__')"
    )
    for is_warm in (False, True):
        result = subprocess.run(
            [sys.executable, "-c", code, *files, "trainer.epochs=1", f"run_dir=run-{is_warm}"],
            cwd=tmp_path,
            env=train_environment(tmp_path / "cache") | {"PYTHONPATH": str(PROJECT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert result.returncode == 0, result.stderr
        assert ("(cached)" in result.stdout) == is_warm
        assert result.stdout.splitlines()[-1] == "imported:"


@pytest.mark.parametrize(
    ("signum", "mode"),
    [
        pytest.param(signal.SIGINT, "mean+max", marks=pytest.mark.slow),
        (signal.SIGTERM, "weighted_sum"),
        pytest.param(signal.SIGKILL, "mean", marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_goes_on_to_the_same_weights(
    signum: signal.Signals,
    mode: str,
    files: list[str],
    run_train: Run,
    tmp_path: Path,
    cache_dir: Path,
) -> None:
    slow = ["trainer.epochs=24", "trainer.batch_size=4", "model.dropout=0.2", f"model.mode={mode}"]
    child = start_train([*files, *slow, "run_dir=cut"], tmp_path, cache_dir)
    wait_for_epochs(tmp_path / "cut", child)
    child.send_signal(signum)
    _, err = child.communicate(timeout=60)
    if signum != signal.SIGKILL:
        assert child.returncode == 128 + signum
        assert err.strip() == f"error: stopped by {signum.name}: go on with resume=cut"
    assert not (tmp_path / "cut" / "metrics.json").exists()
    # What was written is readable, the model of the best epoch so far included. (In the first
    # seconds none is written but at a signal.)
    lines = (tmp_path / "cut" / "epochs.jsonl").read_text().splitlines()
    assert all(json.loads(line) for line in lines[:-1])
    if signum != signal.SIGKILL:
        Classifier.load(tmp_path / "cut").predict(["superb"])
    read_events(tmp_path / "cut" / "validation")

    assert run_train("resume=cut").returncode == 0
    assert run_train(*files, *slow, "run_dir=whole").returncode == 0
    cut, whole = (
        safetensors.torch.load_file(tmp_path / name / "model" / "model.safetensors")
        for name in ("cut", "whole")
    )
    assert cut.keys() == whole.keys()
    for key in cut:
        assert torch.equal(cut[key], whole[key]), key
    cut_epochs, whole_epochs = read_epochs(tmp_path / "cut"), read_epochs(tmp_path / "whole")
    assert [record["epoch"] for record in cut_epochs] == list(range(1, 25))
    for of_cut, of_whole in zip(cut_epochs, whole_epochs, strict=True):
        for split in ("train", "validation"):  # to the last bit of the loss
            assert of_cut[split] == of_whole[split]
    assert metrics_of(tmp_path / "cut")["test"] == metrics_of(tmp_path / "whole")["test"]


@pytest.mark.slow
def test_resume_refuses_other_options_and_leaves_finished_runs(
    finished: Finished, run_train: Run
) -> None:
    result = run_train(f"resume={finished[0]}", "model.dim=8")
    assert result.returncode == 2
    assert "leave out model.dim=8" in one_line(result)
    before = (finished[0] / "metrics.json").read_bytes()
    again = run_train(f"resume={finished[0]}")
    assert again.returncode == 0
    assert "is finished: there is nothing to resume" in again.stdout
    assert "test accuracy" in again.stdout
    assert (finished[0] / "metrics.json").read_bytes() == before
    result = run_train("resume=nowhere")
    assert result.returncode == 2
    assert "resume=nowhere: is no run folder" in one_line(result)


def test_run_folders_that_cannot_be(run_train: Run, tmp_path: Path) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.yaml").write_text("")
    result = run_train("resume=broken")
    assert result.returncode == 2
    assert "resume=broken: its config.yaml is damaged" in one_line(result)
    result = run_train("run_dir=broken/config.yaml")
    assert result.returncode == 2
    assert "run_dir=broken/config.yaml: there is a file in its place" in one_line(result)


# --- sweeps ------------------------------------------------------------------------------------


def test_a_sweep_names_its_runs_and_goes_on_past_a_failure(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    modes = ("mean", "mean+max")
    swept = ["optimizer.lr=0.01,1e30", f"model.mode={','.join(modes)}"]
    sweep = ["-m", *files, "trainer.epochs=2", *swept]
    result = run_train(*sweep, "optimizer=sgd", "run_dir=sweep")
    assert result.returncode == 1
    folders = {path.name for path in (tmp_path / "sweep").iterdir() if path.is_dir()}
    runs = {f"lr={lr},mode={mode}" for lr in ("0.01", "1e+30") for mode in modes}
    assert folders == runs | {"compare"}
    for name in runs:
        assert (tmp_path / "sweep" / name / "metrics.json").exists() == ("0.01" in name)
    errors = result.stderr.strip().splitlines()
    assert len(errors) == 2
    for line, mode in zip(errors, modes, strict=True):
        assert line.startswith(f"error: sweep/lr=1e+30,mode={mode}: the loss is ")
        failed = json.loads((tmp_path / f"sweep/lr=1e+30,mode={mode}/failed.json").read_text())
        assert line.endswith(failed["reason"])
    # Tokenized once, found again by the others.
    logs = [path.read_text() for path in (tmp_path / "sweep").glob("*/train.log")]
    assert sum("(cached)" in text for text in logs) >= 3


@pytest.mark.slow
def test_a_run_of_a_sweep_can_be_resumed_and_odd_values_name_folders(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    for name in ("a", "b"):
        write_csv(tmp_path / name / "train.csv", 60)
    swept = ["data.train=a/train.csv,b/train.csv", "data.delimiter=',',';'"]
    result = run_train("-m", "data=local", *swept, "trainer.epochs=1", "run_dir=sweep")
    assert result.returncode == 2  # with ";" there is but one column
    folders = sorted(path.name for path in (tmp_path / "sweep").glob("*=*"))
    assert len(folders) == 4
    done = next(name for name in folders if (tmp_path / "sweep" / name / "metrics.json").exists())
    assert "a-train.csv" in done
    again = run_train(f"resume=sweep/{done}")
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stdout


@pytest.mark.slow
def test_one_process_a_run_folder(
    files: list[str], run_train: Run, tmp_path: Path, cache_dir: Path
) -> None:
    child = start_train([*files, "trainer.epochs=5000", "run_dir=run"], tmp_path, cache_dir)
    wait_for_epochs(tmp_path / "run", child)
    result = run_train("resume=run")
    assert result.returncode == 2
    assert "run_dir=run: another process is training there" in one_line(result)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=60)
    assert child.returncode == 143

    # Nor does a run go on with other data than it began with.
    train = tmp_path / "train.csv"
    train.write_text(train.read_text().replace("lovely", "lively"))
    result = run_train("resume=run")
    assert result.returncode == 2
    assert "the data, or how it is tokenized, has changed" in one_line(result)


@pytest.mark.parametrize("delay", [0.35, 0.6, 1.0])
def test_a_signal_during_the_start_is_told(
    delay: float, files: list[str], tmp_path: Path, cache_dir: Path
) -> None:
    child = subprocess.Popen(
        [sys.executable, str(PROJECT / "train.py"), *files, "trainer.epochs=5000", "run_dir=run"],
        cwd=tmp_path, env=train_environment(cache_dir), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    time.sleep(delay)
    child.send_signal(signal.SIGTERM)
    _, err = child.communicate(timeout=120)
    assert "Traceback" not in err
    # Before train.py has taken charge of signals the system's own handling holds.
    assert child.returncode in (143, -signal.SIGTERM)
    if child.returncode == 143:
        assert err.startswith("error: stopped by SIGTERM")


# --- bad input ---------------------------------------------------------------------------------

BAD: dict[str, tuple[str | bytes, str | bytes, str]] = {
    "one class only": ("text,label\na,x\nb,x\n", "text,label\na,x\n", "every row has the label"),
    "unknown label": ("text,label\na,x\nb,y\n" * 1, "text,label\na,z\n", "train never has"),
    "empty": ("text,label\na,x\nb,y\n", "text,label\n", "test split is empty"),
    "encoding": (b"text,label\na,x\n\xe9,y\n", "text,label\na,x\n", "line 3 is not utf-8"),
    "no tokens": ("text,label\n" + ";,x\n:,y\n" * 30, "text,label\na,x\n", "has no tokens"),
    "columns": ("one,two,three\na,b,c\n", "one,two,three\na,b,c\n", "which column is the label?"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_data_gets_one_line(name: str, run_train: Run, tmp_path: Path) -> None:
    train, test, message = BAD[name]
    for file, content in (("train.csv", train), ("test.csv", test)):
        (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
    result = run_train("data=local", "data.train=train.csv", "data.test=test.csv")
    assert result.returncode == 2
    assert message in one_line(result)


def test_a_missing_file_gets_one_line(run_train: Run) -> None:
    result = run_train("data=local", "data.train=gone.csv", "data.test=gone.csv")
    assert result.returncode == 2
    assert "data.train=gone.csv: there is no such file" in one_line(result)


def test_the_unreachable_hub_gets_one_line(run_train: Run) -> None:
    result = run_train("data=imdb")
    assert result.returncode == 2
    assert "python train.py data.train=FILE" in one_line(result)


def test_null_texts_are_said(files: list[str], run_train: Run, tmp_path: Path) -> None:
    with (tmp_path / "train.csv").open("a") as file:
        file.write(",good\n,bad\n")
    result = run_train(*files, "trainer.epochs=1")
    assert result.returncode == 0
    assert "train.csv: 2 rows have no text: kept, as empty bags" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="no file size limits on Windows")
@pytest.mark.parametrize("limit", [2_000, pytest.param(30_000, marks=pytest.mark.slow)])
def test_a_full_disk_gets_one_line_and_loses_nothing(
    limit: int, files: list[str], run_train: Run, tmp_path: Path
) -> None:
    # A limit on the size of files fails a write as a full disk does, at the cache or later.
    def restrict() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    cache = {"TEXTCLS_CACHE": str(tmp_path / "cache")}
    full = [*files, "run_dir=run", "model.dim=2000", "trainer.epochs=2"]
    result = run_train(*full, env=cache, preexec_fn=restrict)
    assert result.returncode == 1
    line = one_line(result)
    assert "File too large" in line or "file too large" in line.lower()
    # With room again the run goes on from where it was.
    resumed = warm.finish(start_train(["resume=run"], tmp_path, tmp_path / "cache"))
    assert resumed.returncode == 0, resumed.stderr
    assert os.path.exists(tmp_path / "run" / "metrics.json")


def test_debug_overfit_fits(files: list[str], run_train: Run, tmp_path: Path) -> None:
    result = run_train(*files, "debug=overfit", "run_dir=run")
    assert result.returncode == 0, result.stderr
    metrics = metrics_of(tmp_path / "run")
    assert metrics["test"]["accuracy"] == 1.0
    assert metrics["test"]["loss"] < 0.05


@pytest.mark.slow
def test_debug_profile_leaves_a_trace_of_steps(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    result = run_train(*files, "debug=profile", "trainer.batch_size=4", "run_dir=run")
    assert result.returncode == 0, result.stderr
    events = json.loads((tmp_path / "run" / "trace.json").read_text())["traceEvents"]
    steps = {event["name"] for event in events if event["name"].startswith("ProfilerStep")}
    assert len(steps) == 8
    assert any(
        "EmbeddingBag" in event["name"] or "embedding_bag" in event["name"] for event in events
    )
    assert "aten::_embedding_bag" in (tmp_path / "run" / "profile.txt").read_text()
    few = run_train(*files, "debug=profile", "trainer.batch_size=1000", "run_dir=few")
    assert few.returncode == 0
    assert "nothing is traced" in few.stdout + few.stderr


def test_weights_by_label_reach_the_loss(files: list[str], run_train: Run) -> None:
    result = run_train(*files, "trainer.class_weights={god: 2}")
    assert result.returncode == 2
    assert "'god', which is no label: the labels are bad, good" in one_line(result)


def test_a_file_of_class_weights_reaches_the_run(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    (tmp_path / "weights.csv").write_text("label,weight\ngood,2\nbad,0.5\n")
    given = [*files, "trainer.class_weights=weights.csv", "trainer.epochs=1", "run_dir=run"]
    assert run_train(*given).returncode == 0
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert config["trainer"]["class_weights"] == {"good": 2.0, "bad": 0.5}


# --- files as they are called, where there is no UTF-8 ------------------------------------------


def test_a_file_that_is_named_is_the_corpus(tmp_path: Path, cache_dir: Path) -> None:
    write_csv(tmp_path / "größe (1), it's.csv", 100)
    arguments = ["data.train=größe (1), it's.csv", "trainer.epochs=1", "run_dir=~/run"]
    environment = train_environment(cache_dir) | {"HOME": str(tmp_path)}
    result = warm.finish(warm.start([*warm.TRAIN, *arguments], tmp_path, environment))
    assert result.returncode == 0, result.stderr
    assert "test: 10 rows of größe (1), it's.csv" in result.stdout
    assert "run_dir=~" not in result.stdout


@pytest.mark.slow
def test_a_terminal_without_the_characters_of_the_labels(run_train: Run, tmp_path: Path) -> None:
    text = write_csv(tmp_path / "train.csv", 60).read_text()
    text = text.replace(",good", ",日本").replace(",bad", ",好")
    (tmp_path / "train.csv").write_text(text, encoding="utf-8")
    ascii_only = {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    sweep = ["-m", "data.train=train.csv", "trainer.epochs=1", "seed=1,2", "run_dir=sweep"]
    result = run_train(*sweep, env=ascii_only)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert (tmp_path / "sweep" / "compare" / "index.html").exists()
