from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import confusion_matrix

from textcls.data.vocabulary import Vocabulary
from textcls.files import read_epochs
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import WEIGHT_SCALE
from textcls.report.confusion import picture, summary
from textcls.result import _frequent_tokens
from textcls.task.single_metrics import classification_metrics
from textcls.training.checkpoint import Progress
from textcls.training.tracking import Tracker
from textcls.values import Mode


def result(num_classes: int) -> tuple[dict[str, Any], np.ndarray[Any, Any]]:
    """Return metrics, and the confusion matrix of the same rows."""
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, num_classes, 500))
    predictions = torch.where(torch.rand(500) < 0.7, labels, (labels + 1) % num_classes)
    names = [f"class $[{i}]" for i in range(num_classes)]
    metrics = {"loss": 1.0} | classification_metrics(labels, predictions, names)
    return metrics, confusion_matrix(labels, predictions, labels=range(num_classes))


@pytest.mark.parametrize("mode", ["mean", "mean+sum+max", "weighted_sum"])
def test_the_projector_shows_what_a_token_adds(mode: Mode) -> None:
    vocabulary = Vocabulary(["<unk>", "<pad>", "good", "bad"], [0, 0, 9, 5])
    model = EmbeddingBagClassifier(4, 2, 2, mode, padding_id=1, dropout=0.9)
    with torch.no_grad():
        model.embedding.weight[2:] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        model.linear.weight.copy_(torch.eye(2).repeat(1, model.embedding.pooled_dim // 2))
        model.linear.bias[0] = 99.0  # says nothing of a token
        if model.embedding.weighing is not None:
            model.embedding.weighing[3] = -2 / WEIGHT_SCALE  # weighs -1: speaks against its class
    encoder = SimpleNamespace(vocabulary=vocabulary)
    prepared: Any = SimpleNamespace(encoder=encoder, label_names=("yes", "no"))
    rows, tokens = _frequent_tokens(prepared, model)
    weighted = mode == "weighted_sum"
    assert rows.tolist() == [[1, 0], [0, -1 if weighted else 1]]
    assert tokens == [("good", "9", "yes"), ("bad", "5", "yes" if weighted else "no")]


def text_of(renderable: Any) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("num_classes", [2, 10, 11, 60])
def test_the_summary_shows_what_was_confused(num_classes: int) -> None:
    metrics, matrix = result(num_classes)
    text = text_of(summary(metrics))
    assert f"test accuracy {metrics['accuracy']:.4f}" in text
    assert "class $[" in text  # not taken for markup
    if num_classes <= 10:
        assert f" {matrix[0, 1]} " in text.split("confusion matrix")[1]
    else:
        wrong = matrix - np.diag(np.diag(matrix))
        first = text.split("most frequent confusions")[1].splitlines()[4]
        assert re.findall(r"\d+", first)[-1] == str(wrong.max())
    assert ("the 10 most frequent of 60 classes" in text) == (num_classes == 60)
    if num_classes == 60:
        by_class = metrics["per_class"]
        frequent = sorted(by_class, key=lambda name: -by_class[name]["support"])
        worst = min(frequent[10:], key=lambda name: by_class[name]["f1"])
        shown = text.split("the 10 worst of the others")[1]
        assert re.search(r"class \$\[\d+\]", shown)[0] == worst  # type: ignore[index]


@pytest.mark.parametrize("num_classes", [2, 20, 60])
def test_the_picture_can_be_drawn(num_classes: int, tmp_path: Path) -> None:
    metrics, matrix = result(num_classes)
    figure = picture(metrics, "title")
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 5_000
    shown = figure.axes[0].get_xticklabels()
    assert len(shown) == min(num_classes, 40)
    image = figure.axes[0].images[0].get_array()
    assert image is not None
    drawn = np.sort(np.argsort(-matrix.sum(1), kind="stable")[:40])
    expected = matrix[np.ix_(drawn, drawn)] / matrix.sum(1)[drawn, None]
    np.testing.assert_allclose(image, expected)


@pytest.mark.filterwarnings("error")
def test_labels_that_the_font_lacks_are_named(tmp_path: Path) -> None:
    names = ["🎄", "$x$", "a" * 50]
    ids = torch.arange(3)
    figure = picture(classification_metrics(ids, ids, names), "title")
    figure.savefig(tmp_path / "a.png")
    shown = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert shown == ["christmas tree", r"\$x\$", "a" * 23 + "…"]


def record(epoch: int) -> dict[str, Any]:
    metrics, _ = result(2)
    return {"epoch": epoch, "learning_rate": 0.1, "seconds": 1.0, "tokens_per_second": 2e6,
            "train": metrics, "validation": metrics}  # fmt: skip


def test_the_live_line_shows_where_training_is(tmp_path: Path) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    progress = Progress(epoch=1, step=5)
    with Tracker(tmp_path, console, "accuracy") as tracker:
        tracker.begin(4, 10, Progress())
        tracker.epoch(record(1), progress)
        tracker.step(progress, 1000, torch.tensor(32.0), 16)
        tracker._live.refresh()
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())  # type: ignore[attr-defined]
    last = shown.strip().splitlines()[-1]
    assert "epoch 2/4" in last
    assert "loss 0.4000" in last  # 32 over 5 batches of 16
    assert "validation accuracy" in last
    assert "tokens/s" in last
    assert "ETA" in last


def test_labels_may_hold_odd_line_separators(tmp_path: Path) -> None:
    odd = record(1) | {"label": "a\u2028b\x85c"}
    with Tracker(tmp_path, Console(file=io.StringIO()), "loss") as tracker:
        tracker.begin(4, 10, Progress())
        tracker.epoch(odd, Progress(epoch=1))
    assert read_epochs(tmp_path) == [odd]


def test_epochs_beyond_the_checkpoint_are_dropped_on_resume(tmp_path: Path) -> None:
    console = Console(file=io.StringIO())
    with Tracker(tmp_path, console, "loss") as tracker:
        tracker.begin(4, 10, Progress())
        for epoch in (1, 2):
            tracker.epoch(record(epoch), Progress(epoch=epoch))
    with (tmp_path / "epochs.jsonl").open("a") as file:
        file.write('{"epoch": 3, "trai')  # a kill in the middle of a line
    assert [r["epoch"] for r in read_epochs(tmp_path)] == [1, 2]
    with Tracker(tmp_path, console, "loss") as tracker:
        tracker.begin(4, 10, Progress(epoch=1))
        assert [r["epoch"] for r in read_epochs(tmp_path)] == [1]
        tracker.epoch(record(2), Progress(epoch=2))
    lines = (tmp_path / "epochs.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
