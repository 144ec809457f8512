"""Objectives for classes of very different sizes: the focal loss and the adjustment of logits."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import make_config, with_options
from textcls.data.bags import Bags
from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.sklearn import TextClassifier
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.objective import Objective
from textcls.task.single import SingleLabel
from textcls.training.checkpoint import Checkpoints
from textcls.training.direct import is_direct
from textcls.training.loop import fit
from textcls.training.tracking import Listener

SINGLE, MULTI = SingleLabel(), MultiLabel()
TASKS = pytest.mark.parametrize("task", [SINGLE, MULTI], ids=["single", "multi"])
CLASSES = 4


def scores() -> Tensor:
    return 2 * torch.randn(6, CLASSES, generator=torch.Generator().manual_seed(1))


def targets_of(task: Task, weights: Tensor | None = None) -> Targets:
    if not task.several:
        return Targets(torch.tensor([0, 3, 2, 2, 1, 0]), None, weights)
    ids, offsets = torch.tensor([0, 2, 1, 3, 0, 1, 2, 3]), torch.tensor([0, 2, 3, 3, 4, 8, 8])
    return Targets(ids, offsets, weights)


@TASKS
@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_focal_loss_is_that_of_its_definition(task: Task, gamma: float) -> None:
    x, wanted = scores().double().numpy(), targets_of(task).dense(CLASSES).numpy() > 0
    if task.several:
        p = 1 / (1 + np.exp(-x))
        of_truth = np.where(wanted, p, 1 - p)
    else:
        of_truth = (np.exp(x) / np.exp(x).sum(1, keepdims=True))[wanted][:, None]
    expected = -((1 - of_truth) ** gamma * np.log(of_truth)).sum(1).mean()
    found = task.batch_loss(scores(), targets_of(task), Objective(focal=gamma))
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_the_adjusted_loss_is_the_plain_one_of_adjusted_scores() -> None:
    adjustment = torch.tensor([0.0, -1.0, -2.0, -3.0])
    found = SINGLE.batch_loss(scores(), targets_of(SINGLE), Objective(adjustment=adjustment))
    plain = SINGLE.batch_loss(scores() + adjustment, targets_of(SINGLE), Objective())
    torch.testing.assert_close(found, plain)


@TASKS
@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 0.0, 2.0, 1.0, 3.0, 0.25])])
def test_every_gradient_is_autograds(task: Task, weights: Tensor | None) -> None:
    some = torch.tensor([1.0, 2.0, 0.0, 3.0]), torch.tensor([0.0, -1.0, 2.0, -3.0])
    for class_weights, smoothing, gamma, adjustment in itertools.product(
        (None, some[0]), (0.0, 0.2), (0.0, 0.5, 1.0, 2.0), (None, some[1])
    ):
        if task.several and adjustment is not None:
            continue
        objective = Objective(class_weights, smoothing, None, gamma, adjustment)
        targets, x = targets_of(task, weights), scores().requires_grad_()
        (expected,) = torch.autograd.grad(task.batch_loss(x, targets, objective), [x])
        loss_sum, found = task.gradient(scores(), targets, objective)
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
        torch.testing.assert_close(loss_sum, task.loss_sum(scores(), targets))
        is_plain = class_weights is None and not smoothing and not gamma and adjustment is None
        assert objective.is_plain == is_plain


@TASKS
@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_what_is_certain_has_a_focal_gradient_that_is_a_number(task: Task, gamma: float) -> None:
    certain = 200 * targets_of(task).dense(CLASSES) - 100
    _, found = task.gradient(certain, targets_of(task), Objective(focal=gamma))
    assert found.abs().max() < 1e-6
    logits = certain.clone().requires_grad_()
    loss = task.batch_loss(logits, targets_of(task), Objective(focal=gamma))
    (expected,) = torch.autograd.grad(loss, [logits])
    assert expected.abs().max() < 1e-6


# --- training ------------------------------------------------------------------------------------


def bags_of(task: Task, weights: Tensor | None = None) -> Bags:
    """Return bags of the same entry each, nine of ten of the first class."""
    ids = torch.tensor([0] * 90 + [1] * 10)
    offsets = torch.arange(101) if task.several else None
    return Bags(
        torch.full((100,), 2, dtype=torch.int32),
        torch.arange(101),
        ids,
        3,
        torch.ones(100),
        offsets,
        weights,
    )


def trained_scores(bags: Bags, **trainer: object) -> Tensor:
    options = {"epochs": 60, "batch_size": 100, "label_smoothing": 0.0, "monitor": "loss"}
    config = with_options(make_config(), "trainer", **options | trainer)
    config = with_options(config, "optimizer", lr=0.5, rows="touched")
    torch.manual_seed(1)
    model = EmbeddingBagClassifier(3, 4, 2, "sqrtn")
    fit(model, bags, None, ("often", "rarely"), config, Checkpoints(), Listener())
    with torch.no_grad():
        found: Tensor = model(torch.tensor([2]), torch.tensor([0, 1]), torch.ones(1))
    return found[0]


@pytest.mark.parametrize("tau", [0.5, 1.0])
def test_scores_that_learned_with_the_adjustment_lack_the_share_of_a_class(tau: float) -> None:
    often, rarely = trained_scores(bags_of(SINGLE), logit_adjustment=tau).tolist()
    assert often - rarely == pytest.approx((1 - tau) * np.log(9), abs=0.02)


def test_the_share_of_a_class_goes_by_what_its_rows_weigh() -> None:
    weights = torch.tensor([1.0] * 90 + [3.0] * 10)
    found = trained_scores(bags_of(SINGLE, weights), logit_adjustment=1.0)
    assert (found[0] - found[1]).item() == pytest.approx(0, abs=0.02)


def test_balanced_classes_are_as_likely_and_need_no_autograd() -> None:
    found = trained_scores(bags_of(SINGLE), class_weights="balanced")
    assert (found[0] - found[1]).item() == pytest.approx(0, abs=0.02)


@TASKS
def test_steps_with_and_without_autograd_agree(task: Task) -> None:
    objective = {"class_weights": {"rarely": 3.0}, "focal": 2.0, "epochs": 5, "batch_size": 7}
    # Gradients are clipped by torch's operators alone, and here to no effect.
    found, expected = (
        trained_scores(bags_of(task), clip_norm=norm, **objective) for norm in (None, 1e9)
    )
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_class_weights_and_the_focal_loss_go_without_autograd() -> None:
    model = EmbeddingBagClassifier(3, 4, 2, "sqrtn")
    model.embedding.sparse = True
    assert is_direct(model, bags_of(SINGLE), Objective(torch.ones(2), 0.1, None, 2.0))


# --- what is refused -----------------------------------------------------------------------------


def test_an_adjustment_is_for_one_label_a_text() -> None:
    with pytest.raises(InputError, match="logit_adjustment is for one label a text"):
        trained_scores(bags_of(MULTI), logit_adjustment=1.0)
    with pytest.raises(ValueError, match=r"^logit_adjustment is for one label.* set it to None"):
        TextClassifier(logit_adjustment=1.0).fit(["a b", "b c"], np.eye(2, dtype=int))


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (["trainer.focal=-1"], "trainer.focal"),
        (["trainer.logit_adjustment=-1"], "trainer.logit_adjustment"),
        (["trainer.logit_adjustment=1", "trainer.class_weights=balanced"], "leave one out"),
    ],
)
def test_options_that_make_no_sense_are_refused(overrides: list[str], named: str) -> None:
    with pytest.raises(InputError, match=named) as caught:
        make_config(*overrides)
    assert "\n" not in str(caught.value)
    assert make_config("trainer.focal=0", "trainer.logit_adjustment=0").trainer.focal == 0


def test_the_estimator_has_both() -> None:
    texts, labels = ["a b", "a c", "a b", "b"] * 3, ["x", "x", "x", "y"] * 3
    plain = TextClassifier(epochs=2).fit(texts, labels).predict_proba(["zzz"])
    focal = TextClassifier(epochs=2, focal=2.0).fit(texts, labels).predict_proba(["zzz"])
    adjusted = TextClassifier(epochs=2, logit_adjustment=1.0).fit(texts, labels)
    assert not np.array_equal(focal, plain)
    assert adjusted.predict_proba(["zzz"])[0, 1] > plain[0, 1]
    with pytest.raises(ValueError, match=r"^logit_adjustment and class_weight both"):
        TextClassifier(logit_adjustment=1.0, class_weight="balanced").fit(texts, labels)
    with pytest.raises(ValueError, match=r"^dim=classes .* sampled_classes=None, or dim to"):
        TextClassifier(dim="classes", sampled_classes=1).fit(texts, labels)
