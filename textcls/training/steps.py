"""The steps of an epoch: batch, loss, gradient, update."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from textcls.data.batches import batches
from textcls.data.sampler import Epoch
from textcls.data.sharded import Split
from textcls.data.targets import Targets
from textcls.data.windows import windows
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.objective import Objective
from textcls.task.tasks import task_of
from textcls.training.checkpoint import Progress
from textcls.training.optimizer import Optimizer
from textcls.training.sampling import ClassSampler, Sampled
from textcls.training.together import Found, Together


class Steps:
    """Step after step by torch's operators: on any device.

    Args:
        model: on its device; trained in place.
        optimizer: of its parameters.
        train: the bags, on the model's device; or in several files.
        batch_size: bags a step.
        objective: what is minimised.
        learning_rate: at each step of the whole training, from 0.
        sampler: says which classes a step computes; None: all.
        together: how processes share the steps; None: this one is alone.

    Attributes:
        loss_sum: float32, the loss summed over the epoch's bags so far, times what each weighs; it
            stays on the device, so that nothing waits for a step's result.
    """

    def __init__(
        self,
        model: EmbeddingBagClassifier,
        optimizer: Optimizer,
        train: Split,
        batch_size: int,
        objective: Objective,
        learning_rate: Callable[[int], float],
        sampler: ClassSampler | None = None,
        together: Together | None = None,
    ) -> None:
        self.sampler, self.together = sampler, together or Together()
        self.model, self.optimizer, self.train = model, optimizer, train
        self.batch_size, self.objective, self.learning_rate = batch_size, objective, learning_rate
        self.num_steps, self._num_bags = -(-len(train) // batch_size), len(train)
        self.device = model.linear.weight.device
        self.loss_sum = torch.zeros((), device=self.device)
        self.task = task_of(train)
        self._tally = self.task.new_tally(len(train), model.linear.out_features, self.device)
        self._composition = None
        if model.composition is not None:
            self._composition = model.composition.to(self.device)

    def epoch(self, epoch: Epoch, begun: Progress) -> Iterator[int]:
        """Train on an epoch, or what is left of it; yield after each step how many tokens it had.

        Args:
            epoch: which bags each step takes.
            begun: how far the epoch has come: its step, sum of losses and tally.
        """
        model, task = self.model, self.task
        step = self._begin(epoch, begun)
        transposed = model.embedding.pooling.has_linear
        here = (window.to(self.device) for window in windows(self.train, epoch, begun.step))
        for made in batches(here, self.device, transposed, self._composition):
            batch = made.bags
            self._begin_step(step)
            classes, targets, objective = self._learned(step, batch.targets)
            logits = model(
                batch.indices, batch.offsets, batch.weights, made.transposed, made.items, classes
            )
            loss = task.batch_loss(logits, targets, objective)
            self.optimizer.zero_grad()
            part = self.together.part(targets, objective, logits.shape[1])
            (loss if part is None else loss * part).backward()  # type: ignore[no-untyped-call]

            with torch.no_grad():
                loss_sum = self._loss_of_step()
                # Reported is the plain loss, as on validation and test.
                if objective.is_plain and batch.example_weights is None and len(batch):
                    loss_sum.add_(loss.detach(), alpha=len(batch))
                else:
                    loss_sum.add_(task.loss_sum(logits, targets))
                outcome, gradients = task.outcome(logits, targets), self.optimizer.gradients()
                found = self._count(
                    Found(*gradients, loss_sum, made.rows, outcome, batch.num_tokens), classes
                )
            if self.together.is_shared:
                self.optimizer.set_gradients(found.rows, found.grads)
            if objective.clip_norm is not None:
                self.optimizer.clip_norm(objective.clip_norm, self.together.norm)
            self.optimizer.step(self.learning_rate(step))
            step += 1
            yield found.num_tokens

    def _learned(self, step: int, targets: Targets) -> Sampled:
        """Return which classes a step computes, and what it learns of them."""
        if self.sampler is None:
            return Sampled(None, targets, self.objective)
        return self.sampler.sample(step, targets, self.together.labels(targets.ids))

    def _loss_of_step(self) -> Tensor:
        """Return what to add a step's loss to: the sum itself, unless others have parts of it."""
        return torch.zeros_like(self.loss_sum) if self.together.is_shared else self.loss_sum

    def _count(self, found: Found, classes: Tensor | None) -> Found:
        """Bring together what processes found of a step, and count its loss and predictions.

        Args:
            found: its loss is :meth:`_loss_of_step`.
            classes: that the predictions are of; None: all.
        """
        found = self.together.exchange(found)
        if self.together.is_shared:
            self.loss_sum.add_(found.loss)
        self.task.add(self._tally, found.bags, found.outcome, classes)
        return found

    def _begin_step(self, step: int) -> None:
        """Say how many bags a step has, of all processes."""
        behind = step % self.num_steps * self.batch_size
        self.together.begin_step(min(self.batch_size, self._num_bags - behind))

    def _begin(self, epoch: Epoch, begun: Progress) -> int:
        """Take up an epoch where it has come to; return its next step in the whole training."""
        self.model.train()
        self.loss_sum.fill_(begun.loss_sum)
        if begun.step and self.together.leads:
            self._tally.copy_(begun.tally)
        else:
            self._tally.zero_()
        return epoch.number * self.num_steps + begun.step

    @property
    def tally(self) -> Tensor:
        """What the epoch's predictions come to so far, as its task counts them, on the CPU."""
        return self._tally.cpu()
