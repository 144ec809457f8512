"""Rows that weigh differently in the loss, from bags to the weights that a training ends with."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from tests.conftest import make_config, with_options
from textcls.data.bags import Bags
from textcls.data.targets import Targets
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.objective import Objective
from textcls.task.single import SingleLabel
from textcls.training.checkpoint import Checkpoints
from textcls.training.direct import is_direct
from textcls.training.loop import fit
from textcls.training.tracking import Listener

Float64 = npt.NDArray[np.float64]

CLASSES, TOKENS = 4, 30
SINGLE, MULTI = SingleLabel(), MultiLabel()
WEIGHTS = torch.tensor([0.5, 0.0, 2.0, 1.0, 3.0, 0.25])
TASKS = pytest.mark.parametrize("task", [SINGLE, MULTI], ids=["single", "multi"])


def targets_of(task: Task, weights: Tensor | None) -> Targets:
    """Return the labels of six bags, of which the third has none where it may."""
    if not task.several:
        return Targets(torch.tensor([0, 3, 2, 2, 1, 0]), None, weights)
    ids, offsets = torch.tensor([0, 2, 1, 3, 0, 1, 2, 3]), torch.tensor([0, 2, 3, 3, 4, 8, 8])
    return Targets(ids, offsets, weights)


def logits_of_six() -> Tensor:
    return torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(1))


def by_hand(
    task: Task, class_weights: Tensor | None, smoothing: float
) -> tuple[Float64, Float64, Float64]:
    """Return each bag's loss, its gradient by class scores, and what a bag counts in a mean."""
    x = logits_of_six().double().numpy()
    wanted = targets_of(task, None).dense(CLASSES).double().numpy()
    of_class = np.ones(CLASSES) if class_weights is None else class_weights.double().numpy()
    if task.several:
        wanted = wanted * (1 - smoothing) + smoothing / 2
        p = 1 / (1 + np.exp(-x))
        losses = -(of_class * (wanted * np.log(p) + (1 - wanted) * np.log(1 - p))).sum(1)
        return losses, of_class * (p - wanted), np.ones(6)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    own = wanted @ of_class
    # The smoothed share of a class weighs what that class does.
    spread = (wanted * (1 - smoothing) + smoothing / CLASSES) * of_class
    losses = -(spread * np.log(p)).sum(1)
    return losses, p * spread.sum(1, keepdims=True) - spread, own


# --- losses and gradients ----------------------------------------------------------------------


@TASKS
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 2.0, 0.5, 3.0])])
def test_the_loss_and_its_gradient_are_weighted_means(
    task: Task, smoothing: float, class_weights: Tensor | None
) -> None:
    losses, grads, counts = by_hand(task, class_weights, smoothing)
    weights = WEIGHTS.double().numpy()
    total = (weights * counts).sum()
    logits = logits_of_six().requires_grad_()
    loss = task.batch_loss(logits, targets_of(task, WEIGHTS), Objective(class_weights, smoothing))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == pytest.approx((weights * losses).sum() / total, rel=1e-5)
    assert logits.grad is not None
    np.testing.assert_allclose(logits.grad, weights[:, None] * grads / total, atol=1e-6)


@TASKS
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("class_weights", [None, torch.tensor([1.0, 2.0, 0.5, 3.0])])
def test_the_gradient_without_autograd_is_that_of_the_objective(
    task: Task, smoothing: float, class_weights: Tensor | None
) -> None:
    _, grads, counts = by_hand(task, class_weights, smoothing)
    plain_losses, _, _ = by_hand(task, None, 0.0)
    weights = WEIGHTS.double().numpy()
    loss_sum, grad = task.gradient(
        logits_of_six(), targets_of(task, WEIGHTS), Objective(class_weights, smoothing)
    )
    total = (weights * counts).sum()
    np.testing.assert_allclose(grad, weights[:, None] * grads / total, atol=1e-6)
    assert loss_sum.item() == pytest.approx((weights * plain_losses).sum(), rel=1e-5)


@TASKS
def test_a_bag_that_weighs_nothing_is_as_good_as_left_out(task: Task) -> None:
    logits, kept = logits_of_six(), WEIGHTS.nonzero().squeeze(1)
    targets = targets_of(task, WEIGHTS)
    whole = task.batch_loss(logits, targets, Objective(None, 0.1))
    torch.testing.assert_close(
        whole, task.batch_loss(logits[kept], targets.select(kept), Objective(None, 0.1))
    )
    _, grad = task.gradient(logits.clone(), targets, Objective(None, 0.1))
    assert not grad[WEIGHTS == 0].any()


@TASKS
@pytest.mark.parametrize("weight", [1.0, 0.1, 700.0])
def test_weights_that_are_alike_change_nothing(task: Task, weight: float) -> None:
    logits, alike = logits_of_six(), torch.full((6,), weight)
    found, expected = (
        task.batch_loss(logits, targets_of(task, weights), Objective(None, 0.1))
        for weights in (alike, None)
    )
    torch.testing.assert_close(found, expected)
    (_, found), (_, expected) = (
        task.gradient(logits.clone(), targets_of(task, weights), Objective(None, 0.1))
        for weights in (alike, None)
    )
    torch.testing.assert_close(found, expected)


@TASKS
def test_whole_weights_are_repetitions(task: Task) -> None:
    logits, counts = logits_of_six(), torch.tensor([2, 0, 1, 3, 1, 1])
    rows = torch.repeat_interleave(counts)
    weighted = task.batch_loss(logits, targets_of(task, counts.float()), Objective(None, 0.0))
    repeated = task.batch_loss(
        logits[rows], targets_of(task, None).select(rows), Objective(None, 0.0)
    )
    torch.testing.assert_close(weighted, repeated)


@TASKS
def test_a_batch_that_weighs_nothing_teaches_nothing(task: Task) -> None:
    logits = logits_of_six().requires_grad_()
    loss = task.batch_loss(logits, targets_of(task, torch.zeros(6)), Objective(None, 0.1))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert logits.grad is not None
    assert not logits.grad.any()
    loss_sum, grad = task.gradient(
        logits_of_six(), targets_of(task, torch.zeros(6)), Objective(None, 0.1)
    )
    assert not loss_sum
    assert not grad.any()


# --- bags --------------------------------------------------------------------------------------


def make_bags(task: Task, weights: Tensor | None, of_entries: bool = False) -> Bags:
    rng = np.random.default_rng(2)
    lengths = rng.integers(0, 9, 6)
    offsets = torch.from_numpy(np.append(0, lengths.cumsum()))
    count = int(offsets[-1])
    return Bags(
        torch.from_numpy(rng.integers(2, TOKENS, count, dtype=np.int32)),
        offsets,
        targets_of(task, None).ids,
        TOKENS,
        torch.from_numpy(rng.random(count, dtype=np.float32)) if of_entries else None,
        targets_of(task, None).offsets,
        weights,
    )


@TASKS
def test_weights_follow_their_bags(task: Task) -> None:
    bags = make_bags(task, WEIGHTS)
    order = torch.tensor([4, 0, 4])
    found = {
        "slice": (bags.slice(1, 4), WEIGHTS[1:4]),
        "select": (bags.select(order), WEIGHTS[order]),
        "to": (bags.to("cpu"), WEIGHTS),
        "concatenate": (Bags.concatenate([bags, bags]), torch.cat([WEIGHTS, WEIGHTS])),
    }
    for some, expected in found.values():
        assert some.example_weights is not None
        assert torch.equal(some.example_weights, expected)
        dataclasses.replace(some)  # passes the checks
    assert bags == make_bags(task, WEIGHTS.clone())
    assert bags != make_bags(task, None)
    assert bags.targets.total_weight == WEIGHTS.sum()
    assert make_bags(task, None).targets.total_weight == 6
    with pytest.raises(ValueError, match="cannot be concatenated"):
        Bags.concatenate([bags, make_bags(task, None)])


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS.double(), "example_weights must be torch.float32"),
        (WEIGHTS[:5], "6 bags need as many weights, not 5"),
        (-WEIGHTS, "must be finite and not negative"),
        (WEIGHTS / 0, "must be finite and not negative"),
        (WEIGHTS * torch.nan, "must be finite and not negative"),
    ],
)
def test_weights_that_cannot_be_are_refused(weights: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_bags(SINGLE, weights)


# --- training ----------------------------------------------------------------------------------


class Records(Listener):
    def __init__(self) -> None:
        self.losses: list[float] = []

    def epoch(self, record: dict[str, Any], progress: Any) -> None:
        self.losses.append(record["train"]["loss"])


def trained(bags: Bags, **trainer: Any) -> tuple[dict[str, Tensor], list[float]]:
    """Train in one batch an epoch, on whose order nothing depends then."""
    options = {"epochs": 4, "batch_size": 64, "label_smoothing": 0.1} | trainer
    config = with_options(make_config("model.dropout=0"), "trainer", monitor="loss", **options)
    config = with_options(config, "optimizer", lr=0.5, rows="touched")
    torch.manual_seed(3)
    model = EmbeddingBagClassifier(TOKENS, 8, CLASSES, "sqrtn")
    records, names = Records(), tuple("abcd")
    fit(model, bags, None, names, config, Checkpoints(), records)
    return {name: value.detach() for name, value in model.named_parameters()}, records.losses


def assert_alike(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-5, rtol=1e-4)


@TASKS
@pytest.mark.parametrize("of_entries", [False, True], ids=["steps", "direct"])
def test_a_training_on_weights_is_one_on_repetitions(task: Task, of_entries: bool) -> None:
    counts = torch.tensor([2, 0, 1, 3, 1, 1])
    weighted = trained(make_bags(task, 0.5 * counts, of_entries))
    plain = make_bags(task, None, of_entries)
    repeated = trained(plain.select(torch.repeat_interleave(counts)))
    assert_alike(weighted[0], repeated[0])
    assert weighted[1] == pytest.approx(repeated[1], rel=1e-4)
    assert weighted[1] != pytest.approx(trained(plain)[1], rel=1e-3)


@TASKS
def test_steps_with_and_without_autograd_agree(task: Task) -> None:
    bags = make_bags(task, WEIGHTS, of_entries=True)
    model = EmbeddingBagClassifier(TOKENS, 8, CLASSES, "sqrtn")
    model.embedding.sparse = True
    assert is_direct(model, bags, Objective())
    # Gradients are clipped by torch's operators alone, and here to no effect.
    found, expected = (trained(bags, clip_norm=norm, batch_size=2) for norm in (None, 1e9))
    assert_alike(found[0], expected[0])
    assert found[1] == pytest.approx(expected[1], rel=1e-4)
