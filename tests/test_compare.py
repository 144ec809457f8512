from __future__ import annotations

import csv
import dataclasses
import io
import json
import shutil
import subprocess
import warnings
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, strategies
from rich.console import Console
from safetensors.numpy import save_file
from scipy import stats
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from tests import warm
from tests.conftest import (
    PROJECT,
    make_config,
    one_line,
    start_train,
    train_environment,
    write_csv,
)
from textcls import cli
from textcls.config import Config
from textcls.corpus.corpus import Source
from textcls.corpus.splits import RowLabels
from textcls.errors import InputError
from textcls.report import statistics
from textcls.report.analysis import Finding, findings, in_words
from textcls.report.compare import compare
from textcls.report.plots import COLOURS, Plot, draw, length_bins, looks_of
from textcls.report.study import Study, find_runs, read_study
from textcls.report.texts import only_right
from textcls.task.single_metrics import classification_metrics

ROWS = 40
WORDS = "<script>alert(1)</script> & |"  # in every text, and in a label


@pytest.fixture(autouse=True)
def _no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# --- statistics ------------------------------------------------------------------------------


def test_one_run_each_is_mcnemars_exact_test() -> None:
    # The first alone is right about 8 rows, the second alone about 2: 2 (C(10,0)+C(10,1)+C(10,2))
    # of 2^10.
    differences = np.array([1] * 8 + [-1] * 2 + [0] * 30)
    assert statistics.sign_flip_p(differences) == pytest.approx(112 / 1024)
    assert statistics.sign_flip_p(np.zeros(5, np.int64)) == 1
    assert statistics.sign_flip_p(np.array([1, -1])) == 1
    assert statistics.sign_flip_p(np.ones(1000, np.int64)) == 1e-12


@given(strategies.integers(0, 400), strategies.integers(0, 400))
def test_it_equals_scipys_binomial_test(first: int, second: int) -> None:
    differences = np.repeat([1, -1, 0], [first, second, 3])
    expected = stats.binomtest(first, first + second).pvalue if first + second else 1.0
    assert statistics.sign_flip_p(differences) == pytest.approx(expected, abs=2e-12)


@given(strategies.lists(strategies.integers(-3, 3), min_size=2, max_size=10))
def test_it_equals_scipys_permutation_test(values: list[int]) -> None:
    differences = np.array(values)
    exact = stats.permutation_test(
        (differences,),
        lambda x, axis: x.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=np.inf,
    )
    found = statistics.sign_flip_p(differences)
    assert found == pytest.approx(exact.pvalue)
    assert found == statistics.sign_flip_p(-differences)


def test_shares_of_different_numbers_of_seeds_have_a_common_unit() -> None:
    # 2 of 3 seeds against 1 of 2: 4/6 - 3/6.
    whole = statistics.whole_differences(np.array([2, 0]), 3, np.array([1, 2]), 2)
    assert whole.tolist() == [1, -6]


def test_fifty_thousand_rows_take_no_time() -> None:
    differences = np.random.default_rng(0).integers(-6, 7, 50_000)
    spread = np.sqrt((differences**2).sum())
    expected = 2 * stats.norm.sf(abs(differences.sum()) / spread)
    assert statistics.sign_flip_p(differences) == pytest.approx(expected, rel=0.02)


def test_the_interval_is_students() -> None:
    differences = np.array([1.0, 0, 0, 1, -1, 0, 1, 0])
    (low, high), p = statistics.difference_over_rows(differences)
    error = differences.std(ddof=1) / np.sqrt(8)
    assert (low + high) / 2 == pytest.approx(0.25)
    assert high - 0.25 == pytest.approx(2.364624 * error)  # the table's t for 7 degrees, 0.975
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    (low, high), same_p = statistics.difference_over_rows(differences, family=10)
    assert high - 0.25 == pytest.approx(4.029337 * error)  # the table's t for 7 degrees, 0.9975
    assert low == pytest.approx(0.25 - 4.029337 * error)
    assert same_p == p
    assert statistics.difference_over_rows(np.zeros(9)) == ((0, 0), 1)
    assert statistics.difference_over_rows(np.ones(9)) == ((1, 1), 1e-12)


def test_intervals_that_are_shown_together_hold_together() -> None:
    """Six pairs of equals: all intervals have the 0 in at least 95 % of the trials."""
    rng = np.random.default_rng(0)
    alone = together = 0
    for _ in range(400):
        scores = rng.normal(size=(4, 200))
        gaps = [a - b for a, b in combinations(scores, 2)]
        for family in (1, len(gaps)):
            found = [statistics.difference_over_rows(gap, family)[0] for gap in gaps]
            hold = all(low <= 0 <= high for low, high in found)
            alone, together = alone + (hold and family == 1), together + (hold and family > 1)
    assert alone < 0.85 * 400
    assert together >= 0.93 * 400  # 0.95, and the chance of 400 trials


def test_the_p_value_over_seeds() -> None:
    a, b = np.array([0.9, 0.8, 0.85]), np.array([0.7, 0.75, 0.7])
    seeds = (1, 2, 3)
    # Gaps 0.2, 0.05, 0.15: mean 0.1333, std 0.0764, t = 3.0237 with 2 degrees.
    t = 0.4 / 3 / (np.std([0.2, 0.05, 0.15], ddof=1) / np.sqrt(3))
    # P(|T| > t) with 2 degrees of freedom is 1 - t / sqrt(t² + 2).
    assert statistics.seeds_p(a, seeds, b, seeds) == pytest.approx(1 - t / np.sqrt(t * t + 2))
    welch = stats.ttest_ind(a, b[:2], equal_var=False).pvalue
    assert statistics.seeds_p(a, seeds, b[:2], (1, 2)) == pytest.approx(welch)
    assert statistics.seeds_p(a, seeds, b[:1], (1,)) is None


def test_seeds_without_a_spread_prove_nothing() -> None:
    one, half = np.ones(3), np.full(3, 0.5)
    seeds = (1, 2, 3)
    assert statistics.seeds_p(one, seeds, one, seeds) == 1
    assert statistics.seeds_p(one, seeds, half, seeds) is None
    # Gaps alike by accident: Welch's test instead of a p-value of 0.
    a = np.array([0.8, 0.9])
    assert statistics.seeds_p(a, (1, 2), a - 0.1, (1, 2)) == pytest.approx(
        stats.ttest_ind(a, a - 0.1, equal_var=False).pvalue
    )


def test_holm_by_hand() -> None:
    # Sorted: 0.01 * 3, 0.03 * 2 = 0.06, and 0.04 * 1 may not be less than the one before it.
    assert statistics.holm([0.04, None, 0.01, 0.03]) == pytest.approx([0.06, None, 0.03, 0.06])
    assert statistics.holm([0.6, 0.7]) == [1, 1]
    assert statistics.holm([]) == []


def test_f1_by_row_varies_as_a_bootstrap_does() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 600, p=[0.6, 0.3, 0.1])
    wrong = rng.random((2, 600)) < 0.3
    predictions = np.where(wrong, rng.integers(0, 3, (2, 600)), labels)

    def macro_f1(rows: Any) -> float:
        of = [
            classification_metrics(
                torch.from_numpy(labels[rows]).long(), torch.from_numpy(row[rows]).long(), "abc"
            )["macro_f1"]
            for row in predictions
        ]
        return float(np.mean(of))

    values = statistics.f1_by_row([RowLabels(row) for row in predictions], RowLabels(labels))
    assert values.mean() == pytest.approx(macro_f1(slice(None)))
    drawn = [macro_f1(rng.integers(0, 600, 600)) for _ in range(1000)]
    assert values.std(ddof=1) / np.sqrt(600) == pytest.approx(np.std(drawn), rel=0.1)


# --- runs made by hand -------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a corpus whose texts hold markup."""
    lines = ["text,label"]
    lines += [f"{WORDS} text {i},{('a', '<b>b|</b>')[i % 2]}" for i in range(ROWS)]
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("\n".join(lines) + "\n")
    files = [f"data.{split}={tmp_path / split}.csv" for split in ("train", "test")]
    return make_config("data=local", "data.name=toy", *files)


def write_run(
    folder: Path,
    config: Config,
    right: Sequence[bool] | np.ndarray[Any, Any],
    test_set: str = "",
    epochs: int = 2,
    **changes: Any,
) -> Path:
    """Write a finished run of two classes that is right about the rows given."""
    values = config.to_dict()
    for key, value in changes.items():
        *group, name = key.split("__")
        (values[group[0]] if group else values)[name] = value
    labels = torch.arange(len(right)) % 2
    predictions = torch.where(torch.tensor(np.asarray(right, bool)), labels, 1 - labels)
    names = ["<b>b|</b>", "a"]
    losses = np.where(right, 0.25, 1.25).astype(np.float32)
    test = {"loss": float(losses.mean())} | classification_metrics(labels, predictions, names)
    metrics = {"test": test, "validation": test, "train_seconds": 1.5, "prepare_seconds": 1.0,
               "tokens_per_second": 2e6, "epochs": epochs, "best_epoch": 1, "parameters": 100,
               "test_set": test_set or "none"}  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(values))))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    record = {"epoch": 1, "train": test, "validation": test}
    lines = [json.dumps(record | {"epoch": i + 1}) + "\n" for i in range(epochs)]
    (folder / "epochs.jsonl").write_text("".join(lines))
    columns = {"labels": labels.int().numpy(), "predictions": predictions.int().numpy(),
               "confidence": np.full(len(right), 0.75, np.float32), "losses": losses,
               "lengths": (np.arange(len(right)) % 7 + 1).astype(np.int32)}  # fmt: skip
    save_file(columns, folder / "predictions.safetensors")
    return folder


def rights(*ranges: range, rows: int = ROWS) -> list[bool]:
    wanted = {i for numbers in ranges for i in numbers}
    return [i in wanted for i in range(rows)]


@pytest.fixture
def runs(tmp_path: Path, config: Config) -> Path:
    """Modes with three seeds: mean is all right, sum nearly, max wrong in the second half."""
    corpus = Source(config.data).read()
    test_set = corpus.test.fingerprint(corpus.label_names)
    top = tmp_path / "runs"
    for seed in (1, 2, 3):
        for mode, right in (
            ("mean", rights(range(ROWS))),
            ("sum", rights(range(ROWS - seed))),
            ("max", rights(range(20 - 2 * seed))),
        ):
            write_run(
                top / f"mode={mode},seed={seed}", config, right, test_set, model__mode=mode,
                seed=seed,
            )  # fmt: skip
    return top


def shown(folders: Sequence[Path], out: Path, metric: str = "accuracy", width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    compare(folders, out, console, metric)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.fixture
def one_plot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing takes most of a comparison's time; few tests are about all of the pictures."""

    def first(*arguments: Any) -> list[Plot]:
        return [next(draw(*arguments))]

    monkeypatch.setattr("textcls.report.compare.draw", first)


def study_of(folder: Path) -> Study:
    return read_study(find_runs([folder]))


def finding_of(folder: Path, metric: str = "accuracy") -> Finding:
    return findings(study_of(folder).datasets[0], metric)[metric]


def read_table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


# --- reading and grouping --------------------------------------------------------------------


def test_runs_that_differ_only_in_the_seed_are_one_setting(runs: Path) -> None:
    (dataset,) = study_of(runs).datasets
    assert [(s.name, s.seeds) for s in dataset.settings] == [
        ("mean", (1, 2, 3)), ("sum", (1, 2, 3)), ("max", (1, 2, 3)),
    ]  # fmt: skip
    assert dataset.settings[0].values == {"mode": "mean"}
    assert dataset.label_names == ["<b>b|</b>", "a"]


def test_settings_are_named_by_what_differs(tmp_path: Path, config: Config) -> None:
    sgd = {"optimizer__name": "sgd", "optimizer__lr": 1.0, "cache_dir": "/elsewhere"}
    adam = {"optimizer__name": "adam", "optimizer__lr": 0.01, "trainer__num_threads": 2}
    changes: list[dict[str, Any]] = [sgd, adam, adam | {"model__dim": 8}, adam | {"seed": 2}]
    for i, change in enumerate(changes):
        write_run(tmp_path / "runs" / str(i), config, rights(range(30)), **change)
    (dataset,) = study_of(tmp_path / "runs").datasets
    # The optimizer's name tells the learning rate.
    assert [s.name for s in dataset.settings] == [
        "dim=8, optimizer=adam", "dim=32, optimizer=adam", "dim=32, optimizer=sgd",
    ]  # fmt: skip
    assert dataset.settings[1].seeds == (1, 2)


@pytest.mark.usefixtures("one_plot")
def test_runs_are_found_wherever_they_lie_and_once(runs: Path, tmp_path: Path) -> None:
    assert len(find_runs([runs])) == 9
    assert len(find_runs([runs, tmp_path, runs / "mode=sum,seed=1"])) == 9
    assert len(find_runs([str(runs / "mode=s*")])) == 3
    shown([runs], runs / "compare")
    assert len(find_runs([runs])) == 9
    with pytest.raises(InputError, match="there is no run in it"):
        find_runs([runs / "compare"])
    with pytest.raises(InputError, match=r"nowhere\*: there is no such folder"):
        find_runs(["nowhere*"])


@pytest.mark.usefixtures("one_plot")
def test_unfinished_and_failed_runs_are_listed(runs: Path) -> None:
    for seed in (2, 3):
        (runs / f"mode=max,seed={seed}" / "metrics.json").unlink()
    failed = runs / "mode=min,seed=1"
    failed.mkdir()
    reason = {"reason": "[bold]no[/bold] such mode", "exit_status": 2, "swept": {}}
    (failed / "failed.json").write_text(json.dumps(reason))
    text = shown([runs], runs / "compare")
    assert "3 not counted:" in text
    assert "mode=max,seed=2: not finished: 2 of 5 epochs" in text
    assert "mode=min,seed=1: failed: [bold]no[/bold] such mode" in text
    assert "With a single seed" in " ".join(text.split())
    rows = read_table(runs / "compare" / "runs.csv")
    assert [row["status"] for row in rows].count("not counted") == 3
    assert "no[/bold] such mode" in (runs / "compare" / "index.html").read_text()


def test_nothing_finished_is_an_error(runs: Path) -> None:
    for path in runs.glob("*/metrics.json"):
        path.unlink()
    with pytest.raises(InputError, match=r"no run is finished; .*: not finished: 2 of 5 epochs"):
        study_of(runs)


def test_different_test_rows_are_not_compared(runs: Path, config: Config) -> None:
    write_run(runs / "other", config, rights(range(30)), "other rows", seed=7)
    with pytest.raises(InputError, match=r"\(40 rows\) and .*were tested on different rows, both"):
        study_of(runs)
    named = dataclasses.replace(config, data=dataclasses.replace(config.data, name="another"))
    shutil.rmtree(runs / "other")
    write_run(runs / "other", named, rights(range(30)), "other rows", seed=7)
    with pytest.raises(InputError, match=r"other is the only run that was tested on 'another'"):
        study_of(runs)
    write_run(runs / "another", named, rights(range(9)), "other rows", seed=7, model__mode="max")
    assert [d.name for d in study_of(runs).datasets] == ["another", "toy"]


def test_the_same_run_twice_is_an_error(runs: Path) -> None:
    shutil.copytree(runs / "mode=max,seed=1", runs / "copy")
    with pytest.raises(InputError, match=r"copy and .*mode=max,seed=1 have the same settings"):
        study_of(runs)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "metrics.json").write_text("{"), "its metrics.json is damaged"),
        (lambda run: (run / "metrics.json").write_text('{"test": {}}'), "by an older textcls"),
        (lambda run: (run / "predictions.safetensors").unlink(), "has no predictions.safetensors"),
        (lambda run: (run / "predictions.safetensors").write_bytes(b"0"), "is damaged"),
        (lambda run: save_file({"labels": np.zeros(3)}, run / "predictions.safetensors"), "damag"),
        (lambda run: (run / "config.yaml").write_text("a: 1"), "its config.yaml is damaged"),
    ],
)
def test_a_damaged_run_is_told_in_one_line(runs: Path, damage: Any, message: str) -> None:
    damage(runs / "mode=sum,seed=1")
    with pytest.raises(InputError, match=message) as error:
        study_of(runs)
    assert "mode=sum,seed=1" in str(error.value)
    assert "\n" not in str(error.value)


# --- what it comes to ------------------------------------------------------------------------


def test_the_best_and_how_the_others_stand(runs: Path) -> None:
    finding = finding_of(runs)
    mean, sum_, max_ = finding.compared
    assert (mean.name, sum_.name, max_.name) == ("mean", "sum", "max")
    assert [finding.verdict(s) for s in finding.compared] == ["best", "not told apart", "behind"]
    pair = finding.behind(max_)
    assert pair is not None
    assert pair.lead == pytest.approx(1 - 16 / 40)
    assert pair.interval is not None
    assert pair.interval[0] < pair.lead < pair.interval[1]
    # Not told apart: sum misses row 39 with all three seeds, 38 with two and 37 with one, and
    # ±3 ±2 ±1 is at least 6 from 0 in 2 of 8 cases.
    pair = finding.behind(sum_)
    assert pair is not None
    assert pair.p_texts == pytest.approx(0.25)
    assert not pair.real
    words = " ".join(in_words(finding))
    assert words.startswith(
        "mean is best by accuracy: 1.000 ± 0.000. Really behind: max by 0.600 ["
    )
    assert "Not told apart from it: sum by 0.050" in words


@pytest.mark.usefixtures("one_plot")
def test_identical_settings_are_not_told_apart(tmp_path: Path, config: Config) -> None:
    for mode in ("mean", "sum"):
        for seed in (1, 2):
            folder = tmp_path / "runs" / f"{mode}{seed}"
            write_run(folder, config, rights(range(ROWS)), model__mode=mode, seed=seed)
    for metric in ("accuracy", "macro_f1", "loss"):
        (pair,) = finding_of(tmp_path / "runs", metric).pairs
        assert (pair.lead, pair.p_seeds, pair.real) == (0, 1, False)
        assert pair.p_texts == 1
    shown([tmp_path / "runs"], tmp_path / "out")


def test_one_seed_each_is_decided_by_the_texts_alone(tmp_path: Path, config: Config) -> None:
    write_run(tmp_path / "runs" / "a", config, rights(range(ROWS)), model__mode="mean")
    write_run(tmp_path / "runs" / "b", config, rights(range(20)), model__mode="max")
    finding = finding_of(tmp_path / "runs")
    (pair,) = finding.pairs
    assert pair.p_seeds is None
    assert pair.p_texts == pytest.approx(stats.binomtest(20, 20).pvalue)
    assert pair.real
    assert "With a single seed this holds for these runs only" in in_words(finding)[-1]
    # Twenty of forty rows lose one nat: t = 0.5 / (0.50637 / sqrt(40)) = 6.245 on 39 degrees.
    (pair,) = finding_of(tmp_path / "runs", "loss").pairs
    assert pair.better.name == "mean"
    assert pair.lead == pytest.approx(0.5)
    assert pair.p_texts == pytest.approx(2 * stats.t.sf(6.245, 39), rel=1e-3)
    assert pair.interval == pytest.approx((0.338, 0.662), abs=1e-3)


@pytest.mark.usefixtures("one_plot")
def test_a_single_run_is_shown(runs: Path, tmp_path: Path) -> None:
    text = shown([runs / "mode=max,seed=1"], tmp_path / "out")
    assert "There is no other setting to compare it with" in text


@pytest.mark.usefixtures("one_plot")
def test_of_many_settings_the_best_by_validation_are_compared(
    tmp_path: Path, config: Config
) -> None:
    for dim in range(1, 11):
        folder = tmp_path / "runs" / str(dim)
        write_run(folder, config, rights(range(dim * 4)), model__dim=dim)
    finding = finding_of(tmp_path / "runs")
    assert [s.name for s in finding.others] == ["dim=2", "dim=1"]
    assert len(finding.pairs) == 28
    for pair in finding_of(tmp_path / "runs", "loss").pairs:
        gaps = pair.worse.losses - pair.better.losses
        assert pair.interval == statistics.difference_over_rows(gaps, 28)[0]
    text = shown([tmp_path / "runs"], tmp_path / "out")
    assert "not compared" in text
    assert "The best 8 of 10 settings by validation are compared" in text


@pytest.mark.usefixtures("one_plot")
def test_the_metric_chooses_the_best(runs: Path) -> None:
    for seed, loss in ((1, 0.1), (2, 0.2), (3, 0.3)):
        path = runs / f"mode=max,seed={seed}" / "metrics.json"
        metrics = json.loads(path.read_text())
        metrics["test"]["loss"] = loss
        path.write_text(json.dumps(metrics))
    text = shown([runs], runs / "compare", "loss")
    assert "max is best by loss: 0.200 ± 0.100" in text
    assert 'data-to="loss" aria-pressed="true"' in (runs / "compare/index.html").read_text()


def test_rows_that_one_setting_alone_gets_right(runs: Path) -> None:
    (dataset,) = study_of(runs).datasets
    mean, sum_, max_ = only_right(dataset, dataset.settings)
    # Row 39 is wrong in all runs of sum, row 38 in two of three, row 37 in one, which is not most.
    assert (mean.count, sum_.count, max_.count) == (2, 0, 0)
    row, other = mean.rows
    assert (row.index, row.label, other.index) == (39, "a", 38)
    assert [answers[0][:2] for answers in row.answers.values()] == [
        ("a", 3), ("<b>b|</b>", 3), ("<b>b|</b>", 3),
    ]  # fmt: skip
    assert row.answers["mean"][0][2] == pytest.approx(0.75)


def test_length_bins_are_of_about_equal_count() -> None:
    lengths = np.random.default_rng(0).integers(1, 1000, 8_000)
    bins = length_bins(lengths)
    assert len(bins) == 8
    assert sorted(np.concatenate(bins)) == list(range(8_000))
    assert all(950 < len(rows) < 1050 for rows in bins)
    assert [len(rows) for rows in length_bins(np.full(5, 3))] == [5]
    assert sum(len(rows) for rows in length_bins(np.array([0, 0, 0, 0, 0, 0, 9]))) == 7


def test_a_mode_has_its_colour_whatever_it_is_compared_with(runs: Path) -> None:
    settings = study_of(runs).datasets[0].settings
    assert looks_of(settings[1:])["max"] == looks_of(settings)["max"]
    assert len({look.colour for look in looks_of(settings).values()}) == 3
    assert len(set(COLOURS)) == 8


# --- what is written -------------------------------------------------------------------------


def test_the_tables_hold_the_figures(runs: Path) -> None:
    out = runs / "compare"
    text = shown([runs], out, width=80)
    assert max(map(len, text.splitlines()[:8])) <= 80
    assert "1.000 ± 0.000" in text
    rows = {row["setting"]: row for row in read_table(out / "table.csv")}
    assert list(rows) == ["mean", "sum", "max"]
    assert float(rows["sum"]["accuracy_mean"]) == pytest.approx(38 / 40)
    assert float(rows["sum"]["accuracy_std"]) == pytest.approx(1 / 40)
    assert rows["max"]["verdict"] == "behind"
    assert float(rows["sum"]["p_other_texts"]) == pytest.approx(0.25)
    assert rows["mean"]["p_other_texts"] == ""
    runs_csv = read_table(out / "runs.csv")
    assert len(runs_csv) == 9
    assert {row["mode"] for row in runs_csv} == {"mean", "sum", "max"}
    table = (out / "table.md").read_text()
    assert "| **mean** | 3 | 1.000 ± 0.000 |" in table
    assert all(line.count("|") == 13 for line in table.splitlines() if line.startswith("|"))
    names = {path.name for path in out.iterdir()}
    for name in ("curves_accuracy", "curves_loss", "seconds_macro_f1", "classes", "lengths"):
        assert f"{name}.png" in names
    assert not any(name.startswith(".") for name in names)


@pytest.mark.usefixtures("one_plot")
def test_an_earlier_comparison_is_replaced_and_nothing_else_is(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shown([runs], out)
    before = {path.name for path in out.iterdir() if "tfevents" not in path.name}
    (out / "old.png").write_bytes(b"")
    shown([runs], out)
    assert {path.name for path in out.iterdir() if "tfevents" not in path.name} == before
    assert len(list(out.glob("events*"))) == 1
    (out / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds notes.txt, which is not of a comparison"):
        shown([runs], out)
    with pytest.raises(InputError, match="is not of a comparison"):
        shown([runs], runs)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("one_plot")
def test_what_users_write_is_text_on_the_page(runs: Path) -> None:
    shown([runs], runs / "compare")
    page = (runs / "compare" / "index.html").read_text()
    assert WORDS not in page
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; | text 39" in page
    assert "&lt;b&gt;b|&lt;/b&gt;" in page
    assert "<b>" not in page


@pytest.mark.usefixtures("one_plot")
def test_texts_that_are_gone_or_changed_are_missed_only(runs: Path, config: Config) -> None:
    assert config.data.test is not None
    path = Path(config.data.test)
    path.write_text(path.read_text().replace("text 39", "text 93"))
    shown([runs], runs / "compare")
    page = (runs / "compare" / "index.html").read_text()
    assert "its texts or labels have changed since the runs" in page
    path.unlink()
    shown([runs], runs / "compare")
    page = (runs / "compare" / "index.html").read_text()
    assert "there is no such file" in page
    assert "row 40" in page


@pytest.mark.usefixtures("one_plot")
def test_a_run_tested_on_train_rows_has_no_texts(tmp_path: Path, config: Config) -> None:
    for mode, last in (("mean", 40), ("max", 20)):
        folder = tmp_path / "runs" / mode
        write_run(folder, config, rights(range(last)), model__mode=mode, trainer__overfit=40)
    shown([tmp_path / "runs"], tmp_path / "out")
    page = (tmp_path / "out" / "index.html").read_text()
    assert "The texts cannot be shown: trainer.overfit has no test split of its own." in page


def test_tensorboard_has_the_comparison(runs: Path) -> None:
    shown([runs], runs / "compare")
    events = EventAccumulator(str(runs / "compare"), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    assert {"accuracy/mean", "accuracy/max", "loss/sum", "range/accuracy/sum/high"} <= set(
        events.Tags()["scalars"]
    )
    assert [(p.step, p.value) for p in events.Scalars("accuracy/sum")] == [
        (1, pytest.approx(38 / 40)), (2, pytest.approx(38 / 40)),
    ]  # fmt: skip
    assert events.Scalars("range/accuracy/sum/low")[0].value == pytest.approx(37 / 40)
    assert "classes" in events.Tags()["images"]
    text = events.Tensors("comparison/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| **mean** |" in text
    layout = layout_pb2.Layout()
    layout.ParseFromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    (category,) = layout.category
    lines, bands = category.chart[0], category.chart[1]
    assert lines.multiline.tag == ["^accuracy/mean$", "^accuracy/sum$", "^accuracy/max$"]
    assert [series.value for series in bands.margin.series] == [
        "accuracy/mean", "accuracy/sum", "accuracy/max",
    ]  # fmt: skip


# --- the command -----------------------------------------------------------------------------


def test_the_commands_errors_are_one_line(
    runs: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    named = dataclasses.replace(config, data=dataclasses.replace(config.data, name="another"))
    write_run(runs / "other", named, rights(range(30)), "other rows")
    for arguments in (
        ["compare", str(runs)],
        ["compare", "nowhere"],
        ["compare"],
        ["compare", str(runs), "--metric", "beauty"],
        ["compared"],
        [],
    ):
        assert cli.main(arguments) == 2
        shown_ = capsys.readouterr()
        assert shown_.err.startswith("error: ")
        assert shown_.err.count("\n") == 1
        assert not shown_.out
    assert cli.main(["compare", "--help"]) == 0


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Path:
    tmp = tmp_path_factory.mktemp("sweep")
    train = write_csv(tmp / "train.csv", 120)
    test = write_csv(tmp / "test.csv", 60, shift=1)
    arguments = ["-m", "data=local", f"data.train={train}", f"data.test={test}", "data.name=items",
                 "model.mode=mean,sum,max", "seed=1,2", "model.dim=2", "trainer.epochs=2",
                 f"run_dir={tmp / 'runs'}"]  # fmt: skip
    done = warm.finish(start_train(arguments, tmp, cache_dir))
    assert done.returncode == 0, done.stderr
    return tmp / "runs"


def test_the_command_compares_a_real_sweep(sweep: Path, cache_dir: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*warm.TEXTCLS, "compare", *arguments]
        return warm.finish(warm.start(command, PROJECT, train_environment(cache_dir)))

    done = run(str(sweep))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "is best by accuracy" in done.stdout
    assert f"page         {sweep / 'compare' / 'index.html'}" in done.stdout
    rows = read_table(sweep / "compare" / "runs.csv")
    for row in rows:
        expected = json.loads((Path(row["run"]) / "metrics.json").read_text())["test"]
        assert float(row["test_accuracy"]) == expected["accuracy"]
    assert len(rows) == 6
    assert "there is no such folder" in one_line(run("nowhere"))


# --- the page in a browser -------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    driver = shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium with its chromedriver on this machine")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    chrome.set_window_size(1280, 900)
    yield chrome
    chrome.quit()


def requested(browser: Any) -> list[str]:
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def test_the_page_works_by_itself(runs: Path, config: Config, browser: Any) -> None:
    named = dataclasses.replace(config, data=dataclasses.replace(config.data, name="another"))
    for mode, last in (("mean", 30), ("max", 20)):
        write_run(runs / f"z-{mode}", named, rights(range(last)), "other rows", model__mode=mode)
    shown([runs], runs / "compare")
    url = (runs / "compare" / "index.html").as_uri()
    requested(browser)
    browser.get(url)

    def all_(selector: str) -> list[Any]:
        found = browser.find_elements("css selector", selector)
        return [element for element in found if element.is_displayed()]

    def first_column() -> list[str]:
        return [cell.text for cell in all_("table.settings tbody td:first-child")]

    def click(text: str) -> None:
        (button,) = [b for b in all_(".switch button") if b.text == text]
        button.click()

    pictures = all_("figure img")
    assert len(pictures) == 4
    assert all(browser.execute_script("return arguments[0].naturalWidth > 99", p) for p in pictures)

    # Sort by accuracy: a click up, another down.
    assert first_column() == ["mean", "sum", "max"]
    (head,) = [h for h in all_("table.settings th") if h.text == "accuracy"]
    for order, expected in (
        ("ascending", ["max", "sum", "mean"]), ("descending", ["mean", "sum", "max"]),
    ):  # fmt: skip
        head.find_element("tag name", "button").click()
        assert head.get_attribute("aria-sort") == order
        assert first_column() == expected

    # The other metric has its own sentences and pictures.
    assert "by accuracy" in all_(".lead")[0].text
    click("macro F1")
    assert "best by macro F1" in all_(".lead")[0].text
    assert "macro F1" in all_("figure figcaption")[0].text

    # A text opens at a click, and is text.
    (only,) = all_("details.only > summary")
    only.click()
    row, _ = all_("details.text > summary")
    row.click()
    (quote,) = all_("details.text blockquote")
    assert quote.text == f"{WORDS} text 39"
    assert "a (3; 0.75)" in all_("details.text table")[0].text

    # The other dataset.
    click("another")
    assert first_column() == ["mean", "max"]
    assert "another" in all_("h2 small")[0].text
    assert not all_("details.text")

    # Narrow, the page itself does not scroll sideways.
    browser.set_window_size(500, 900)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    browser.set_window_size(1280, 900)

    assert browser.get_log("browser") == []
    assert [u for u in requested(browser) if not u.startswith("data:")] == [url]
