"""Steps that compute the scores of some of very many classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import make_config, with_options
from textcls.data.bags import Bags
from textcls.data.targets import Targets
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier, scores_of
from textcls.task.base import Task
from textcls.task.multi import MultiLabel
from textcls.task.objective import Objective
from textcls.task.single import SingleLabel
from textcls.task.tasks import task_of
from textcls.training import loop
from textcls.training.checkpoint import Checkpoints
from textcls.training.loop import fit
from textcls.training.sampling import ClassSampler
from textcls.training.tracking import Listener

CLASSES, WORDS = 60, 300
TASKS = pytest.mark.parametrize("task", [SingleLabel(), MultiLabel()], ids=lambda task: task.name)


def targets_of(task: Task, num_rows: int, seed: int) -> Targets:
    """Return classes of which a few are frequent and most are rare."""
    rng = np.random.default_rng(seed)
    shares = 1 / np.arange(1, CLASSES + 1)
    size = (num_rows, 2 if task.several else 1)
    found = np.sort(rng.choice(CLASSES, size, p=shares / shares.sum()), 1)
    rows = [np.unique(row) for row in found]
    ids = torch.from_numpy(np.concatenate(rows))
    if not task.several:
        return Targets(ids)
    return Targets(ids, torch.from_numpy(np.append(0, np.cumsum([len(row) for row in rows]))))


def make_bags(task: Task, num_rows: int, seed: int) -> Bags:
    """Return bags of three words of each of their classes, and others."""
    targets, rng = targets_of(task, num_rows, seed), np.random.default_rng(seed)
    bags, classes = targets.bags.numpy(), targets.ids.numpy()
    rows = np.concatenate([np.repeat(bags, 3), np.repeat(np.arange(num_rows), 2)])
    words = np.concatenate([np.repeat(classes, 3) + 2, rng.integers(2, WORDS, 2 * num_rows)])
    words[: 3 * len(bags)] += CLASSES * rng.integers(0, 3, 3 * len(bags))
    order = np.argsort(rows, kind="stable")
    return Bags(
        torch.from_numpy(words[order].astype(np.int32)),
        torch.from_numpy(np.append(0, np.bincount(rows, minlength=num_rows).cumsum())),
        targets.ids,
        WORDS,
        torch.ones(len(rows)),
        targets.offsets,
    )


@TASKS
def test_a_class_is_computed_as_often_as_the_correction_says(task: Task) -> None:
    targets, batch_size = targets_of(task, 4_000, 1), 16
    sampler = ClassSampler(targets, CLASSES, 10, batch_size, Objective(), seed=3)
    counts, steps = torch.zeros(CLASSES), 1_000
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        rows = torch.randint(4_000, (batch_size,), generator=generator)
        some = targets.select(rows)
        found = sampler.sample(step, some)
        assert found.classes is not None
        assert torch.equal(found.classes[found.targets.ids], some.ids)
        counts[found.classes] += 1
    every = sampler.sample(0, Targets(torch.arange(CLASSES)))
    assert every.objective.adjustment is not None
    torch.testing.assert_close(
        -every.objective.adjustment, (counts / steps).log(), atol=0.2, rtol=0
    )


@TASKS
def test_all_classes_are_no_sample(task: Task) -> None:
    targets = targets_of(task, 16, 1)
    weights, adjustment = torch.rand(CLASSES) + 0.5, torch.randn(CLASSES)
    objective = Objective(weights, 0.1, adjustment=adjustment)
    logits = torch.randn(16, CLASSES)
    classes, places, found = ClassSampler(
        targets, CLASSES, 50 * CLASSES, 16, objective, seed=1
    ).sample(7, targets)
    assert classes is not None
    assert torch.equal(classes, torch.arange(CLASSES))
    torch.testing.assert_close(
        task.batch_loss(logits, places, found), task.batch_loss(logits, targets, objective)
    )


@TASKS
def test_steps_without_autograd_are_those_with_it(task: Task) -> None:
    """Only the classes of a step are moved, in either."""
    bags = make_bags(task, 40, 1)
    # Gradients are clipped by torch's operators alone, and here to no effect.
    found, expected = (trained(bags, 5, clip_norm=norm, epochs=1) for norm in (None, 1e9))
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(found.state_dict()[name], value, rtol=1e-4, atol=1e-5)


def test_a_step_moves_its_classes_alone() -> None:
    bags = make_bags(SingleLabel(), 8, 1)
    before = untrained().linear.weight.detach()
    after = trained(bags, 5, epochs=1, batch_size=8).linear.weight.detach()
    moved = (before != after).any(1).nonzero().flatten().tolist()
    assert set(bags.labels.tolist()) <= set(moved)
    assert len(moved) <= len(bags.labels.unique()) + 5  # type: ignore[no-untyped-call]


@TASKS
def test_sampled_classes_are_learned_as_all_of_them(task: Task) -> None:
    train, test = make_bags(task, 2_000, 1), make_bags(task, 500, 2)
    names = tuple(map(str, range(CLASSES)))
    whole, sampled = (
        task_of(test).assess(scores_of(trained(train, count), test), test.targets, names).metrics
        for count in (None, 6)
    )
    name = "lrap" if task.several else "accuracy"
    assert whole[name] > 0.9
    assert sampled[name] > whole[name] - 0.02
    assert sampled["loss"] < whole["loss"] + (2.0 if task.several else 0.05)


def untrained() -> EmbeddingBagClassifier:
    torch.manual_seed(3)
    return EmbeddingBagClassifier(WORDS, 16, CLASSES, "sqrtn")


def trained(bags: Bags, count: int | None, **trainer: Any) -> EmbeddingBagClassifier:
    options = {"epochs": 6, "batch_size": 32} | trainer
    config = with_options(make_config("optimizer.initial_accumulator_value=1e-4"), "trainer",
                          monitor="loss", sampled_classes=count, **options)  # fmt: skip
    config = with_options(config, "optimizer", lr=0.3, rows="touched")
    model = untrained()
    if task_of(bags).several:
        with torch.no_grad():
            model.linear.bias.copy_(task_of(bags).first_bias(bags.targets, CLASSES))
    fit(model, bags, None, tuple(map(str, range(CLASSES))), config, Checkpoints(), Listener())
    return model


def test_what_a_step_looks_up_is_where_the_model_is(monkeypatch: pytest.MonkeyPatch) -> None:
    samplers: list[ClassSampler] = []

    def caught(*arguments: Any, **_: Any) -> None:
        samplers.append(arguments[-1])
        raise InterruptedError

    monkeypatch.setattr(loop, "steps_on", caught)
    bags, model = make_bags(SingleLabel(), 8, 1), untrained().to("meta")
    config = with_options(make_config(), "trainer", sampled_classes=5)
    with pytest.raises(InterruptedError):
        fit(model, bags, None, tuple(map(str, range(CLASSES))), config, Checkpoints(), Listener())
    assert samplers[0].log_probability.device.type == "meta"


def test_what_needs_all_classes_is_refused() -> None:
    bags = make_bags(SingleLabel(), 8, 1)
    model = untrained()
    model.linear.weight.requires_grad_(False)
    config = with_options(make_config(), "trainer", sampled_classes=5)
    names = tuple(map(str, range(CLASSES)))
    mend = "set trainer.sampled_classes=null, or model.dim to a number"
    with pytest.raises(InputError, match=f"model.dim=classes .* {mend}"):
        fit(model, bags, None, names, config, Checkpoints(), Listener())
