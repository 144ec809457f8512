"""Classes in an order: their ranks, metrics by distance, and targets that are spread over ranks."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import cohen_kappa_score, mean_absolute_error
from torch import Tensor

from tests.command import main, textcls
from tests.inputs.test_soft_labels import read, write_csv
from textcls.config import parse, read_config
from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.model.folder import load_model
from textcls.task.objective import Objective
from textcls.task.ordered import OrderedLabel, rank_metrics, spread
from textcls.task.single import SingleLabel


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("num_rows", [2, 3, 30])
def test_metrics_are_scikit_learn_s(num_rows: int, weighted: bool) -> None:
    rng = np.random.default_rng(num_rows)
    labels, predictions = rng.integers(0, 5, (2, num_rows))
    weights = rng.random(num_rows) + 0.1 if weighted else None
    tensors = (torch.from_numpy(labels), torch.from_numpy(predictions))
    found = rank_metrics(*tensors, None if weights is None else torch.from_numpy(weights))
    expected = mean_absolute_error(labels, predictions, sample_weight=weights)
    assert found["mae"] == pytest.approx(expected)
    by_class = [
        mean_absolute_error(
            labels[own], predictions[own], sample_weight=None if weights is None else weights[own]
        )
        for own in (labels == label for label in np.unique(labels))
    ]
    assert found["macro_mae"] == pytest.approx(np.mean(by_class))
    kappa = cohen_kappa_score(
        labels, predictions, weights="quadratic", labels=range(5), sample_weight=weights
    )
    assert found["quadratic_kappa"] == pytest.approx(kappa)


def test_of_one_class_the_kappa_is_0() -> None:
    ones, weights = torch.full((7,), 3), torch.rand(7)
    assert rank_metrics(ones, ones, weights)["quadratic_kappa"] == 0


def random_batch() -> tuple[Tensor, Targets]:
    """Return class scores and labels, with weights of rows."""
    rng = torch.Generator().manual_seed(0)
    labels = torch.randint(5, (30,), generator=rng)
    return torch.randn(30, 5, generator=rng), Targets(labels, None, torch.arange(30.0) % 4)


def test_a_target_falls_with_the_distance_and_a_steep_one_is_the_label() -> None:
    found = spread(torch.arange(5), 5, 0.7)
    distance = (torch.arange(5) - torch.arange(5).unsqueeze(1)).abs()
    torch.testing.assert_close(found.sum(1), torch.ones(5))
    ratios = found / found.diagonal().unsqueeze(1)
    torch.testing.assert_close(ratios, torch.exp(-0.7 * distance.float() ** 2))
    logits, targets = random_batch()
    steep = OrderedLabel().batch_loss(logits, targets, Objective(ordinal=100.0))
    torch.testing.assert_close(steep, SingleLabel().batch_loss(logits, targets, Objective()))


@pytest.mark.parametrize("ordinal", [None, 0.7])
@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 2, 0.5, 0, 3])])
def test_the_gradient_is_that_of_the_loss(
    ordinal: float | None, class_weights: Tensor | None
) -> None:
    task, (logits, targets) = OrderedLabel(), random_batch()
    objective = Objective(class_weights, 0.1, ordinal=ordinal)
    logits = logits.requires_grad_()
    (expected,) = torch.autograd.grad(task.batch_loss(logits, targets, objective), logits)
    with torch.no_grad():
        total, found = task.gradient(logits.clone(), targets, objective)
    torch.testing.assert_close(found, expected)
    # Reported is the loss of the label alone.
    torch.testing.assert_close(total, SingleLabel().loss_sum(logits, targets).detach())


def test_numbers_are_ranked_as_numbers_and_names_as_they_are_given(tmp_path: Path) -> None:
    def names(labels: list[str], **options: object) -> tuple[str, ...]:
        rows = [(f"text {i}", label) for i, label in enumerate(labels)]
        path = write_csv(tmp_path / "train.csv", ["text", "label"], rows)
        return read(path, task="ordered", **options).label_names

    assert names(["10", "9", "-1", "9.5"]) == ("-1", "9", "9.5", "10")
    order = ("poor", "fair", "good")
    assert names(["good", "poor", "fair"], label_names=order) == order
    assert names(["2", "0", "1"], label_names=order) == order
    with pytest.raises(InputError, match=r"'good' is no number: name .* order.*label_names=\["):
        names(["good", "1"])
    with pytest.raises(InputError, match="'nan' is no number"):
        names(["1", "nan", "2"])
    with pytest.raises(InputError, match=r"'1' and '1\.0' are the same number: write it one way"):
        names(["2", "1.0", "1"])


@pytest.fixture(scope="module")
def stars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a run on texts with stars."""
    folder = tmp_path_factory.mktemp("stars")
    words = ["awful", "poor", "fair", "nice", "superb"]
    rows = [(f"{words[i % 5]} {words[(i + i // 5 % 2) % 5]} film {i % 7}", i % 5 * 5 + 1)
            for i in range(200)]  # fmt: skip
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "stars"), *rows])
    options = ["data.label=stars", "data.task=ordered", "trainer.ordinal=2", "trainer.epochs=3"]
    where = [f"data.train={folder / 'train.csv'}", f"run_dir={folder / 'run'}"]
    assert main("train", "data=local", *options, *where, f"cache_dir={folder / 'cache'}") == 0
    return folder


def test_a_run_has_metrics_by_distance_and_its_model_knows_the_order(
    stars: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    metrics = json.loads((stars / "run/metrics.json").read_text())
    for split in ("validation", "test"):
        assert {"mae", "macro_mae", "quadratic_kappa"} <= metrics[split].keys()
    assert list(metrics["test"]["per_class"]) == ["1", "6", "11", "16", "21"]
    parts = load_model(stars / "run")
    assert parts.task.name == "ordered"
    assert not parts.task.several
    assert parts.task.tensors()  # what abstaining goes by
    shown = textcls(
        capfd, "evaluate", stars / "run", stars / "train.csv", "--label-column", "stars"
    )
    assert "quadratic kappa" in shown
    assert "quadratic kappa" in textcls(capfd, "inspect", stars / "run")
    assert "mean absolute error" in (stars / "run/model/README.md").read_text()
    textcls(capfd, "compare", stars / "run", "--metric", "quadratic_kappa")
    assert "quadratic kappa" in (stars / "compare/index.html").read_text()
    config = read_config(stars / "run")
    assert parse(config.to_dict()) == config


def test_the_option_is_for_classes_in_an_order(
    stars: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = main(
        "train", "data=local", f"data.train={stars / 'train.csv'}", "data.label=stars",
        "trainer.ordinal=2", f"run_dir={stars / 'wrong'}", f"cache_dir={stars / 'cache'}",
    )  # fmt: skip
    assert status == 2
    assert "set data.task=ordered, or trainer.ordinal=null" in capfd.readouterr().err
