"""Kinds of training on which a GPU is tried, and made-up data and models for them."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F

from textcls.config import OptimizerConfig
from textcls.data.bags import Bags
from textcls.data.sharded import Split
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import INIT_RANGE, TransposedEmbeddingBag
from textcls.task.objective import Objective
from textcls.training.optimizer import Optimizer
from textcls.values import Mode, OptimizerName

# Numbers of a table, and of the rows that a step looks up, at most: the reference takes seconds.
MOST_NUMBERS = 1 << 22
# Sizes that cases have.
_BAGS, _ROWS, _CLASSES = (32, 256, 2048), (1 << 10, 1 << 13, 1 << 16), (2, 16, 128)
# The first are what a kernel pools at once of bags that are shorter than the last.
_TOKENS = (16, 32, 64)


@dataclass(frozen=True)
class Case:
    """What is tried: a kind of training.

    Attributes:
        mode, dim: of the embedding bag.
        classes, rows, bags, tokens: classes, embedding rows, bags a step, tokens of a bag on
            average: sizes near those of the training.
        touched: whether a step updates the rows that its batch touches, or all.
        optimizer: its name.
        momentum, decays: whether it has momentum, and weight decay.
        weighs, smooths, adjusts, clips: whether the objective has weights of classes, smoothed
            labels, adjusted logits and a greatest norm of gradients.
    """

    mode: Mode
    dim: int
    classes: int = 2
    rows: int = _ROWS[0]
    bags: int = _BAGS[0]
    tokens: int = _TOKENS[0]
    touched: bool = True
    optimizer: OptimizerName = "adagrad"
    momentum: bool = False
    decays: bool = False
    weighs: bool = False
    smooths: bool = False
    adjusts: bool = False
    clips: bool = False

    def __str__(self) -> str:
        said = [name for name, value in asdict(self).items() if value is True]
        return (
            f"{self.mode}, dim {self.dim}, {self.rows:,} rows, {self.bags:,} bags of {self.tokens} "
            f"tokens, {self.classes} classes, {', '.join([self.optimizer, *said])}"
        )


def case_of(
    embedding: TransposedEmbeddingBag,
    train: Split,
    classes: int,
    batch_size: int,
    optimizer: OptimizerConfig,
    objective: Objective,
) -> Case:
    """Return the case of a training."""
    return Case(
        embedding.pooling.mode,
        embedding.embedding_dim,
        _near(classes, _CLASSES),
        _near(embedding.num_embeddings, _ROWS, embedding.embedding_dim),
        _near(batch_size, _BAGS, embedding.embedding_dim * _TOKENS[-1]),
        _near(train.num_tokens // max(len(train), 1), _TOKENS),
        embedding.sparse,
        optimizer.name,
        optimizer.momentum > 0,
        optimizer.weight_decay > 0,
        objective.class_weights is not None,
        objective.label_smoothing > 0,
        objective.adjustment is not None,
        objective.clip_norm is not None,
    )


def _near(size: int, sizes: tuple[int, ...], numbers: int = 1) -> int:
    """Return the least of the sizes that is no smaller, or the largest that is no work.

    Args:
        size: of a training.
        sizes: ascending.
        numbers: that one more means.
    """
    little = [one for one in sizes if one * numbers <= MOST_NUMBERS] or sizes[:1]
    return next((one for one in little if one >= size), little[-1])


def bags_of(case: Case, steps: int) -> Bags:
    """Return made-up bags for some steps, the last of which is a smaller one.

    Few tokens of them are frequent and most are rare, as in texts.
    """
    generator = torch.Generator().manual_seed(0)
    num_bags = (steps - 1) * case.bags + case.bags // 2
    lengths = torch.randint(2 * case.tokens + 1, (num_bags,), generator=generator)
    uniform = torch.rand(int(lengths.sum()), generator=generator, dtype=torch.float64)
    tokens = (case.rows**uniform).int() - 1
    labels = torch.randint(case.classes, (num_bags,), generator=generator)
    return Bags(tokens, F.pad(lengths.cumsum(0), (1, 0)), labels, case.rows)


def model_of(case: Case) -> EmbeddingBagClassifier:
    """Return an untrained model, on the CPU, the same each time."""
    generator = torch.Generator().manual_seed(1)
    model = EmbeddingBagClassifier(case.rows, case.dim, case.classes, case.mode)
    embedding = model.embedding
    embedding.sparse = case.touched
    with torch.no_grad():
        # No two rows have a number in common, so that the largest is never one of several.
        for column in embedding.weight.t():
            ranks = torch.randperm(case.rows, generator=generator)
            column.copy_((2 * ranks / case.rows - 1) * INIT_RANGE)
        for tensor in (embedding.weighing, model.linear.weight):
            if tensor is not None:
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return model


def optimizer_of(case: Case, model: EmbeddingBagClassifier) -> Optimizer:
    """Return an optimizer whose steps change a weight by about a hundredth of it.

    Much less would be lost in rounding; and no part of a change may drown the others. What is
    remembered of squares begins at about those of gradients: from zero, the first step would be as
    large for a gradient that is all rounding as for any.
    """
    lr = {"sgd": 0.3 if case.momentum else 1.0, "adagrad": 0.05}.get(case.optimizer, 0.02)
    if case.optimizer == "sgd" and case.clips:
        lr *= 10
    decay = 0.5 if case.optimizer == "adamw" else 0.1 / case.bags
    config = OptimizerConfig(
        name=case.optimizer,
        lr=lr,
        weight_decay=decay if case.decays else 0.0,
        rows="touched" if case.touched else "all",
        momentum=0.9 if case.momentum else 0.0,
    )
    optimizer = Optimizer(config, model.named_parameters())
    for name, memory in optimizer.memory.items():
        square = (0.01 / case.bags if name.startswith("embedding.") else 1e-3) ** 2
        if "square" in memory:  # Adam corrects what began at zero
            memory["square"].fill_(square * (1 - config.betas[1]))
        elif "sum" in memory:
            memory["sum"].fill_(square)
    return optimizer


def objective_of(case: Case, device: torch.device) -> Objective:
    """Return what is minimised, on a device."""
    by_class = torch.linspace(0.5, 2, case.classes, device=device)
    return Objective(
        by_class if case.weighs else None,
        0.1 if case.smooths else 0.0,
        0.02 if case.clips else None,
        adjustment=-by_class if case.adjusts else None,
    )
