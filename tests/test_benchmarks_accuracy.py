from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import csv
from sklearn.metrics import f1_score, log_loss

from benchmarks.accuracy import linear, peers, report
from benchmarks.accuracy.data import Int64, Splits, Texts, read
from benchmarks.accuracy.measuring import find
from benchmarks.accuracy.scores import (
    Floats,
    calibrated_error,
    load,
    predictions_of,
    ranks,
    score,
    write,
)
from benchmarks.measure import Results
from tests.conftest import PROJECT
from tests.test_benchmarks import benchmark
from textcls.report.statistics import sign_flip_p

RNG = np.random.default_rng(0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a folder with a small data set, and one of several labels a text."""
    folder = tmp_path / "data" / "cr"
    folder.mkdir(parents=True)
    (tmp_path / "data" / "cooking").mkdir()
    for split, rows in (("train", 500), ("test", 200)):
        table = csv.read_csv(PROJECT / "data" / "reviews" / f"{split}.csv")
        csv.write_csv(table.slice(0, rows), folder / f"{split}.csv")
    return tmp_path / "data"


def test_the_calibration_error_of_exact_probabilities_is_that_of_sampling() -> None:
    # One bin: the mean of |k/n - p| over binomial k.
    n, p = 400, 0.7
    expected = sum(
        math.comb(n, k) * p**k * (1 - p) ** (n - k) * abs(k / n - p) for k in range(n + 1)
    )
    assert calibrated_error(np.full(n, p)) == pytest.approx(expected, rel=0.1)


def test_scores_are_those_of_scikit_learn() -> None:
    labels = RNG.integers(0, 4, 300)
    probabilities = RNG.dirichlet(np.ones(5), 300)  # class 4 is predicted, but never right
    found = score(predictions_of(probabilities, labels, probabilistic=True))
    predicted = probabilities.argmax(1)
    assert found["accuracy"] == (predicted == labels).mean()
    assert found["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert found["loss"] == pytest.approx(log_loss(labels, probabilities, labels=range(5)))
    assert set(score(predictions_of(probabilities, labels, False))) == {"accuracy", "macro_f1"}


def test_ranks_are_means_over_data_sets_and_equals_share_theirs() -> None:
    found = ranks([np.array([0.9, 0.8, 0.7]), np.array([0.5, 0.6, 0.5])])
    assert found.tolist() == [(1 + 2.5) / 2, (2 + 1) / 2, (3 + 2.5) / 2]
    assert ranks([np.array([3.0, 1.0])], descending=False).tolist() == [2, 1]


def texts_of(rows: Sequence[tuple[str, int]]) -> Texts:
    texts, labels = zip(*rows, strict=True)
    return Texts(list(texts), np.array(labels))


def test_naive_bayes_weighs_by_log_count_ratios() -> None:
    texts = texts_of([("good fun", 1), ("good good", 1), ("bad fun", 0)])
    splits = Splits(texts, texts, texts, classes=2, spaced=True, large=False)
    features = linear.binary(texts, splits)
    seen: list[Any] = []

    def fit(vectors: Any, labels: Int64) -> tuple[Floats, float]:
        seen.append((vectors.toarray(), labels))
        return np.ones(vectors.shape[1]), 0.5

    model = linear._one_against_rest(features, fit, probabilistic=False, ratios=True)
    # Texts with each of: bad, bad fun, fun, good, good fun, good good; with 1 added.
    positive, negative = np.array([1, 1, 2, 3, 2, 2]) / 11, np.array([2, 2, 2, 1, 1, 1]) / 9
    ratio = np.log(positive / negative)
    occur = np.array([[0, 0, 1, 1, 1, 0], [0, 0, 0, 1, 0, 1], [1, 1, 1, 0, 0, 0]])
    ((vectors, labels),) = seen
    assert vectors == pytest.approx(occur * ratio)
    assert labels.tolist() == [True, True, False]
    scores = model.score(features.transform(texts.texts))
    assert scores[:, 1] == pytest.approx(occur @ ratio + 0.5)
    assert scores[:, 0] == pytest.approx(-scores[:, 1])


@pytest.mark.filterwarnings("ignore")
def test_peers_are_tuned_on_validation_and_fitted_on_all_the_rest(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = find(data)["cr"].files(data / "cr")
    fitted: list[int] = []

    def fit(features: linear.Features, settings: linear.Settings, seed: int) -> linear.Linear:
        fitted.append(len(features.labels))
        return linear.naive_bayes_svm(features, settings, seed)

    grid = [{"C": 1e-6, "beta": 1}, {"C": 1.0, "beta": 1}]
    monkeypatch.setitem(peers.PEERS, "nb-svm", peers.Peer(linear.binary, fit, grid, grid))
    seeds = {"nb-svm": [0], "nb-lr": [0]}
    svm, logistic = peers.run(["nb-svm", "nb-lr"], files, True, False, seeds, str(tmp_path))
    assert fitted == [450, 450, 500]
    best = max(svm["tried"], key=lambda one: one["validation"]["accuracy"])
    assert svm["settings"] == best["settings"]
    assert svm["validation"]["accuracy"] > svm["tried"][0]["validation"]["accuracy"]
    splits = read(files)
    for one in (svm, logistic):
        kept = load(tmp_path / f"{one['system']}-0.safetensors")
        assert kept["labels"].tolist() == splits.test.labels.tolist()
        assert one["test"] == score(kept)
        assert one["test"]["accuracy"] > 0.7
    assert "loss" in logistic["test"]
    assert "loss" not in svm["test"]


def record(accuracy: float) -> dict[str, Any]:
    figures = {"accuracy": accuracy, "macro_f1": accuracy}
    return {"test": figures, "validation": figures, "train_seconds": 1.0, "search_seconds": 0.0,
            "bytes": 2_000_000}  # fmt: skip


def test_the_report_ranks_and_tests(tmp_path: Path) -> None:
    results = Results(tmp_path / "accuracy.json")
    results.begin({"seeds": [1]})
    labels = np.zeros(100, np.int64)
    for system, seed, wrong in (("textcls", 1, 20), ("tfidf-lr", 0, 5), ("nb-svm", 0, 21)):
        scores = np.eye(2)[(np.arange(100) < wrong).astype(int)]
        kept = predictions_of(scores, labels, probabilistic=False)
        write(tmp_path / "predictions" / "cr" / f"{system}-{seed}.safetensors", kept)
        key = {"set": "cr", "system": system, "seed": seed}
        results.add(key, record(1 - wrong / 100))
    results.add({"set": "cr", "system": "fasttext", "seed": 1}, {"error": "NaN"})
    text = report.write(results, tmp_path)
    assert text == (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    assert "| Customer reviews | 80.0 | **95.0** | 79.0 |" in text
    assert "| mean rank on 1 | 2.0 | 1.0 | 3.0 |" in text
    assert "- Customer reviews: TF-IDF(1) + LR 95.0, textcls 80.0: 15.0 points" in text
    p = 2 * sign_flip_p(np.array([1] * 15))  # of two tests, by Holm
    assert p < 0.001
    assert "| Customer reviews | **-15.0** (p < 0.001) | +1.0 (p = 1.000) |" in text
    assert "- cr fasttext 1: NaN" in text

    other = predictions_of(scores, 1 - labels, probabilistic=False)
    write(tmp_path / "predictions" / "cr" / "nb-svm-0.safetensors", other)
    with pytest.raises(ValueError, match="cr: the systems were tested on other rows"):
        report.write(results, tmp_path)


def test_results_of_several_runs_at_a_time_are_kept(tmp_path: Path) -> None:
    first, second = (Results(tmp_path / "accuracy.json") for _ in range(2))
    first.begin({"seeds": [1]})
    second.begin({"seeds": [2]})
    first.add({"seed": 1}, {"value": 1})
    second.add({"seed": 2}, {"value": 2})
    first.add({"seed": 1}, {"value": 3})
    found = json.loads((tmp_path / "accuracy.json").read_text(encoding="utf-8"))
    values = {one["key"]["seed"]: one["value"] for one in found["records"]}
    assert values == {1: 3, 2: 2}
    for one in found["records"]:
        assert found["runs"][one["run"]]["seeds"] == [one["key"]["seed"]]


def test_sets_of_several_labels_are_left_out(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(find(data)) == ["cr"]
    assert "cooking is left out: its texts have several labels" in capsys.readouterr().out


@pytest.mark.slow
def test_one_command_measures_and_reports(data: Path, tmp_path: Path) -> None:
    done = benchmark(
        "--parts", "accuracy", "--data", str(data), "--out", str(tmp_path), "--seeds", "1",
        "--systems", "textcls-quick,tfidf-lr,tfidf2-svc",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "failed" not in done.stdout
    values = json.loads((tmp_path / "accuracy.json").read_text(encoding="utf-8"))
    keys = {(one["key"]["system"], one["key"]["seed"]) for one in values["records"]}
    assert keys == {("textcls-quick", 1), ("tfidf-lr", 0), ("tfidf2-svc", 0)}
    assert "| mean rank on 1 |" in (tmp_path / "accuracy.md").read_text(encoding="utf-8")
