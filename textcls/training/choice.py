"""Which steps a training takes: those of Triton's kernels, or those of torch's own operators.

The kernels are for GPUs. They are taken where they have all that a training needs, Triton works,
and this machine has shown that they give what torch's operators give, and no slower: see
:mod:`textcls.training.proof`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from textcls.config import OptimizerConfig
from textcls.data.bags import Bags
from textcls.data.sharded import ShardedBags, Split
from textcls.errors import InputError, first_line
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.pooling import TransposedEmbeddingBag
from textcls.pooling import KERNEL_MODES
from textcls.task.objective import Objective
from textcls.training.direct import DirectSteps, is_direct
from textcls.training.optimizer import Optimizer
from textcls.training.sampling import ClassSampler
from textcls.training.steps import Steps
from textcls.training.together import Together
from textcls.values import Kernels

if TYPE_CHECKING:
    from textcls.training.captured import CapturedSteps

log = logging.getLogger("textcls")


@dataclass(frozen=True)
class Training:
    """What steps are taken of; its attributes are those of :class:`Steps`."""

    model: EmbeddingBagClassifier
    optimizer: Optimizer
    train: Split
    batch_size: int
    objective: Objective
    sampler: ClassSampler | None = None
    together: Together | None = None


def moves_what_max_leaves(embedding: TransposedEmbeddingBag, config: OptimizerConfig) -> bool:
    """Say whether rows of a batch that no maximum credits would be updated, though torch's are not.

    The kernels update all rows of a batch: of those without a gradient nothing moves with plain SGD
    and Adagrad, but with what remembers earlier gradients or lets weights decay.
    """
    moves = config.name in ("adam", "adamw") or config.momentum > 0 or config.weight_decay > 0
    return embedding.sparse and not embedding.pooling.has_linear and moves


# What the kernels do not have, by what docs/speed.md calls it.
LACKING: dict[str, Callable[[Training], bool]] = {
    "the poolings with sqrtn, and weighted_mean": (
        lambda training: training.model.embedding.pooling.mode not in KERNEL_MODES
    ),
    "weighted features": lambda training: training.train.has_weights,
    "probabilities of labels": lambda training: training.train.targets.shares is not None,
    "several labels a text": lambda training: training.train.targets.offsets is not None,
    "weights of rows": lambda training: training.train.targets.weights is not None,
    "the focal loss": lambda training: training.objective.focal > 0,
    "targets that are spread over neighbours": (
        lambda training: training.objective.ordinal is not None
    ),
    "sampled classes": lambda training: training.sampler is not None,
    "a table of class scores": lambda training: not training.model.linear.weight.requires_grad,
    "words composed of character n-grams": (
        lambda training: training.model.composition is not None
    ),
    "pretrained vectors of words": lambda training: training.model.vectors is not None,
    "a split in several files": lambda training: isinstance(training.train, ShardedBags),
    "several processes": lambda training: training.together is not None,
    "max of touched rows with Adam, momentum or weight decay": (
        lambda training: moves_what_max_leaves(training.model.embedding, training.optimizer.config)
    ),
}


def steps_on(
    model: EmbeddingBagClassifier,
    optimizer: Optimizer,
    train: Split,
    batch_size: int,
    objective: Objective,
    learning_rate: Callable[[int], float],
    total_steps: int,
    sampler: ClassSampler | None = None,
    together: Together | None = None,
    kernels: Kernels = "auto",
    cache_dir: Path | None = None,
) -> Steps | CapturedSteps:
    """Return the steps of a training, the fastest way its device knows.

    The arguments are those of :class:`Steps`, and how many steps the whole training has. With
    ``kernels="triton"`` Triton's kernels are taken unproven, with ``"torch"`` never. What a GPU has
    shown is remembered in ``cache_dir``, where it is given.

    Raises:
        InputError: ``triton`` is asked for, and cannot be had.
    """
    training = Training(model, optimizer, train, batch_size, objective, sampler, together)
    takes_kernels = _takes_kernels(training, kernels, cache_dir)
    if isinstance(train, Bags):  # else the kernels are not taken, and windows follow to the device
        if takes_kernels:
            from textcls.training.captured import CapturedSteps

            return CapturedSteps(
                model, optimizer, train, batch_size, objective, learning_rate, total_steps
            )
        train = train.to(model.linear.weight.device)
    kind = DirectSteps if is_direct(model, train, objective) else Steps
    return kind(model, optimizer, train, batch_size, objective, learning_rate, sampler, together)


def lacking(training: Training) -> str | None:
    """Say what of a training the kernels do not have; None: they have all."""
    return next((what for what, is_of in LACKING.items() if is_of(training)), None)


def is_gpu(device: torch.device) -> bool:
    """Say whether a device is of the kind that the kernels are for."""
    return device.type == "cuda"


def _takes_kernels(training: Training, kernels: Kernels, cache_dir: Path | None) -> bool:
    """Decide, and log why."""
    device = training.model.linear.weight.device
    asked = "trainer.kernels=triton"
    if not is_gpu(device):
        if kernels == "triton":
            raise InputError(f"{asked}: is for a GPU, not for {device}: set trainer.kernels=auto")
        return False
    if kernels == "torch":
        log.info("training by torch's own operators: trainer.kernels=torch")
        return False
    what = lacking(training)
    if what is not None:
        if kernels == "triton":
            raise InputError(f"{asked}: does not have {what}: set trainer.kernels=auto")
        log.info("training by torch's own operators: Triton's kernels do not have %s", what)
        return False
    fault = no_triton(device)
    if kernels == "triton":
        if fault is not None:
            raise InputError(f"{asked}: {fault}: set trainer.kernels=auto")
        log.info("training by Triton's kernels, unproven: trainer.kernels=triton")
        return True
    if fault is None:
        from textcls.training.cases import case_of
        from textcls.training.proven import proven

        embedding = training.model.embedding
        case = case_of(
            embedding, training.train, training.model.linear.out_features, training.batch_size,
            training.optimizer.config, training.objective,
        )  # fmt: skip
        found = proven(case, device, cache_dir)
        if found.fault is None:
            log.info("training by Triton's kernels: %s", found)
            return True
        fault = str(found)
    log.warning("training by torch's own operators: %s", fault)
    return False


def no_triton(device: torch.device) -> str | None:
    """Say why Triton's kernels cannot be had on a device; None: they can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    from textcls.model.kernels import probe_kernel

    try:
        probe_kernel[(1,)](torch.zeros(1, device=device))
    except Exception as error:  # no C compiler, no Python.h, no place for its cache, an old GPU, …
        return f"Triton cannot be used here ({first_line(error)})"
    return None
