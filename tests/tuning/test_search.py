"""A search in-process, where its parts must be exact."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest

from tests.conftest import make_config
from tests.tuning.searches import make_values, rows_of, tiny_space
from textcls import result as results
from textcls import run, run_corpus, trainings
from textcls.config import Config, read_config
from textcls.defaults import resolve
from textcls.errors import TextclsError
from textcls.model.embedding_bag import scores_of
from textcls.task.scores import Scores
from textcls.tuning import search
from textcls.tuning.space import Range, parse_tuning
from textcls.tuning.trial import OutOfTimeError, TrialTracker


def test_the_test_split_is_looked_at_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    seen: list[Any] = []

    def watched(*given: Any) -> Scores:
        seen.append(given)
        return scores_of(*given)

    monkeypatch.setattr(results, "scores_of", watched)
    config = make_config("data=headlines", f"cache_dir={cache_dir}")
    search.start(config, tiny_space(), tmp_path / "search", [])
    assert len(seen) == 1  # the one call of a run is that of its test


@pytest.mark.slow
def test_time_ends_a_search_in_the_middle_of_a_trial(tmp_path: Path, cache_dir: Path) -> None:
    config = make_config("data=headlines", "trainer.epochs=1", f"cache_dir={cache_dir}")
    run_corpus.corpus(config)  # tokenized already: what is timed are trials
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

    real = trainings.build
    monkeypatch.setattr(run, "build", build)
    config = make_config("data=headlines", "trainer.epochs=1", f"cache_dir={cache_dir}")
    search.start(config, tiny_space(space={"model.dim": (8, 32)}), tmp_path / "search", [])
    rows = {row["model.dim"]: row for row in rows_of(tmp_path / "search") if row["end"] != "copy"}
    assert rows["32"]["end"] == "done"
    assert rows["8"]["end"] == "failed"
    assert rows["8"]["reason"].startswith("out of memory: lower model.dim")


class KilledError(BaseException):
    """Ends this process as far as the code in it can tell."""


def test_a_search_killed_while_it_records_a_trial_tries_it_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cache_dir: Path
) -> None:
    """Between any two of the facts that it writes of the trial."""
    config = make_config("data=headlines", "trainer.epochs=1", f"cache_dir={cache_dir}")
    space: dict[str, Any] = {"model.dim": (8, 16)}
    real = optuna.Trial.set_user_attr
    for last in ("seconds", "end"):
        folder = tmp_path / last

        def set_user_attr(trial: optuna.Trial, key: str, value: Any, last: str = last) -> None:
            real(trial, key, value)
            if key == last:
                raise KilledError

        with monkeypatch.context() as patched:
            patched.setattr(optuna.Trial, "set_user_attr", set_user_attr)
            with pytest.raises(KilledError):
                search.start(config, tiny_space(space=space, trials=None), folder, [])
        search.resume(folder)
        rows = rows_of(folder)
        assert rows[0]["end"] == "killed"
        done = [row for row in rows if row["end"] == "done"]
        assert {row["model.dim"] for row in done} == {"8", "16"}
        assert len(done) == 2


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
    found = resolve(config, run_corpus.corpus(config).about)
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
