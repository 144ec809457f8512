"""Sweeps by the real command: launchers, failures, being killed, started again, started twice."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from tests import warm
from tests.conftest import (
    PROJECT,
    Run,
    make_config,
    one_line,
    start_train,
    wait_for_epochs,
    write_csv,
    write_files,
)
from textcls.data.prepare import prepare


@pytest.fixture
def files(files: list[str]) -> list[str]:
    return [*files, "trainer.epochs=2"]


def finished(sweep: Path) -> set[str]:
    return {path.parent.name for path in sweep.glob("*/metrics.json")}


def failures(sweep: Path) -> dict[str, Any]:
    return {path.parent.name: json.loads(path.read_text()) for path in sweep.glob("*/failed.json")}


def names(modes: str, seeds: str) -> set[str]:
    return {f"mode={mode},seed={seed}" for mode in modes.split() for seed in seeds.split()}


def wait_until_finished(sweep: Path, runs: int, child: warm.Process) -> None:
    for _ in range(1200):
        if len(finished(sweep)) >= runs:
            return
        assert child.poll() is None, child.communicate()
        time.sleep(0.02)
    raise AssertionError("the runs never ended")


# --- started again -------------------------------------------------------------------------------


SLOW = ["model.mode=mean,max", "seed=1,2", "trainer.epochs=12", "trainer.batch_size=4"]


@pytest.fixture(scope="module")
def uncut(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    tmp = tmp_path_factory.mktemp("uncut")
    arguments = ["-m", *write_files(tmp), *SLOW, "run_dir=sweep"]
    assert warm.finish(start_train(arguments, tmp, cache_dir)).returncode == 0
    return tmp / "sweep"


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGKILL])
def test_a_sweep_killed_in_the_middle_finishes_only_what_was_missing(
    signum: signal.Signals,
    files: list[str],
    uncut: Path,
    run_train: Run,
    tmp_path: Path,
    cache_dir: Path,
) -> None:
    sweep = ["-m", *files, *SLOW]
    child = start_train([*sweep, "run_dir=cut"], tmp_path, cache_dir)
    wait_until_finished(tmp_path / "cut", 1, child)
    child.send_signal(signum)
    _, err = child.communicate(timeout=60)
    if signum != signal.SIGKILL:
        assert child.returncode == 128 + signum
        assert err.endswith(f"error: stopped by {signum.name}: go on with resume=cut\n")
    before = {name: (tmp_path / "cut" / name).stat() for name in finished(tmp_path / "cut")}
    assert 1 <= len(before) < 4

    again = run_train("resume=cut")
    assert again.returncode == 0, again.stderr
    assert finished(tmp_path / "cut") == names("mean max", "1 2")
    for name in before:
        assert f"cut/{name} is finished" in again.stdout
    assert again.stdout.count("trained in") == 4 - len(before)

    # And to the same as if nothing had happened: the one that was cut included.
    for name in names("mean max", "1 2"):
        cut, whole = (
            safetensors.torch.load_file(folder / name / "model" / "model.safetensors")
            for folder in (tmp_path / "cut", uncut)
        )
        assert all(torch.equal(cut[key], whole[key]) for key in whole)


@pytest.mark.slow
def test_a_sweep_grows_and_other_settings_are_refused(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    assert run_train("-m", *files, "seed=1,2", "run_dir=sweep").returncode == 0
    grown = run_train("-m", *files, "seed=1,2,3", "run_dir=sweep")
    assert grown.returncode == 0
    assert grown.stdout.count("is finished") == 2
    assert grown.stdout.count("trained in") == 1

    def times() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in tmp_path.glob("sweep/*/*.json*")}

    before = times()
    result = run_train("-m", *files, "seed=1,2", "model.dim=8", "run_dir=sweep")
    assert result.returncode == 2
    assert (
        "holds a run with other settings (model.dim is auto there, 8 now): name another run_dir"
        in one_line(result)
    )
    assert times() == before


@pytest.mark.slow
def test_two_sweeps_at_once_in_one_place_share_the_work(files: list[str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    sweep = ["-m", *files, "model.mode=mean,sum,max", "seed=1,2", "trainer.epochs=20",
             "run_dir=both"]  # fmt: skip
    children = [start_train(sweep, tmp_path, cache) for _ in range(2)]
    outputs = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], outputs
    assert finished(tmp_path / "both") == names("mean sum max", "1 2")
    told = "".join(out for out, _ in outputs)
    assert told.count("trained in") == 6  # each run by one of them
    assert all(err == "" for _, err in outputs)
    for name in names("mean sum max", "1 2"):
        record = (tmp_path / "both" / name / "epochs.jsonl").read_text().splitlines()
        assert [json.loads(line)["epoch"] for line in record] == list(range(1, 21))
    # Tokenized once, train alone and with validation, and nothing half-made is left.
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 2


@pytest.mark.slow
def test_a_resumed_sweep_and_run_work_from_another_directory(
    run_train: Run, tmp_path: Path, files: list[str], cache_dir: Path
) -> None:
    relative = ["data=local", "data.train=train.csv", "data.test=test.csv", "trainer.epochs=1"]
    sweep = tmp_path / "it's a=sweep, (1)"
    assert run_train("-m", *relative, "seed=1,2", f"run_dir={sweep.name}").returncode == 0
    (sweep / "seed=1" / "metrics.json").unlink()
    (sweep / "seed=2" / "metrics.json").unlink()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for what in ("seed=1", ""):
        child = start_train([f"resume=../{sweep.name}/{what}"], elsewhere, cache_dir)
        _, err = child.communicate(timeout=60)
        assert child.returncode == 0, err
    assert finished(sweep) == {"seed=1", "seed=2"}


# --- launchers -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_joblib_trains_in_processes_and_goes_on_past_failures(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    sweep = ["-m", "launcher=joblib", "hydra.launcher.n_jobs=2", *files, "model.mode=mean,max"]
    result = run_train(*sweep, "model.dim=0,8", "trainer.num_threads=1", "run_dir=sweep")
    assert result.returncode == 2
    assert finished(tmp_path / "sweep") == {"mode=mean,dim=8", "mode=max,dim=8"}
    failed = failures(tmp_path / "sweep")
    assert failed.keys() == {"mode=mean,dim=0", "mode=max,dim=0"}
    assert failed["mode=max,dim=0"]["swept"] == {"model.mode": "max", "model.dim": "0"}
    for line in result.stderr.strip().splitlines():
        assert line.startswith("error: sweep/mode=")
        assert "dim=0: model.dim=0: input should be greater than or equal to 1" in line


def start_two(options: list[str], tmp_path: Path, cache_dir: Path) -> warm.Process:
    """Start a sweep over seeds, in two processes; return when seeds 1 and 2 are trained on."""
    sweep = ["-m", "launcher=joblib", "hydra.launcher.n_jobs=2", *options, "run_dir=sweep"]
    child = start_train(sweep, tmp_path, cache_dir)
    for seed in (1, 2):
        wait_for_epochs(tmp_path / "sweep" / f"seed={seed}", child)
    return child


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the process that trains in /proc")
def test_the_death_of_a_process_is_told_and_recorded(
    files: list[str], tmp_path: Path, cache_dir: Path
) -> None:
    child = start_two([*files, "seed=1,2", "trainer.epochs=3000"], tmp_path, cache_dir)
    os.kill(process_of(tmp_path / "sweep" / "seed=1"), signal.SIGKILL)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 1
    assert err.startswith("error: a process of the sweep was killed: out of memory?: go on with")
    assert "Traceback" not in err
    assert "was killed" in failures(tmp_path / "sweep")["seed=1"]["reason"]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the process that trains in /proc")
def test_a_signal_to_one_process_ends_its_run_and_no_other(
    files: list[str], tmp_path: Path, cache_dir: Path
) -> None:
    child = start_two([*files, "seed=1,2,3", "trainer.epochs=300"], tmp_path, cache_dir)
    os.kill(process_of(tmp_path / "sweep" / "seed=1"), signal.SIGTERM)
    _, err = child.communicate(timeout=60)
    assert err == ""
    assert child.returncode == 128 + signal.SIGTERM
    assert finished(tmp_path / "sweep") >= {"seed=2"}
    failed = failures(tmp_path / "sweep")
    assert failed.keys() == {"seed=1"}
    assert failed["seed=1"]["reason"].startswith("stopped by SIGTERM: go on with resume=")


def process_of(run: Path) -> int:
    """Return the process that trains there: it has the run's log open."""
    return next(
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _has_open(entry, run / "train.log")
    )


def _has_open(process: Path, path: Path) -> bool:
    try:
        return any(os.readlink(fd) == str(path) for fd in (process / "fd").iterdir())
    except OSError:
        return False


# As a terminal does, to all processes at once; and as a user or a container, who know but one.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("send", "signum"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)]
)
def test_a_signal_ends_the_processes_of_a_sweep_in_order(
    send: Callable[[int, int], None],
    signum: signal.Signals,
    files: list[str],
    tmp_path: Path,
    cache_dir: Path,
) -> None:
    # A table that takes a while to write.
    slow = ["trainer.epochs=3000", "model.dim=4096", "tokenizer.ngrams=2", "tokenizer.buckets=4096"]
    child = start_two([*files, "seed=1,2,3", *slow], tmp_path, cache_dir)
    send(child.pid, signum)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + signum
    assert err == f"error: stopped by {signum.name}: go on with resume=sweep\n"
    for folder in (tmp_path / "sweep" / f"seed={seed}" for seed in (1, 2)):
        log = (folder / "train.log").read_text()
        assert log.endswith(f"stopped by {signum.name}: go on with resume=sweep/{folder.name}\n")
        assert (folder / "checkpoints" / "last.safetensors").exists()
    assert not (tmp_path / "sweep" / "seed=3").exists()


@pytest.mark.parametrize(
    ("launcher", "package", "target"),
    [
        ("basic", "hydra", "hydra._internal.core_plugins.basic_launcher.BasicLauncher"),
        ("joblib", "hydra_plugins.hydra_joblib_launcher", ".joblib_launcher.JoblibLauncher"),
        ("slurm", "hydra_plugins.hydra_submitit_launcher", ".submitit_launcher.SlurmLauncher"),
        ("ray", "hydra_plugins.hydra_ray_launcher", ".ray_launcher.RayLauncher"),
    ],
)
def test_launchers_compose(launcher: str, package: str, target: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed (extra '{launcher}')")
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        cfg = compose("config", [f"launcher={launcher}"], return_hydra_config=True)
    assert cfg.hydra.launcher._target_.endswith(target)


@pytest.mark.slow
def test_submitit_trains_in_jobs_of_this_machine(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    swept = "trainer.clip_norm=1,2"  # no key that TensorBoard's HPARAMS always have
    result = run_train("-m", "hydra/launcher=submitit_local", *files, swept, "run_dir=sweep")
    assert result.returncode == 0, result.stderr
    assert finished(tmp_path / "sweep") == {"clip_norm=1", "clip_norm=2"}
    for run in (tmp_path / "sweep").glob("clip_norm=*"):
        events = b"".join(path.read_bytes() for path in run.glob("events*"))
        assert b"session_start_info" in events
        assert b"trainer.clip_norm" in events


def test_a_launcher_that_is_not_installed_says_what_to_install(run_train: Run) -> None:
    if importlib.util.find_spec("hydra_plugins.hydra_ray_launcher") is not None:
        pytest.skip("hydra-ray-launcher is installed here")
    result = run_train("-m", "launcher=ray", "seed=1,2")
    assert result.returncode == 2
    assert "launcher=ray needs another package: pip install 'textcls[ray]'" in one_line(result)


# --- names, failures, records --------------------------------------------------------------------


@pytest.mark.slow
def test_an_experiment_is_a_sweep_by_itself_and_the_command_line_narrows_it(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    result = run_train("experiment=pooling", *files, "model.mode=max", "run_dir=sweep")
    assert result.returncode == 0, result.stderr
    assert finished(tmp_path / "sweep") == {"seed=1", "seed=2", "seed=3"}
    # It ends with the comparison.
    assert ", 40 test rows" in result.stdout
    assert f"page         {tmp_path / 'sweep' / 'compare' / 'index.html'}" in result.stdout
    assert {"index.html", "table.md"} <= {p.name for p in (tmp_path / "sweep/compare").iterdir()}
    configs = [yaml.safe_load(path.read_text()) for path in tmp_path.glob("sweep/*/config.yaml")]
    assert {config["model"]["mode"] for config in configs} == {"max"}


@pytest.mark.slow
def test_out_of_memory_is_a_failure_with_a_reason(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    huge = [
        "experiment=plain",
        "tokenizer.ngrams=2",
        "tokenizer.buckets=null,1000000000",
        "model.dim=4096",
    ]
    result = run_train("-m", *files, *huge, "trainer.epochs=1", "run_dir=sweep")
    assert result.returncode == 1
    assert "buckets=1000000000: out of memory: lower model.dim" in one_line(result)
    assert finished(tmp_path / "sweep") == {"buckets=null"}
    assert "out of memory" in failures(tmp_path / "sweep")["buckets=1000000000"]["reason"]


@pytest.mark.slow
def test_what_failed_is_tried_again(files: list[str], run_train: Run, tmp_path: Path) -> None:
    test = (tmp_path / "test.csv").read_text()
    (tmp_path / "test.csv").unlink()
    result = run_train("-m", *files, "seed=1,2", "run_dir=sweep")
    assert result.returncode == 2
    for failed in failures(tmp_path / "sweep").values():
        assert "test.csv: there is no such file" in failed["reason"]
    (tmp_path / "test.csv").write_text(test)
    assert run_train("resume=sweep").returncode == 0
    assert finished(tmp_path / "sweep") == {"seed=1", "seed=2"}
    assert not failures(tmp_path / "sweep")


def test_predictions_are_those_of_the_metrics(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    assert run_train(*files, "experiment=plain", "run_dir=run").returncode == 0
    rows = safetensors.numpy.load_file(tmp_path / "run" / "predictions.safetensors")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (rows["labels"] == rows["predictions"]).mean() == metrics["test"]["accuracy"]
    assert set(rows) == {"labels", "predictions", "confidence", "losses", "lengths"}
    assert rows["losses"].mean() == pytest.approx(metrics["test"]["loss"], abs=1e-6)
    assert all(len(column) == 40 for column in rows.values())
    assert (rows["confidence"] >= 0.5).all()  # two classes: the likelier one
    assert rows["lengths"].tolist() == [6] * 40  # "item 1 was x and y"
    assert rows["predictions"].dtype == np.int32


def test_a_test_set_is_known_by_its_rows_however_they_are_tokenized(tmp_path: Path) -> None:
    write_csv(tmp_path / "train.csv", 60)
    write_csv(tmp_path / "test.csv", 30, shift=1)
    local = ["data=local", f"data.train={tmp_path}/train.csv", f"data.test={tmp_path}/test.csv"]

    def test_set(*more: str) -> str:
        config = make_config(*local, *more)
        return prepare(config.data, config.tokenizer, tmp_path / "cache").test_set

    original = test_set()
    assert test_set("tokenizer.ngrams=2") == original
    assert test_set("tokenizer=bpe", "tokenizer.vocab_size=60") == original
    text = (tmp_path / "test.csv").read_text()
    (tmp_path / "test.jsonl").write_text(
        "".join(
            json.dumps(dict(zip(("text", "label"), line.split(","), strict=True))) + "\n"
            for line in text.splitlines()[1:]
        )
    )
    assert test_set(f"data.test={tmp_path}/test.jsonl") == original
    lines = text.splitlines()
    for changed in (
        [*lines[:-1], lines[-1].replace("item", "itme")],  # a letter
        [*lines[:-1], lines[-1].replace(",bad", ",good")],  # a label
        [lines[0], *lines[2:], lines[1]],  # the order
        lines[:-1],
    ):
        (tmp_path / "test.csv").write_text("\n".join(changed) + "\n")
        assert test_set() != original
