from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.conftest import make_config, seed_cpu
from textcls.data.bags import Bags
from textcls.data.composition import Composition
from textcls.data.sampler import Epoch, epoch_order
from textcls.model.embedding_bag import EmbeddingBagClassifier, hold_scores
from textcls.task.objective import Objective
from textcls.training.checkpoint import Progress
from textcls.training.direct import DirectSteps, is_direct
from textcls.training.optimizer import Optimizer
from textcls.training.steps import Steps
from textcls.values import Mode

WORDS, CHARS, CLASSES, DIM, BATCH = 50, 40, 3, 4, 8


def make_bags() -> Bags:
    """Return bags of words, character n-grams (as unknown words have) and nothing."""
    rng = np.random.default_rng(1)
    lengths = rng.integers(0, 9, 301)
    lengths[:BATCH] = lengths[8 * BATCH : 9 * BATCH] = 0  # whole batches of the order below
    offsets = torch.from_numpy(np.append(0, lengths.cumsum()))
    count = int(offsets[-1])
    ids = torch.from_numpy(rng.integers(2, WORDS + CHARS, count, dtype=np.int32))
    weights = torch.from_numpy(rng.random(count, dtype=np.float32))
    weights[rng.random(count) < 0.1] = 0
    labels = torch.from_numpy(rng.integers(0, CLASSES, len(lengths)))
    return Bags(ids, offsets, labels, WORDS + CHARS, weights)


def make_composition() -> Composition:
    """Return words of their own row and up to four others, with weights."""
    rng = np.random.default_rng(2)
    rows, lengths = WORDS + CHARS, np.ones(WORDS + CHARS, np.int64)
    lengths[:WORDS] += rng.integers(0, 5, WORDS)
    offsets = np.append(0, lengths.cumsum())
    indices = rng.integers(WORDS, rows, offsets[-1], dtype=np.int32)
    indices[offsets[:-1]] = np.arange(rows)
    weights = torch.from_numpy(rng.random(len(indices), dtype=np.float32))
    labels = torch.zeros(rows, dtype=torch.int64)
    return Composition(
        Bags(torch.from_numpy(indices), torch.from_numpy(offsets), labels, rows, weights)
    )


def trained(
    kind: type[Steps],
    mode: Mode,
    composition: Composition | None,
    begun: int = 0,
    of_scores: bool = False,
) -> tuple[list[torch.Tensor], list[int], Steps]:
    seed_cpu(3)
    bags = make_bags()
    model = EmbeddingBagClassifier(WORDS + CHARS, CLASSES if of_scores else DIM, CLASSES, mode)
    if of_scores:
        hold_scores(model)
    model.composition, model.embedding.sparse = composition, True
    options = make_config("optimizer.initial_accumulator_value=1e-4").optimizer
    optimizer = Optimizer(options, model.named_parameters())
    objective = Objective(label_smoothing=0.1)
    assert is_direct(model, bags, objective)
    steps = kind(model, optimizer, bags, BATCH, objective, lambda step: 0.3 / (1 + step))
    order = torch.arange(len(bags))
    tokens = []
    for epoch in range(2):
        progress = Progress(step=begun, loss_sum=0.0, tally=torch.zeros(len(bags)).long())
        tokens += list(steps.epoch(Epoch.of(order, BATCH, epoch), progress))
        order = epoch_order(len(bags), 1, epoch)
    return [parameter.detach() for parameter in model.parameters()], tokens, steps


@pytest.mark.parametrize("composed", [False, True])
@pytest.mark.parametrize("mode", ["mean", "sum", "sqrtn"])
def test_steps_without_autograd_are_those_with_it(mode: Mode, composed: bool) -> None:
    composition = make_composition() if composed else None
    for begun in (0, 5):
        expected, tokens, steps = trained(Steps, mode, composition, begun)
        found, its_tokens, direct = trained(DirectSteps, mode, composition, begun)
        assert its_tokens == tokens
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(direct.loss_sum, steps.loss_sum, rtol=1e-5, atol=0)
        assert torch.equal(direct.tally, steps.tally)


@pytest.mark.parametrize("composed", [False, True])
def test_a_table_of_class_scores_learns_alike_and_stays_one(composed: bool) -> None:
    composition = make_composition() if composed else None
    expected, _, steps = trained(Steps, "sqrtn", composition, of_scores=True)
    found, _, direct = trained(DirectSteps, "sqrtn", composition, of_scores=True)
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(direct.loss_sum, steps.loss_sum, rtol=1e-5, atol=0)
    table, weight, bias = found
    assert torch.equal(weight, torch.eye(CLASSES))
    # Of a matrix of classes by classes that never changes nothing is remembered.
    assert not any(name.startswith("linear.weight") for name in direct.optimizer.state_dict())
    assert table.any()
    assert bias.any()


def test_what_needs_autograd_goes_by_it() -> None:
    bags = make_bags()
    model = EmbeddingBagClassifier(WORDS + CHARS, DIM, CLASSES, "sqrtn")
    assert not is_direct(model, bags, Objective())  # all rows are updated
    model.embedding.sparse = True
    assert is_direct(model, bags, Objective())
    assert not is_direct(model, bags, Objective(clip_norm=1.0))
    modes: tuple[Mode, ...] = "max", "mean+sum", "weighted_sum"
    for mode in modes:
        other = EmbeddingBagClassifier(WORDS + CHARS, DIM, CLASSES, mode)
        other.embedding.sparse = True
        assert not is_direct(other, bags, Objective())
