"""Probabilities of classes as targets: losses, gradients, metrics, and runs with them."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, f1_score
from torch import Tensor

from tests.command import main, textcls
from textcls.data.bags import Bags
from textcls.data.targets import Targets
from textcls.model.folder import load_model
from textcls.task.objective import Objective
from textcls.task.scores import Scores
from textcls.task.single import SingleLabel
from textcls.task.soft import SoftLabel

NUM_CLASSES = 5
NAMES = [f"class {i}" for i in range(NUM_CLASSES)]
CLASS_WEIGHTS = torch.tensor([1.0, 2.0, 0.5, 0.0, 3.0])


def sparse(shares: Tensor, weights: Tensor | None = None) -> Targets:
    """Return targets of probabilities, float ``[num_bags, num_classes]``."""
    bags, ids = shares.nonzero(as_tuple=True)
    offsets = torch.tensor([0, *(shares > 0).sum(1).tolist()]).cumsum(0)
    return Targets(ids, offsets, weights, shares[bags, ids])


def random_targets(num_bags: int = 30, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Return probabilities of classes, of which some are 0, and class scores that tell of them."""
    rng = torch.Generator().manual_seed(seed)
    shares = torch.rand(num_bags, NUM_CLASSES, generator=rng) ** 3
    shares[shares < 0.05] = 0
    shares[torch.arange(num_bags), torch.arange(num_bags) % NUM_CLASSES] += 0.2
    noise = torch.randn(num_bags, NUM_CLASSES, generator=rng)
    return shares / shares.sum(1, keepdim=True), noise + 3 * shares


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_is_torch_s_of_probabilities(smoothing: float) -> None:
    shares, logits = random_targets()
    task, targets = SoftLabel(), sparse(shares)
    losses = F.cross_entropy(logits, shares, reduction="none")
    torch.testing.assert_close(task.losses(logits, targets), losses)
    found = task.batch_loss(logits, targets, Objective(None, smoothing))
    expected = F.cross_entropy(logits, shares, label_smoothing=smoothing)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("weights", [None, torch.arange(30.0) % 4])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_certain_labels_are_learned_as_such(
    smoothing: float, class_weights: Tensor | None, weights: Tensor | None
) -> None:
    _, logits = random_targets()
    labels = torch.arange(30) % NUM_CLASSES
    objective = Objective(class_weights, smoothing, adjustment=torch.arange(5.0))
    soft, hard = sparse(F.one_hot(labels).float(), weights), Targets(labels, None, weights)
    expected = SingleLabel().batch_loss(logits, hard, objective)
    torch.testing.assert_close(SoftLabel().batch_loss(logits, soft, objective), expected)


@pytest.mark.parametrize("weights", [None, torch.arange(30.0) % 4])
@pytest.mark.parametrize("class_weights", [None, CLASS_WEIGHTS])
def test_the_gradient_is_that_of_the_loss(
    class_weights: Tensor | None, weights: Tensor | None
) -> None:
    shares, logits = random_targets()
    task, targets = SoftLabel(), sparse(shares, weights)
    objective = Objective(class_weights, 0.1, adjustment=torch.arange(5.0))
    logits = logits.requires_grad_()
    loss = task.batch_loss(logits, targets, objective)
    (expected,) = torch.autograd.grad(loss, logits)
    with torch.no_grad():
        total, found = task.gradient(logits.clone(), targets, objective)
        torch.testing.assert_close(found, expected)
        losses = task.losses(logits, targets)
        torch.testing.assert_close(total, (losses if weights is None else losses * weights).sum())


@pytest.mark.parametrize("weights", [None, torch.arange(30.0) % 4])
def test_metrics(weights: Tensor | None) -> None:
    shares, logits = random_targets()
    found = SoftLabel().assess(Scores.of(logits), sparse(shares, weights), NAMES)
    counts = np.ones(30) if weights is None else weights.numpy()
    true, predicted = shares.argmax(1).numpy(), logits.argmax(1).numpy()
    metrics = found.metrics
    accuracy = accuracy_score(true, predicted, sample_weight=counts)
    assert metrics["accuracy"] == pytest.approx(accuracy)
    assert found.curve is not None
    assert found.curve.accuracy[-1].item() == pytest.approx(accuracy)  # as that of validation is
    f1 = f1_score(true, predicted, average="macro", sample_weight=counts)
    assert metrics["macro_f1"] == pytest.approx(f1)
    log_q = logits.double().log_softmax(1)
    divergences = F.kl_div(log_q, shares.double(), reduction="none").sum(1).numpy()
    assert metrics["kl"] == pytest.approx(np.average(divergences, weights=counts), abs=1e-6)
    losses = F.cross_entropy(logits.double(), shares.double(), reduction="none").numpy()
    assert metrics["loss"] == pytest.approx(np.average(losses, weights=counts))


def test_a_model_that_says_what_the_target_says_has_no_divergence_and_is_calibrated() -> None:
    shares, _ = random_targets(300)
    shares = (shares + 0.01) / (shares + 0.01).sum(1, keepdim=True)
    found = SoftLabel().assess(Scores.of(shares.log()), sparse(shares), NAMES)
    assert found.metrics["kl"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["ece"] == pytest.approx(0, abs=1e-6)
    assert found.metrics["accuracy"] == 1


def test_the_temperature_is_of_the_least_loss() -> None:
    shares, _ = random_targets(3_000)
    logits = 2 * (shares + 0.01).log() + torch.arange(5.0)
    task, targets = SoftLabel(), sparse(shares)
    temperature = task.temperature(logits, targets)

    def loss(by: float) -> float:
        return float(task.losses(logits / by, targets).mean())

    # (Within what the share of a row that counts as of all classes alike makes.)
    assert loss(temperature) <= min(loss(temperature * 1.05), loss(temperature / 1.05))


def test_bags_keep_their_shares() -> None:
    shares, _ = random_targets(6)
    targets = sparse(shares)
    bags = Bags(
        torch.arange(6, dtype=torch.int32), torch.arange(7), targets.ids,
        label_offsets=targets.offsets, label_shares=targets.shares,
    )  # fmt: skip
    rows = torch.tensor([5, 0, 0, 3])
    torch.testing.assert_close(bags.select(rows).targets.dense(NUM_CLASSES), shares[rows])
    torch.testing.assert_close(bags.slice(2, 5).targets.dense(NUM_CLASSES), shares[2:5])
    assert Bags.concatenate([bags.slice(0, 2), bags.slice(2, 6)]) == bags
    assert bags.targets.hard().ids.tolist() == shares.argmax(1).tolist()
    with pytest.raises(ValueError, match="sum to 1"):
        dataclasses.replace(bags, label_shares=torch.ones_like(bags.labels, dtype=torch.float32))


# --- runs ------------------------------------------------------------------------------------


def rows_of(count: int) -> list[tuple[str, str]]:
    """Return texts that tell their label, and the labels."""
    words = {"sport": ["goal", "match", "team"], "money": ["bank", "price", "trade"]}
    labels = ["sport" if i % 2 else "money" for i in range(count)]
    return [(f"{words[name][i % 3]} {words[name][i % 2]} w{i % 7}", name)
            for i, name in enumerate(labels)]  # fmt: skip


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a teacher's run, its predictions and a student's run."""
    folder = tmp_path_factory.mktemp("distilled")
    for name, count in (("train", 60), ("test", 20), ("unlabelled", 90)):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            rows = [("text", "label"), *rows_of(count)]
            keep = 1 if name == "unlabelled" else 2
            csv.writer(file).writerows(row[:keep] for row in rows)
    common = ["trainer.epochs=2", f"cache_dir={folder / 'cache'}"]
    test = f"data.test={folder / 'test.csv'}"
    train = ["train", "data=local", test, *common]
    teacher, student = (f"run_dir={folder / name}" for name in ("teacher", "student"))
    assert main(*train, f"data.train={folder / 'train.csv'}", teacher) == 0
    soft = folder / "soft.parquet"
    kept = ("--keep", "text", "--probabilities", "--out", soft)
    assert main("predict", folder / "teacher", folder / "unlabelled.csv", *kept) == 0
    assert main(*train, f"data.train={soft}", "data.task=soft", student) == 0
    return folder


def test_a_student_learns_from_what_a_teacher_predicted(distilled: Path) -> None:
    metrics = json.loads((distilled / "student/metrics.json").read_text())
    teacher = json.loads((distilled / "teacher/metrics.json").read_text())
    assert metrics["test"]["accuracy"] == 1
    assert metrics["test"]["kl"] == pytest.approx(metrics["test"]["loss"])  # of certain labels
    assert 0 <= metrics["validation"]["kl"] < 0.1 < metrics["validation"]["loss"]
    assert metrics["test_set"] == teacher["test_set"]
    config = json.loads((distilled / "student/model/config.json").read_text())
    assert config["task"] == "single"
    assert load_model(distilled / "student").task.tensors()  # what abstaining goes by


def test_its_model_is_one_of_one_label(distilled: Path, capfd: pytest.CaptureFixture[str]) -> None:
    student, soft, to = distilled / "student", distilled / "soft.parquet", distilled / "evaluated"
    assert "accuracy 1.0000" in textcls(capfd, "evaluate", student, distilled / "test.csv")
    textcls(capfd, "evaluate", student, soft, "--label-column", "p(*)", "--out", to)
    found: dict[str, Any] = json.loads((to / "metrics.json").read_text())
    assert 0 <= found["kl"] < found["loss"]
    shown = textcls(capfd, "data", soft, "--label-column", "p(*)")
    assert "probabilities of several labels" in shown
    textcls(capfd, "compress", student, "--out", distilled / "small")
