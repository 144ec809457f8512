"""A search by the real command, and its parts in-process where they must be exact."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
import safetensors.torch
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from optuna.trial import TrialState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import (
    PROJECT,
    Run,
    make_config,
    one_line,
    start_train,
    train_environment,
    wait_for_epochs,
    write_files,
)
from textcls import fitting, run
from textcls import result as results
from textcls.config import Config, parse, read_config
from textcls.defaults import resolve
from textcls.errors import InputError, TakenError, TextclsError
from textcls.model.embedding_bag import logits_of
from textcls.tuning import search
from textcls.tuning.space import Range, TuneConfig, parse_tuning
from textcls.tuning.trial import OutOfTimeError, TrialTracker

TINY = [
    "tune=default", "~tune.space.tokenizer", "trainer.epochs=3", "tune.space.trainer.epochs.high=4",
]  # fmt: skip


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


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
    result = subprocess.run(
        [sys.executable, str(PROJECT / "train.py"), *TINY, "tune.trials=6", *write_files(tmp),
         "trainer.batch_size=16", "run_dir=search"],
        cwd=tmp, env=train_environment(cache_dir), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return tmp / "search", result


def test_a_search_records_its_trials(searched: Search) -> None:
    folder, result = searched
    rows = rows_of(folder)
    assert [row["trial"] for row in rows] == [str(number) for number in range(6)]
    given = {"model.mode": "sqrtn", "model.dim": "16", "optimizer.lr": "0.3",
             "trainer.label_smoothing": "0.1"}  # fmt: skip
    assert "trainer.epochs" in rows[0]
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
        assert str(config.model.dim) == row["model.dim"]
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


def test_the_test_split_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    seen: list[Any] = []

    def watched(*given: Any) -> torch.Tensor:
        seen.append(given)
        return logits_of(*given)

    monkeypatch.setattr(results, "logits_of", watched)
    config = make_config("data=headlines", f"cache_dir={cache_dir}")
    search.start(config, tiny_space(), tmp_path / "search", [])
    assert len(seen) == 1  # the one call of a run is that of its test


def tiny_space(**changes: Any) -> TuneConfig:
    space: dict[str, Any] = {"model.dim": (4, 8), "trainer.epochs": Range(1, 2)}
    values: dict[str, Any] = {"seconds": 60, "trials": 3, "space": space}
    return TuneConfig(**(values | changes))


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


def test_time_ends_a_search_in_the_middle_of_a_trial(tmp_path: Path, cache_dir: Path) -> None:
    config = make_config("data=headlines", "trainer.epochs=1", f"cache_dir={cache_dir}")
    run.corpus(config)  # tokenized already: what is timed are trials
    # One epoch for the configuration as given, and for others more than there is time for.
    space = {"model.dim": (8, 16, 32), "trainer.epochs": Range(1, 10**9)}
    tuning = tiny_space(seconds=5, trials=None, space=space)
    search.start(config, tuning, tmp_path / "search", [])
    rows = rows_of(tmp_path / "search")
    assert rows[0]["end"] == "done"
    assert rows[-1]["end"] == "cut"
    assert rows[-1]["reason"] == "the time was up"
    assert (tmp_path / "search" / "best" / "config.yaml").exists()


def test_where_no_trial_is_done_the_best_so_far_counts(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    def step(self: Any, *_: Any) -> None:
        if self.ended_epochs:
            raise OutOfTimeError

    monkeypatch.setattr(TrialTracker, "step", step)
    config = make_config("data=headlines", "trainer.epochs=2", f"cache_dir={cache_dir}")
    search.start(config, tiny_space(trials=1), tmp_path / "search", [])
    (row,) = rows_of(tmp_path / "search")
    assert (row["end"], row["epochs"]) == ("cut", "1")
    metrics = json.loads((tmp_path / "search" / "best" / "metrics.json").read_text())
    assert metrics["epochs"] == 2
    assert metrics["validation"]["accuracy"] >= float(row["accuracy"])


def test_without_an_epoch_in_time_there_is_one_line(
    files: list[str], run_train: Run, tmp_path: Path
) -> None:
    result = run_train(*files, *TINY, "tune.seconds=0.000001", "run_dir=search")
    assert result.returncode == 1
    assert "within tune.seconds=1e-06: give it more" in one_line(result)


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
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


# --- in-process ----------------------------------------------------------------------------------


def test_bad_trials_are_pruned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    """Five trials that learn, then some that cannot: their learning rate is next to nothing."""
    config = make_config("data=headlines", f"cache_dir={cache_dir}", "trainer.epochs=5")
    space = {"optimizer.lr": Range(1e-9, 1.0)}
    rates = iter([0.3, 0.31, 0.32, 0.33, 0.34, 1e-8, 0.315])
    drawn = lambda *_: next(rates)  # noqa: E731
    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_independent", drawn)
    monkeypatch.setattr(optuna.samplers.TPESampler, "sample_relative", lambda *_: {})
    next(rates)  # the first is the configuration as given
    search.start(config, tiny_space(space=space, trials=7), tmp_path / "search", [])
    rows = rows_of(tmp_path / "search")
    assert [row["end"] for row in rows] == ["done"] * 5 + ["pruned", "done"]
    assert rows[5]["epochs"] == "2"  # four tenths; the first epoch's end is spared
    assert float(rows[5]["optimizer.lr"]) == 1e-8


def test_a_failed_trial_is_recorded_and_the_search_goes_on(
    tmp_path: Path, cache_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = make_config("data=headlines", "optimizer=sgd", f"cache_dir={cache_dir}")
    # The space is finite: all of it is tried, whatever the sampler draws, and nothing twice.
    space = {"optimizer.lr": (1.0, 1e30), "tokenizer.ngrams": (1, 2),
             "tokenizer.buckets": (None, 100)}  # fmt: skip
    tuning = tiny_space(space=space, trials=None)
    search.start(config, tuning, tmp_path / "search", ["data=headlines", "optimizer=sgd"])
    rows = [row for row in rows_of(tmp_path / "search") if row["end"] != "copy"]
    assert len(rows) == 8
    assert len({tuple(row.values())[6:] for row in rows}) == 8
    for row in rows:
        impossible = row["tokenizer.ngrams"] == "1" and row["tokenizer.buckets"] == "100"
        assert row["end"] == ("failed" if impossible or row["optimizer.lr"] != "1.0" else "done")
        if impossible:
            assert "tokenizer.buckets is for n-grams" in row["reason"]
        elif row["end"] == "failed":
            assert "the loss is" in row["reason"]
    printed = capsys.readouterr().out
    assert "all 8 combinations of tune.space are tried" in printed
    assert "lower optimizer.lr" in printed
    assert "optimizer.lr=1.0" in printed


def test_a_trial_without_memory_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    def build(config: Config, *given: Any) -> Any:
        if config.model.dim == 8:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")
        return real(config, *given)

    real = fitting.build
    monkeypatch.setattr(run, "build", build)
    config = make_config("data=headlines", "trainer.epochs=1", f"cache_dir={cache_dir}")
    search.start(config, tiny_space(space={"model.dim": (8, 32)}), tmp_path / "search", [])
    rows = {row["model.dim"]: row for row in rows_of(tmp_path / "search") if row["end"] != "copy"}
    assert rows["32"]["end"] == "done"
    assert rows["8"]["end"] == "failed"
    assert rows["8"]["reason"].startswith("out of memory: lower model.dim")


def test_a_damaged_search_is_told(searched: Search, tmp_path: Path) -> None:
    for name in ("study.db", "tune.yaml"):
        folder = tmp_path / name.replace(".", "_")
        shutil.copytree(searched[0], folder)
        (folder / name).write_text("damaged")
        with pytest.raises(InputError, match=rf"{name}:? is damaged"):
            search.resume(folder)


def test_where_all_trials_fail_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    monkeypatch.setattr(search, "MAX_FAILURES", 3)
    config = make_config(
        "data=headlines", "optimizer=sgd", "optimizer.lr=1e30", f"cache_dir={cache_dir}"
    )
    space = {"model.dropout": Range(0.0, 0.5)}
    with pytest.raises(TextclsError, match="all 3 trials failed, the last: the loss is") as caught:
        search.start(config, tiny_space(space=space, trials=None), tmp_path / "search", [])
    assert caught.value.exit_status == 1


def test_what_is_given_is_not_searched_unless_its_space_is() -> None:
    space = {"model": {"mode": ["sum", "max"], "dropout": {"low": 0, "high": 0.5}},
             "trainer": {"epochs": {"low": 1, "high": 9, "step": 2}}}  # fmt: skip
    values = {"seconds": 1, "trials": None, "space": space}
    found = parse_tuning(values, {"tune", "model.mode", "data"}).space
    assert found.keys() == {"model.dropout", "trainer.epochs"}
    found = parse_tuning(values, {"model.mode", "tune.space.model.mode", "model.dropout"}).space
    assert found.keys() == {"model.mode", "trainer.epochs"}
    found = parse_tuning(values, {"model.dropout", "tune.space.model.dropout.high"}).space
    # Whole numbers where the option takes them, and only there.
    assert repr(found["model.dropout"]) == repr(Range(0.0, 0.5))
    assert repr(found["trainer.epochs"]) == repr(Range(1, 9, step=2.0))
    # Written and read back it is the same.
    assert parse_tuning({"seconds": 1, "trials": None, "space": found}).space == found


def test_the_first_trial_is_what_fits_the_corpus(tmp_path: Path, cache_dir: Path) -> None:
    """Whatever the rule chooses, also where the default lists have it only as the value given."""
    (tmp_path / "train.csv").write_text(
        "label,text\n" + "".join(f"{'ab'[i % 2]},{'好坏'[i % 2]}天气很{i}\n" for i in range(60))
    )
    values = make_values("tune=default", "tokenizer=bpe") | {"trials": 2}
    assert parse_tuning(values).space["tokenizer.char_ngrams"] == (None, (2, 5), (3, 6))
    values = make_values("tune=default") | {"trials": 2}
    config = make_config(
        "experiment=null",
        "data=local",
        f"data.train={tmp_path / 'train.csv'}",
        f"cache_dir={cache_dir}",
    )
    search.start(config, parse_tuning(values), tmp_path / "search", [])
    found = resolve(config, run.corpus(config).about)
    assert (found.tokenizer.ngrams, found.tokenizer.char_ngrams) == (4, (2, 5))
    row, *_ = rows_of(tmp_path / "search")
    assert row["tokenizer.ngrams"] == "4"
    assert row["tokenizer.char_ngrams"] == "[2,5]"
    first = read_config(tmp_path / "search" / "trials" / "0000")
    assert first == found
    search.resume(tmp_path / "search")  # lists of lists are read again
    assert len(rows_of(tmp_path / "search")) == 4


@pytest.mark.parametrize("refit", [False, True])
def test_trials_are_compared_by_what_a_run_keeps(
    refit: bool, tmp_path: Path, cache_dir: Path
) -> None:
    config = make_config(
        "data=headlines", "trainer.epochs=8", "optimizer.lr=2", f"trainer.refit={refit}",
        "schedule=constant", f"cache_dir={cache_dir}",
    )  # fmt: skip
    space: dict[str, Any] = {"model.dim": (8,)}
    search.start(config, tiny_space(space=space, trials=1), tmp_path / "search", [])
    (row,) = rows_of(tmp_path / "search")
    kept = json.loads((tmp_path / "search" / "best" / "metrics.json").read_text())
    assert float(row["accuracy"]) == kept["validation"]["accuracy"]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("tune.space.model.mode=[mean,median]", "tune.space.model.mode: median: input should be"),
        ("tune.space.model.dim=[]", "tune.space.model.dim=[]: give a list"),
        ("tune.space.model.dim=[0]", "tune.space.model.dim: 0: input should be greater"),
        ("tune.space.model.dim=16", "tune.space.model.dim=16: give a list"),
        ("+tune.space.model.depth=[1]", "tune.space.model.depth: there is no such option"),
        ("+tune.space.data.text=[a]", "tune.space.data.text: there is no such option"),
        ("+tune.space.trainer.monitor=[loss]", "trainer.monitor is the same for all trials"),
        (
            "+tune.space.optimizer.betas=[[0.9,1]]",
            "betas: [0.9, 1]: input should be less",
        ),
        ("tune.space.model.dim=[[8,16]]", "tune.space.model.dim: [8, 16]: input should be"),
        ("tune.space.model.dim=[{a: 1}]", "a choice is a value or a list of numbers"),
        ("tune.space.optimizer.lr.low=2", "low=2 is not below high=0.6"),
        ("+tune.space.model.dropout={low: 0, high: 1}", "model.dropout: 1: input should be less"),
        ("tune.space.trainer.epochs.low=1.5", "tune.space.trainer.epochs: 1.5: input should be"),
        ("+tune.space.trainer.epochs.step=0.5", "trainer.epochs takes whole numbers"),
        ("+tune.space.trainer.epochs.lag=1", "tune.space.trainer.epochs.lag: there is no such"),
        ("tune.space.optimizer.lr.low=0", "log=true is for low above 0"),
        ("~tune.space", "tune.space is empty"),
        ("tune.seconds=0", "tune.seconds=0: input should be greater than 0"),
        ("tune.trials=0", "tune.trials=0: input should be greater"),
    ],
)
def test_a_bad_space_is_one_line(override: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_tuning(make_values("tune=default", override))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def make_values(*overrides: str) -> dict[str, Any]:
    """Compose the plain values of ``tune`` as the command line would."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        cfg = compose("config", overrides=list(overrides))
    values = OmegaConf.to_container(cfg, resolve=True)
    assert isinstance(values, dict)
    tuning: dict[str, Any] = values["tune"]
    return tuning


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


def test_a_plain_run_does_not_import_optuna(
    files: list[str], tmp_path: Path, cache_dir: Path
) -> None:
    code = (
        "import atexit, runpy, sys\n"
        "atexit.register(lambda: print('imported:', 'optuna' in sys.modules))\n"
        f"runpy.run_path({str(PROJECT / 'train.py')!r}, None, '__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *files, "trainer.epochs=1", "run_dir=plain"],
        cwd=tmp_path, env=train_environment(cache_dir) | {"PYTHONPATH": str(PROJECT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.stdout.splitlines()[-1] == "imported: False"
