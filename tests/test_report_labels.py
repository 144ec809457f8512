"""Reports on runs whose texts have any number of labels: scores, pictures, cards, comparisons."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from rich.console import Console
from safetensors.numpy import load_file, save_file
from scipy import stats
from sklearn.metrics import f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.conftest import Run, make_config, with_options
from textcls import cli
from textcls.config import Config
from textcls.corpus.corpus import Source
from textcls.corpus.splits import RowLabels, Split
from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.model.card import model_card
from textcls.report import statistics
from textcls.report.agreement import are_right
from textcls.report.analysis import findings
from textcls.report.compare import compare
from textcls.report.labels import label_picture, label_summary
from textcls.report.study import find_runs, read_study
from textcls.report.texts import only_right, read_texts
from textcls.task.multi import MultiLabel
from textcls.task.scores import Scores

Matrix = np.ndarray[Any, np.dtype[np.bool_]]


def labels_of(has: Matrix) -> RowLabels:
    """Return the labels of rows that a matrix, bool ``[num_rows, num_classes]``, has."""
    return RowLabels(has.nonzero()[1].copy(), np.r_[0, has.sum(1).cumsum()])


def truth_and_claims(rows: int, classes: int, seeds: int) -> tuple[Matrix, list[Matrix]]:
    rng = np.random.default_rng(0)
    truth = rng.random((rows, classes)) < np.linspace(0.5, 0.1, classes)
    claims = [np.where(rng.random(truth.shape) < 0.2, ~truth, truth) for _ in range(seeds)]
    return truth, claims


def metrics_of(num_rows: int, num_classes: int) -> dict[str, Any]:
    rng = np.random.default_rng(1)
    has = rng.random((num_rows, num_classes)) < np.geomspace(0.4, 0.001, num_classes)
    labels = labels_of(has)
    assert labels.offsets is not None
    targets = Targets(torch.from_numpy(labels.ids), torch.from_numpy(labels.offsets))
    logits = torch.from_numpy(rng.normal(size=has.shape) - 2 + 3 * has).float()
    names = [f"$[{i}]" for i in range(num_classes)]
    task = MultiLabel(torch.linspace(0.2, 0.4, num_classes))
    return task.assess(Scores.of(logits), targets, names).metrics


# --- statistics ------------------------------------------------------------------------------


def test_a_row_is_right_where_all_its_labels_are_predicted_and_no_others() -> None:
    truth, claims = truth_and_claims(500, 4, 1)
    truth[0] = claims[0][0] = False  # none, and none is said
    found = are_right(labels_of(claims[0]), labels_of(truth))
    assert found.tolist() == (claims[0] == truth).all(1).tolist()
    assert 0 < found.sum() < 500
    ids = np.array([2, 0, 1])
    assert are_right(RowLabels(ids), RowLabels(np.array([2, 1, 1]))).tolist() == [True, False, True]


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_by_row_is_scikit_learns_and_varies_as_a_bootstrap_does(average: str) -> None:
    truth, claims = truth_and_claims(600, 5, 2)

    def f1(rows: Any) -> float:
        axis = None if average == "micro" else 0
        of_claims = []
        for one in claims:  # scikit-learn's takes a hundred times as long
            right = (truth[rows] & one[rows]).sum(axis)
            of_claims.append(2 * right / (truth[rows].sum(axis) + one[rows].sum(axis)))
        return float(np.mean(of_claims))

    by_row = {"micro": statistics.micro_f1_by_row, "macro": statistics.f1_by_row}[average]
    values = by_row([labels_of(one) for one in claims], labels_of(truth))
    expected = np.mean([f1_score(truth, one, average=average) for one in claims])
    assert values.mean() == pytest.approx(expected)
    assert f1(slice(None)) == pytest.approx(expected)
    rng = np.random.default_rng(0)
    drawn = [f1(rng.integers(0, 600, 600)) for _ in range(500)]
    assert values.std(ddof=1) / np.sqrt(600) == pytest.approx(np.std(drawn), rel=0.12)


def test_rows_without_any_label_have_no_f1() -> None:
    nothing = labels_of(np.zeros((3, 2), np.bool_))
    assert statistics.f1_by_row([nothing], nothing).tolist() == [0, 0, 0]
    assert statistics.micro_f1_by_row([nothing], nothing).tolist() == [0, 0, 0]


# --- one run ---------------------------------------------------------------------------------


def text_of(renderable: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def test_the_summary_has_all_of_few_labels() -> None:
    metrics = metrics_of(300, 12)
    text = text_of(label_summary(metrics))
    assert f"micro F1 {metrics['micro_f1']:.4f}" in text
    assert "(300 rows)" in text
    assert f"{metrics['ndcg_at_5']:.4f}" in text
    lines = [line for line in text.splitlines() if "$[" in line]
    assert len(lines) == 12
    assert [float(line.split()[-2]) for line in lines if "$[11]" in line] == pytest.approx([0.4])
    rows = [int(line.split("│")[5]) for line in lines]
    assert rows == sorted(rows, reverse=True)


def test_of_many_labels_the_summary_has_the_most_frequent_and_the_worst() -> None:
    metrics = metrics_of(2_000, 700)
    text = text_of(label_summary(metrics))
    frequent, worst = (
        [line.split("│") for line in part.splitlines() if "$[" in line]
        for part in text.split("the 10 worst")
    )
    assert len(frequent) == len(worst) == 10
    support = sorted((row["support"] for row in metrics["per_class"].values()), reverse=True)
    assert [int(cells[5].replace(",", "")) for cells in frequent] == support[:10]
    shown = {cells[1].strip() for cells in frequent}
    others = [
        row["f1"] for name, row in metrics["per_class"].items()
        if name not in shown and row["support"]
    ]  # fmt: skip
    assert [float(cells[4]) for cells in worst] == pytest.approx(sorted(others)[:10], abs=5e-4)


@pytest.mark.parametrize("num_classes", [1, 11, 735])
@pytest.mark.filterwarnings("error")
def test_the_picture_names_labels_and_has_all_of_them(num_classes: int, tmp_path: Path) -> None:
    metrics = metrics_of(1_000, num_classes)
    figure = label_picture(metrics, "title")
    figure.savefig(tmp_path / "a.png")
    assert len(figure.axes[0].get_yticklabels()) == min(num_classes, 30)
    f1 = [row["f1"] for row in metrics["per_class"].values()]
    drawn = figure.axes[0].lines[2].get_xdata()
    assert set(np.asarray(drawn)) <= set(f1)
    if num_classes > 30:
        had = [row["f1"] for row in metrics["per_class"].values() if row["support"]]
        assert sorted(np.asarray(figure.axes[1].lines[0].get_ydata())) == sorted(had)


# --- a real run ------------------------------------------------------------------------------


def write_films(path: Path, rows: int, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    names = np.array(["<b>drama", "comedy", "war"])
    lines = []
    for number in range(rows):
        has = rng.random(3) < 0.5
        words = [f"w{name[-3:]}" for name in names[has]] + [f"film{number}"]
        lines.append(json.dumps({"text": " ".join(words), "labels": names[has].tolist()}))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def films(tmp_path: Path) -> tuple[Path, Path]:
    return write_films(tmp_path / "train.jsonl", 300, 0), write_films(tmp_path / "t.jsonl", 80, 1)


def test_a_run_reports_its_labels(
    films: tuple[Path, Path],
    tmp_path: Path,
    run_train: Run,
    capsys: pytest.CaptureFixture[str],
) -> None:
    train, test = films
    run = tmp_path / "run"
    done = run_train(
        f"data.train={train}", f"data.test={test}", f"run_dir={run}", "trainer.epochs=3"
    )
    assert done.returncode == 0, done.stderr
    assert "subset accuracy" in done.stdout
    assert "of the k most probable labels" in done.stdout
    assert (run / "labels.png").exists()
    assert not (run / "confusion_matrix.png").exists()
    metrics = json.loads((run / "metrics.json").read_text())
    assert all(0 < row["threshold"] < 1 for row in metrics["test"]["per_class"].values())
    events = EventAccumulator(str(run), size_guidance={"tensors": 0, "images": 0})
    events.Reload()
    assert {"labels/test", "calibration/test"} <= set(events.Tags()["images"])
    assert "precision_recall/comedy" in events.Tags()["tensors"]
    card = (run / "model" / "README.md").read_text()
    head = yaml.safe_load(card.split("---")[1])
    (result,) = head["model-index"][0]["results"]
    by_name = {metric["name"]: metric["value"] for metric in result["metrics"]}
    assert by_name["micro F1"] == pytest.approx(metrics["test"]["micro_f1"], abs=5e-5)
    assert "A text may get no label" in card
    assert f"| {metrics['test']['per_class']['war']['threshold']:.3f} |" in card

    out = tmp_path / "out"
    assert cli.main(["evaluate", str(run), str(test), "--out", str(out)]) == 0
    again = json.loads((out / "metrics.json").read_text())
    assert again["per_class"] == metrics["test"]["per_class"]
    assert again["rows"] == 80
    assert (out / "labels.png").exists()
    test.write_text(
        test.read_text().replace("drama", "x").replace("comedy", "y").replace("war", "z")
    )
    assert cli.main(["evaluate", str(run), str(test)]) == 2
    assert "the model knows none of its labels" in capsys.readouterr().err


def test_inspect_says_from_where_on_labels_are_predicted(
    films: tuple[Path, Path], tmp_path: Path, run_train: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    train, test = films
    run = tmp_path / "run"
    run_train(f"data.train={train}", f"data.test={test}", f"run_dir={run}", "trainer.epochs=1")
    assert cli.main(["inspect", str(run), "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert known["thresholds"] == {
        name: row["threshold"] for name, row in metrics["per_class"].items()
    }
    assert known["metrics"]["test"]["micro_f1"] == metrics["micro_f1"]
    assert cli.main(["inspect", str(run)]) == 0
    assert "any number of labels" in capsys.readouterr().out


def test_a_card_without_a_run_says_what_labels_are() -> None:
    card = model_card("x", "sum", ["a", "b"], {}, several=True)
    assert "2 labels, of which a text has any number" in card
    assert "always names one of its classes" not in card
    assert "always names one of its classes" in " ".join(model_card("x", "sum", ["a"], {}).split())


# --- comparing -------------------------------------------------------------------------------


@pytest.fixture
def config(films: tuple[Path, Path]) -> Config:
    train, test = films
    return make_config("data=local", "data.name=films", f"data.train={train}", f"data.test={test}")


def write_run(folder: Path, config: Config, test: Split, claims: Matrix, truth: Matrix) -> None:
    """Write a finished run that says what ``claims`` has of rows with the labels of ``truth``."""
    names = ["<b>drama", "comedy", "war"]
    true, claimed = labels_of(truth), labels_of(claims)
    assert true.offsets is not None
    assert claimed.offsets is not None
    targets = Targets(torch.from_numpy(true.ids), torch.from_numpy(true.offsets))
    logits = torch.from_numpy(np.where(claims, 2.0, -2.0)).float()
    task = MultiLabel()
    scores = task.assess(Scores.of(logits), targets, names).metrics
    metrics = {"test": scores, "validation": scores, "train_seconds": 1.5, "epochs": 1,
               "tokens_per_second": 2e6, "best_epoch": 1, "parameters": 9,
               "test_set": test.fingerprint(names)}  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(config.to_dict()))))
    (folder / "metrics.json").write_text(json.dumps(metrics))
    record = {"epoch": 1, "train": scores, "validation": scores}
    (folder / "epochs.jsonl").write_text(json.dumps(record) + "\n")
    columns: dict[str, Any] = {
        "labels": true.ids.astype(np.int32), "label_offsets": true.offsets,
        "predictions": claimed.ids.astype(np.int32), "prediction_offsets": claimed.offsets,
        "losses": task.losses(logits, targets).numpy(),
        "lengths": (np.arange(len(truth)) % 7 + 1).astype(np.int32),
    }  # fmt: skip
    save_file(columns, folder / "predictions.safetensors")


@pytest.fixture
def runs(tmp_path: Path, config: Config) -> Path:
    """Of two modes: mean is right of all rows but the last ten, max has one label too many."""
    corpus = Source(config.data).read()
    truth = Targets(
        torch.from_numpy(corpus.test.labels.ids),
        torch.from_numpy(np.asarray(corpus.test.labels.offsets)),
    ).dense(3).numpy().astype(bool)  # fmt: skip
    for mode in ("mean", "max"):
        claims = truth.copy()
        claims[slice(-10, None) if mode == "mean" else slice(30), 2] ^= True
        of_mode = with_options(config, "model", mode=mode)
        write_run(tmp_path / "runs" / mode, of_mode, corpus.test, claims, truth)
    return tmp_path / "runs"


def test_runs_of_several_labels_are_compared(runs: Path) -> None:
    (dataset,) = read_study(find_runs([runs])).datasets
    found = findings(dataset, "micro_f1")
    assert list(found) == ["micro_f1", "macro_f1", "accuracy", "loss"]
    for finding in found.values():
        assert finding.best.name == "mean"
        (pair,) = finding.pairs
        assert pair.real
        assert pair.interval[0] < pair.lead < pair.interval[1]
    # Just one of the two is right about 30 rows, or about 10: McNemar's exact test.
    (pair,) = found["accuracy"].pairs
    assert pair.lead == pytest.approx(20 / 80)
    assert pair.p_texts == pytest.approx(stats.binomtest(10, 40).pvalue)


def test_the_page_shows_sets_of_labels(runs: Path, tmp_path: Path) -> None:
    (dataset,) = read_study(find_runs([runs])).datasets
    right, _ = only_right(dataset, dataset.settings)
    assert right.count == 30
    row = right.rows[0]
    names = dataset.label_names
    wanted = [names[i] for i in dataset.labels.lists()[row.index]]
    assert row.label == (", ".join(wanted) or "no label")
    (answer,) = row.answers["mean"]
    assert (answer.label, answer.runs, answer.right) == (row.label, 1, True)
    (answer,) = row.answers["max"]
    assert not answer.right
    assert answer.label != row.label
    assert len(read_texts(dataset, [row.index])) == 1

    console = Console(file=io.StringIO(), width=80)
    compare([runs], tmp_path / "out", console)
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "mean is best by micro F1" in shown
    page = (tmp_path / "out" / "index.html").read_text()
    assert 'data-to="micro_f1" aria-pressed="true"' in page
    assert "subset accuracy" in page
    assert "<b>" not in page
    assert "The texts cannot be shown" not in page
    assert (tmp_path / "out" / "curves_micro_f1.png").exists()


def test_single_labels_and_several_are_never_compared(
    runs: Path, tmp_path: Path, run_train: Run
) -> None:
    lines = ["text,label", *(f"text w{i % 3} of {i},{'ab'[i % 2]}" for i in range(80))]
    (tmp_path / "one.csv").write_text("\n".join(lines) + "\n")
    done = run_train(
        f"data.train={tmp_path / 'one.csv'}", f"run_dir={runs / 'one'}", "trainer.epochs=1"
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputError, match=r"runs/one have one label each, those of .* any number"):
        read_study(find_runs([runs]))
    with pytest.raises(InputError, match="--metric micro_f1: these runs have accuracy, macro_f1"):
        compare([runs / "one"], tmp_path / "out", Console(file=io.StringIO()), "micro_f1")


@pytest.mark.parametrize("name", ["label_offsets", "prediction_offsets"])
def test_damaged_offsets_are_told(runs: Path, name: str) -> None:
    path = runs / "max" / "predictions.safetensors"
    columns = load_file(path)
    columns[name] = columns[name] + 1
    save_file(columns, path)
    with pytest.raises(InputError, match=f"its predictions.safetensors is damaged .*{name}"):
        read_study(find_runs([runs]))
