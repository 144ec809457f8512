"""Steps on a CPU without autograd: for bags that are pooled by one sum, of touched rows.

A step of a small batch takes less time for its numbers than for calling: autograd, a gradient as a
sparse tensor, a norm of each bag. Here the gradient is written down, over the rows that the batch
touches: they are gathered once, for the look-up and for the update. Results are those of
:class:`~textcls.training.steps.Steps`, up to the rounding of floats.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from textcls.data.bags import Bags
from textcls.data.products import Matrix, Operands, operands
from textcls.data.sampler import Epoch
from textcls.data.sharded import Split
from textcls.data.windows import windows
from textcls.model.embedding_bag import OF_VECTORS, EmbeddingBagClassifier
from textcls.model.look_up import look_up
from textcls.task.objective import Objective
from textcls.training.checkpoint import Progress
from textcls.training.steps import Steps
from textcls.training.together import BIAS, TABLE, WEIGHT, Found


def is_direct(model: EmbeddingBagClassifier, train: Split, objective: Objective) -> bool:
    """Say whether a training can go without autograd."""
    embedding, pooling = model.embedding, model.embedding.pooling
    return (
        embedding.weight.device.type == "cpu"
        and all(parameter.dtype == torch.float32 for parameter in model.parameters())
        and embedding.sparse
        and embedding.padding_idx is None
        and len(pooling.parts) == 1
        and pooling.is_linear
        and not pooling.learned
        and not model.dropout.p
        and objective.clip_norm is None
    )


class DirectSteps(Steps):
    """Step after step, without autograd; see :func:`is_direct`."""

    @torch.no_grad()
    def epoch(self, epoch: Epoch, begun: Progress) -> Iterator[int]:
        """See :meth:`Steps.epoch`."""
        step = self._begin(epoch, begun)
        (part,) = self.model.embedding.pooling.parts
        with_vectors = self.model.vectors is not None
        found = windows(self.train, epoch, begun.step)
        for batch in operands(found, part, self._composition, with_vectors):
            yield self._step(step, batch)
            step += 1

    def _step(self, step: int, batch: Operands) -> int:
        """Update the model, count what it predicted before, and return how many tokens it had."""
        self._begin_step(step)
        classes, targets, objective = self._learned(step, batch.targets)
        linear, learned = self.model.linear, [TABLE, WEIGHT, BIAS]
        of_scores = not linear.weight.requires_grad  # then it is the identity
        if of_scores:
            learned.remove(WEIGHT)
        has_bias = linear.bias.requires_grad
        if not has_bias:
            learned.remove(BIAS)
        vectors = self._pooled_vectors(batch.entries)
        if vectors is not None:
            learned.append(OF_VECTORS)
        rows = {TABLE: batch.rows}
        if classes is not None:
            rows |= {name: classes for name in (WEIGHT, BIAS) if name in learned}
        tensors = {
            name: self.optimizer.rows_of(name, rows[name])
            if name in rows
            else self.optimizer.all_of(name)
            for name in learned
        }
        pooled = tensors[TABLE][0]
        fixed = linear.bias if classes is None else linear.bias[classes]
        bias = tensors[BIAS][0] if has_bias else fixed
        weight = linear.weight if of_scores else tensors[WEIGHT][0]
        for factor in batch.factors:
            pooled = _times(factor.forward, pooled)
        logits = self.together.scores(pooled, None if of_scores else weight, bias)
        if vectors is not None:
            logits = logits.addmm(vectors, tensors[OF_VECTORS][0].t())

        outcome = self.task.outcome(logits, targets)
        loss, grad = self.task.gradient(logits, targets, objective)
        part = self.together.part(targets, objective, grad.shape[1])
        if part is not None:
            grad.mul_(part)
        credit = self.together.credit(grad, None if of_scores else weight)
        for factor in reversed(batch.factors):
            credit = _times(factor.backward, credit)
        grads = {TABLE: credit}
        if not of_scores:
            grads[WEIGHT] = grad.t().mm(pooled)
        if has_bias:
            grads[BIAS] = grad.sum(0)
        if vectors is not None:
            grads[OF_VECTORS] = grad.t().mm(vectors)
        found = self._count(
            Found(
                {TABLE: batch.rows}, grads, self._loss_of_step().add_(loss), batch.numbers,
                outcome, batch.num_tokens,
            ),
            classes,
        )  # fmt: skip
        if found.rows[TABLE] is not batch.rows:  # others have touched other rows
            rows[TABLE] = found.rows[TABLE]
            tensors[TABLE] = self.optimizer.rows_of(TABLE, rows[TABLE])
        self.optimizer.update(tensors, found.grads, self.learning_rate(step))
        for name, touched in rows.items():
            self.optimizer.put_rows(name, touched, tensors[name])
        return found.num_tokens

    def _pooled_vectors(self, bags: Bags | None) -> Tensor | None:
        """Return what the frozen vectors of bags pool to, where the model has any."""
        if self.model.vectors is None or bags is None:
            return None
        return self.model.vectors.pool(bags.indices, bags.offsets, bags.weights)


def _times(matrix: Matrix, table: Tensor) -> Tensor:
    if not len(table):  # a batch without tokens
        return table.new_zeros(len(matrix.offsets) - 1, table.shape[1])
    product, _, _ = look_up(
        table, matrix.columns, matrix.offsets, "sum", per_sample_weights=matrix.weights
    )
    return product
