"""Compression of models whose texts have any number of labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from sklearn.metrics import f1_score
from torch import Tensor, nn

from tests.test_compress import VALIDATION, folder_bytes, judged, make_model
from textcls import Classifier
from textcls.data.bags import Bags
from textcls.errors import InputError
from textcls.model.compress import shrink
from textcls.model.embedding_bag import logits_of
from textcls.model.exact import exact
from textcls.model.folder import load_model, save_model
from textcls.model.parts import ModelParts
from textcls.report.shrinkage import curve_picture, curve_table
from textcls.task.multi import MultiLabel
from textcls.values import Mode


def make_labelled(mode: Mode = "mean", classes: int = 3) -> tuple[ModelParts, Bags]:
    """Return a model with thresholds, and bags of none, one or two labels each."""
    thresholds = torch.linspace(0.2, 0.6, classes)
    parts = dataclasses.replace(make_model(mode, classes=classes), task=MultiLabel(thresholds))
    bags, labels = judged(parts), VALIDATION[1]
    rows = [sorted({int(k)} | {0} & {i % 2}) if i % 5 else [] for i, k in enumerate(labels)]
    ends = np.cumsum([0, *map(len, rows)])
    return parts, dataclasses.replace(
        bags, labels=torch.tensor([k for row in rows for k in row]),
        label_offsets=torch.from_numpy(ends),
    )  # fmt: skip


def micro_f1(parts: ModelParts, bags: Bags) -> float:
    """The oracle: from the texts, by scikit-learn."""
    names = parts.label_names
    found = torch.zeros(len(bags), len(names))
    for i, row in enumerate(Classifier(parts).predict(VALIDATION[0])):
        found[i, [names.index(name) for name in row]] = 1
    return float(f1_score(bags.targets.dense(len(names)), found, average="micro"))


@pytest.mark.parametrize("classes", [1, 2, 5, 7])
@pytest.mark.parametrize("mode", ["mean", "sqrtn", "weighted_sum"])
def test_all_that_a_label_is_decided_by_stays(mode: Mode, classes: int) -> None:
    parts, bags = make_labelled(mode, classes)
    with torch.no_grad():
        nn.init.normal_(parts.model.linear.weight)
        nn.init.normal_(parts.model.linear.bias)
    reduced = exact(parts)
    assert reduced.model.embedding.embedding_dim == classes
    assert reduced.task is parts.task
    before: Tensor = logits_of(parts.model, bags)
    assert before.std(0).min() > 0.01
    torch.testing.assert_close(logits_of(reduced.model, bags), before, rtol=1e-5, atol=1e-5)
    assert exact(reduced) is reduced


def test_it_is_judged_by_the_labels_that_are_decided_for(tmp_path: Path) -> None:
    parts, bags = make_labelled()
    for i, (max_bytes, max_loss) in enumerate(((None, None), (7_000, None))):
        shrunk = shrink(parts, bags, max_bytes, max_loss)
        save_model(shrunk.parts, tmp_path / str(i))
        loaded = load_model(tmp_path / str(i))
        assert folder_bytes(tmp_path / str(i)) == shrunk.chosen.bytes < shrunk.original.bytes / 2
        assert shrunk.chosen.score == pytest.approx(micro_f1(loaded, bags))
        assert isinstance(loaded.task, MultiLabel)
        assert isinstance(parts.task, MultiLabel)
        assert loaded.task.thresholds is not None
        assert parts.task.thresholds is not None
        assert torch.equal(loaded.task.thresholds, parts.task.thresholds)
    assert shrunk.original.score == pytest.approx(micro_f1(parts, bags))
    assert shrunk.original.score > 0.5


def test_it_says_what_is_measured(tmp_path: Path) -> None:
    parts, bags = make_labelled()
    shrunk = shrink(parts, bags, max_loss=0.05)
    figures = shrunk.figures()
    assert figures["chosen"]["micro_f1"] == shrunk.chosen.score
    assert len(figures["curve"]) == len(shrunk.curve)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(curve_table(shrunk))
    assert f"micro F1 {shrunk.chosen.score:.4f}" in " ".join(capture.get().split())
    (axes,) = curve_picture(shrunk).axes
    assert axes.get_ylabel() == "validation micro F1"
    with pytest.raises(InputError, match=r"loses at most -0.9 of micro F1: the best has 0"):
        shrink(parts, bags, max_loss=-0.9)
