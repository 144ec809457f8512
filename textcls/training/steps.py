"""The steps of an epoch: batch, loss, gradient, update."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.batches import batches
from textcls.data.targets import Targets
from textcls.errors import first_line
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.pooling import KERNEL_MODES
from textcls.task.objective import Objective
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Progress
from textcls.training.optimizer import Optimizer
from textcls.training.sampling import ClassSampler, Sampled

if TYPE_CHECKING:
    from textcls.training.captured import CapturedSteps

log = logging.getLogger("textcls")


class Steps:
    """Step after step by torch's operators: on any device.

    Args:
        model: on its device; trained in place.
        optimizer: of its parameters.
        train: the bags, on the model's device.
        batch_size: bags a step.
        objective: what is minimised.
        learning_rate: at each step of the whole training, from 0.
        sampler: says which classes a step computes; None: all.

    Attributes:
        loss_sum: float32, the loss summed over the epoch's bags so far, times what each weighs; it
            stays on the device, so that nothing waits for a step's result.
    """

    def __init__(
        self,
        model: EmbeddingBagClassifier,
        optimizer: Optimizer,
        train: Bags,
        batch_size: int,
        objective: Objective,
        learning_rate: Callable[[int], float],
        sampler: ClassSampler | None = None,
    ) -> None:
        self.sampler = sampler
        self.model, self.optimizer, self.train = model, optimizer, train
        self.batch_size, self.objective, self.learning_rate = batch_size, objective, learning_rate
        self.num_steps = -(-len(train) // batch_size)
        self.loss_sum = torch.zeros((), device=train.device)
        self.task = task_of(train)
        self._tally = self.task.new_tally(len(train), model.linear.out_features, train.device)
        self._composition = None
        if model.composition is not None:
            self._composition = model.composition.to(train.device)

    def epoch(self, number: int, order: Tensor, begun: Progress) -> Iterator[int]:
        """Train on an epoch, or what is left of it; yield after each step how many tokens it had.

        Args:
            number: of the epoch, from 0.
            order: int64 ``[num_bags]``, a permutation of the bags, on the CPU.
            begun: how far the epoch has come: its step, sum of losses and tally.
        """
        model, task = self.model, self.task
        step = self._begin(number, begun)
        transposed = model.embedding.pooling.has_linear
        order = order.to(self.train.device)
        for made in batches(
            self.train, order, self.batch_size, begun.step, transposed, self._composition
        ):
            batch = made.bags
            classes, targets, objective = self._learned(step, batch.targets)
            logits = model(
                batch.indices, batch.offsets, batch.weights, made.transposed, made.items, classes
            )
            loss = task.batch_loss(logits, targets, objective)
            self.optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            if objective.clip_norm is not None:
                self.optimizer.clip_norm(objective.clip_norm)
            self.optimizer.step(self.learning_rate(step))

            with torch.no_grad():
                # Reported is the plain loss, as on validation and test.
                if objective.is_plain and batch.example_weights is None:
                    self.loss_sum.add_(loss.detach(), alpha=len(batch))
                else:
                    self.loss_sum.add_(task.loss_sum(logits, targets))
                task.count(self._tally, made.rows, logits, targets, classes)
            step += 1
            yield batch.num_tokens

    def _learned(self, step: int, targets: Targets) -> Sampled:
        """Return which classes a step computes, and what it learns of them."""
        if self.sampler is None:
            return Sampled(None, targets, self.objective)
        return self.sampler.sample(step, targets)

    def _begin(self, number: int, begun: Progress) -> int:
        """Take up an epoch where it has come to; return its next step in the whole training."""
        self.model.train()
        self.loss_sum.fill_(begun.loss_sum)
        if begun.step:
            self._tally.copy_(begun.tally)
        else:
            self._tally.zero_()
        return number * self.num_steps + begun.step

    @property
    def tally(self) -> Tensor:
        """What the epoch's predictions come to so far, as its task counts them, on the CPU."""
        return self._tally.cpu()


def steps_on(
    model: EmbeddingBagClassifier,
    optimizer: Optimizer,
    train: Bags,
    batch_size: int,
    objective: Objective,
    learning_rate: Callable[[int], float],
    total_steps: int,
    sampler: ClassSampler | None = None,
) -> Steps | CapturedSteps:
    """Return the steps of a training, the fastest way its device knows.

    The arguments are those of :class:`Steps`, and how many steps the whole training has.
    """
    device = model.linear.weight.device
    if device.type == "cuda":
        reason = _no_kernels(model, train, objective, sampler) or _no_triton(device)
        if reason is None:
            from textcls.training.captured import CapturedSteps

            return CapturedSteps(
                model, optimizer, train, batch_size, objective, learning_rate, total_steps
            )
        log.warning("training by torch's own kernels, which is slower: %s", reason)
    from textcls.training.direct import DirectSteps, is_direct

    kind = DirectSteps if is_direct(model, train, objective) else Steps
    return kind(model, optimizer, train.to(device), batch_size, objective, learning_rate, sampler)


def _no_kernels(
    model: EmbeddingBagClassifier,
    train: Bags,
    objective: Objective,
    sampler: ClassSampler | None = None,
) -> str | None:
    """Say what of a training Triton's kernels do not have; None: they have all."""
    mode = model.embedding.pooling.mode
    if mode not in KERNEL_MODES:
        return f"the faster ones do not have mode={mode}"
    if train.weights is not None:
        return "the faster ones do not have weighted tokens"
    if train.label_shares is not None:
        return "the faster ones do not have probabilities of labels"
    if train.label_offsets is not None:
        return "the faster ones do not have several labels a text"
    if train.example_weights is not None:
        return "the faster ones do not have weights of rows"
    if objective.focal:
        return "the faster ones do not have the focal loss"
    if sampler is not None:
        return "the faster ones do not have sampled classes"
    if not model.linear.weight.requires_grad:
        return "the faster ones do not have rows of class scores"
    if objective.ordinal is not None:
        return "the faster ones do not have targets that are spread over neighbours"
    if model.composition is not None:
        return "the faster ones do not have words composed of character n-grams"
    if model.vectors is not None:
        return "the faster ones do not have vectors of words"
    return None


def _no_triton(device: torch.device) -> str | None:
    """Say why Triton's kernels cannot be had on a device; None: they can."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    from textcls.model.kernels import probe_kernel

    try:
        probe_kernel[(1,)](torch.zeros(1, device=device))
    except Exception as error:  # no C compiler, no Python.h, no place for its cache, an old GPU, …
        return f"Triton cannot be used here ({first_line(error)})"
    return None
