"""Tasks: losses, gradients, decisions and metrics, against torch and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    label_ranking_average_precision_score,
    ndcg_score,
    precision_recall_fscore_support,
)
from torch import Tensor

from textcls.data.targets import Targets
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.objective import Objective
from textcls.task.scores import Scores
from textcls.task.single import SingleLabel
from textcls.task.thresholds import ENOUGH, fit_thresholds

NUM_CLASSES = 7
NAMES = [f"label {i}" for i in range(NUM_CLASSES)]
ROWS = st.lists(st.sets(st.integers(0, NUM_CLASSES - 1)), min_size=1, max_size=30)


def targets_of(rows: list[set[int]]) -> Targets:
    """Return the labels of these rows."""
    ids = torch.tensor([label for row in rows for label in sorted(row)], dtype=torch.int64)
    return Targets(ids, torch.tensor([0, *map(len, rows)]).cumsum(0))


def random_rows(num_rows: int, seed: int = 0) -> tuple[list[set[int]], Tensor]:
    """Return labels of rows, some of which have none, and class scores that tell of them."""
    rng = np.random.default_rng(seed)
    rows = [
        set(rng.choice(NUM_CLASSES, rng.integers(0, 4), replace=False).tolist())
        for _ in range(num_rows)
    ]
    noise = torch.from_numpy(rng.normal(size=(num_rows, NUM_CLASSES))).float()
    return rows, noise + 2 * targets_of(rows).dense(NUM_CLASSES) - 1


def metrics_of(task: Task, logits: Tensor, targets: Targets) -> dict[str, Any]:
    return task.assess(Scores.of(logits), targets, NAMES).metrics


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("task", [SingleLabel(), MultiLabel()], ids=lambda task: task.name)
def test_the_gradient_is_that_of_the_objective(task: Task, smoothing: float) -> None:
    rows, logits = random_rows(20)
    targets = targets_of(rows) if task.several else Targets(torch.arange(20) % NUM_CLASSES)
    logits = logits.requires_grad_()
    loss = task.batch_loss(logits, targets, Objective(None, smoothing))
    (expected,) = torch.autograd.grad(loss, logits)
    with torch.no_grad():
        total, found = task.gradient(logits.clone(), targets, Objective(None, smoothing))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(total, task.losses(logits, targets).sum())
        if not smoothing:
            torch.testing.assert_close(total / 20, loss)


def test_the_loss_of_several_labels_is_the_binary_cross_entropy() -> None:
    rows, logits = random_rows(20)
    targets, weights = targets_of(rows), torch.arange(NUM_CLASSES) / 3
    wanted = targets.dense(NUM_CLASSES)
    expected = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    torch.testing.assert_close(MultiLabel().losses(logits, targets), expected.sum(1))
    found = MultiLabel().batch_loss(logits, targets, Objective(weights, 0.0))
    torch.testing.assert_close(found, (expected * weights).sum() / 20)


@given(ROWS, st.integers(0, 9), st.booleans(), st.booleans())
def test_metrics_of_several_labels_are_scikit_learns(
    rows: list[set[int]], seed: int, with_ties: bool, weighted: bool
) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(1, 4, len(rows)) / 2 if weighted else None
    counts = np.ones(len(rows)) if weights is None else weights
    targets = targets_of(rows)
    if weights is not None:
        targets = targets._replace(weights=torch.from_numpy(weights).float())
    logits = torch.from_numpy(rng.normal(size=(len(rows), NUM_CLASSES)))
    logits = logits.round() if with_ties else logits
    thresholds = torch.linspace(0.3, 0.7, NUM_CLASSES)
    task = MultiLabel(thresholds)
    found = metrics_of(task, logits, targets)
    wanted = targets.dense(NUM_CLASSES).numpy().astype(int)
    said = (logits.sigmoid().float() >= thresholds).int().numpy()
    decided = task.decided(logits.sigmoid().float())
    assert (decided.dense(NUM_CLASSES).numpy() == said).all()
    assert found["accuracy"] == pytest.approx(accuracy_score(wanted, said, sample_weight=weights))
    for average in ("micro", "macro"):
        # Of labels that occur nowhere, scikit-learn's mean has the F1 as well, as 0.
        occur = (wanted | said).any(0) if average == "macro" else np.ones(NUM_CLASSES, np.bool_)
        expected = 0.0
        if occur.any():
            expected = f1_score(
                wanted[:, occur], said[:, occur], average=average, zero_division=0,
                sample_weight=weights,
            )  # fmt: skip
        assert found[f"{average}_f1"] == pytest.approx(expected)
    *columns, _ = precision_recall_fscore_support(
        wanted, said, zero_division=0, sample_weight=weights
    )
    columns.append(wanted.sum(0))
    for i, name in enumerate(NAMES):
        of_class = found["per_class"][name]
        values = [of_class[key] for key in ("precision", "recall", "f1", "support")]
        assert values == pytest.approx([float(column[i]) for column in columns])
    scores = logits.numpy()
    assert found["lrap"] == pytest.approx(
        label_ranking_average_precision_score(wanted, scores, sample_weight=weights)
    )
    filled = wanted.any(1)
    if not with_ties and filled.any():
        for k in (1, 3, 5):
            assert found[f"ndcg_at_{k}"] == pytest.approx(
                ndcg_score(wanted[filled], scores[filled], k=k, sample_weight=counts[filled])
            )
            best = np.argsort(-scores, 1)[:, :k]
            hits = counts @ np.take_along_axis(wanted, best, 1).sum(1)
            assert found[f"precision_at_{k}"] == pytest.approx(hits / k / counts.sum())
            assert found[f"recall_at_{k}"] == pytest.approx(hits / (counts @ wanted.sum(1)))
    losses = F.binary_cross_entropy_with_logits(
        logits, torch.from_numpy(wanted).double(), reduction="none"
    )
    assert found["loss"] == pytest.approx(np.average(losses.sum(1), weights=weights))
    assert task.score(Scores.of(logits), targets) == pytest.approx(found["micro_f1"])


def test_a_tally_comes_to_the_metrics_of_decisions() -> None:
    rows, logits = random_rows(50)
    targets, task = targets_of(rows), MultiLabel()
    tally = task.new_tally(50, NUM_CLASSES, torch.device("cpu"))
    for some in torch.split(torch.randperm(50), 8):
        task.add(tally, some, task.outcome(logits[some], targets.select(some)))
    found = task.counted(tally, targets, NAMES)
    whole = metrics_of(task, logits, targets)
    for of_label in whole["per_class"].values():
        del of_label["threshold"]
    assert found == {key: whole[key] for key in found}


def test_thresholds_have_the_best_f1() -> None:
    rows, logits = random_rows(150)
    targets, probabilities = targets_of(rows), logits.sigmoid()
    found = fit_thresholds(probabilities, targets)
    wanted = targets.dense(NUM_CLASSES).numpy().astype(int)
    assert (wanted.sum(0) >= ENOUGH).all()
    for i in range(NUM_CLASSES):
        values = probabilities[:, i].numpy()
        every = [f1_score(wanted[:, i], values >= t) for t in np.unique(values)]
        own = f1_score(wanted[:, i], values >= found[i].item())
        assert own == pytest.approx(max(every))


def test_a_rare_label_has_the_threshold_of_all() -> None:
    rows, logits = random_rows(100)
    rows = [row - {3} | ({3} if i < 2 else set()) for i, row in enumerate(rows)]
    targets, probabilities = targets_of(rows), logits.sigmoid()
    found = fit_thresholds(probabilities, targets)
    wanted = targets.dense(NUM_CLASSES).numpy().astype(int)
    values = probabilities.numpy()
    every = [f1_score(wanted, values >= t, average="micro") for t in np.unique(values)]
    own = f1_score(wanted, values >= found[3].item(), average="micro")
    assert own == pytest.approx(max(every))
    assert (found != found[3]).any()


def test_a_temperature_minimises_the_loss_of_several_labels() -> None:
    rows, logits = random_rows(300)
    targets, task = targets_of(rows), MultiLabel()
    temperature = task.temperature(3 * logits, targets)

    def loss(of: float) -> float:
        return task.losses(3 * logits / of, targets).mean().item()

    assert loss(temperature) <= min(loss(temperature * by) for by in (0.9, 0.99, 1.01, 1.1))


def test_the_first_bias_says_how_many_rows_have_a_label() -> None:
    rows, _ = random_rows(1000)
    bias = MultiLabel().first_bias(targets_of(rows), NUM_CLASSES)
    share = targets_of(rows).dense(NUM_CLASSES).mean(0)
    torch.testing.assert_close(bias.sigmoid(), share, atol=2e-3, rtol=0)
    assert not SingleLabel().first_bias(Targets(torch.arange(3)), 3).any()


def test_targets_are_selected_sliced_and_joined() -> None:
    rows, _ = random_rows(20)
    targets, dense = targets_of(rows), targets_of(rows).dense(NUM_CLASSES)
    some = torch.tensor([3, 3, 19, 0])
    assert torch.equal(targets.select(some).dense(NUM_CLASSES), dense[some])
    parts = [targets.slice(0, 7), targets.slice(7, 7), targets.slice(7, 20)]
    assert torch.equal(Targets.concatenate(parts).dense(NUM_CLASSES), dense)
