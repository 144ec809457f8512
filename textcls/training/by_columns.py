"""Processes that share the columns of the table: each sees whole batches and has part of each row.

Frameworks for large models call it tensor parallelism. A process pools its columns, and its columns
of the linear layer make of them a summand of the class scores; these sums are all that a step
exchanges. The bias, learned weights of tokens and the matrix of frozen vectors are in every
process, and learn alike in all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.composition import Items
from textcls.data.transpose import Transpose
from textcls.distributed import Team
from textcls.errors import InputError
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.base import Task
from textcls.training.checkpoint import Progress
from textcls.training.choice import moves_what_max_leaves
from textcls.training.optimizer import Optimizer, norm
from textcls.training.signals import SIGNALS
from textcls.training.together import SAVE, TABLE, WEIGHT, Found, OfTeam

# Of a learned weight every process has the gradient by its columns.
_WEIGHING = "embedding.weighing"
# Numbers of a table that are on their way at a time.
_AT_A_TIME = 1 << 22


class ByColumns(OfTeam):
    """The columns of the table are shared; see :class:`~textcls.training.together.Together`.

    Args:
        team: the processes.
        device: that each trains on. The whole model is on the CPU of the one that leads.
    """

    def __init__(self, team: Team, device: torch.device) -> None:
        super().__init__(team)
        self.device = device

    def begin(
        self,
        model: EmbeddingBagClassifier,
        make_optimizer: Callable[[EmbeddingBagClassifier], Optimizer],
        load: Callable[[EmbeddingBagClassifier, Optimizer], Progress],
        task: Task,
    ) -> tuple[EmbeddingBagClassifier, Optimizer, Progress]:
        """See :meth:`Together.begin`; ``model`` is on the CPU.

        Raises:
            InputError: there are fewer columns than processes.
        """
        dim, size = model.embedding.embedding_dim, self.team.here.size
        if dim < size:
            raise InputError(
                f"trainer.parallel=columns: {size} processes cannot share a table of {dim} columns:"
                " start fewer, raise model.dim, or set trainer.parallel=data"
            )
        self._dim, self._columns = dim, self.team.share_of(dim)
        self._widest = max(map(len, self.team.shares(dim)))
        self.num_columns = len(self._columns)
        self._num_parts = len(model.embedding.pooling.parts)
        self._home = model
        own = _OwnColumns(model, self, self.device)
        optimizer = make_optimizer(own)
        progress = Progress()
        at_home: dict[str, Tensor] = {}
        if self.leads:
            self._home_optimizer = make_optimizer(model)
            progress = load(model, self._home_optimizer)
            at_home = {**model.state_dict(), **self._home_optimizer.state_dict()}
        if moves_what_max_leaves(own.embedding, optimizer.config):
            raise InputError(
                "trainer.parallel=columns: with max pooling, momentum and weight decay need all "
                "rows: set optimizer.rows=all, or trainer.parallel=data"
            )
        progress = self._same_progress(progress)
        for name, tensor in {**own.state_dict(), **optimizer.state_dict()}.items():
            self._bring(at_home.get(name), tensor, name)
        self._same_random_states(own)
        if not self.leads:
            model.to("meta")  # its memory is of no use here
        return own, optimizer, progress

    def measured(self, model: EmbeddingBagClassifier) -> EmbeddingBagClassifier:
        """See :meth:`Together.measured`: the columns come together on the CPU."""
        self._bring_home(model.state_dict(), self._home.state_dict())
        return self._home

    def whole(
        self, model: EmbeddingBagClassifier, optimizer: Optimizer
    ) -> tuple[EmbeddingBagClassifier, Optimizer]:
        """See :meth:`Together.whole`."""
        at_home = self._home_optimizer.state_dict() if self.leads else {}
        self._bring_home(optimizer.state_dict(), at_home)
        return self.measured(model), self._home_optimizer if self.leads else optimizer

    # --- moving tensors ------------------------------------------------------------------------

    def _bring(self, at_home: Tensor | None, own: Tensor, name: str) -> None:
        """Bring a tensor from the process that leads to all, of a table each its columns."""
        if not _has_columns(name, own):
            sent = own.cpu() if at_home is None else at_home.clone()
            own.copy_(self.team.copied(sent))
            return
        width = own.shape[1] // self.num_columns * self._dim
        for rows in _runs(own, width):
            sent = torch.empty(len(own[rows]), width) if at_home is None else at_home[rows].clone()
            own[rows] = self._own(self.team.copied(sent)).to(own.device)

    def _bring_home(self, state: Mapping[str, Tensor], at_home: Mapping[str, Tensor]) -> None:
        """Bring all tensors to the process that leads, of a table the columns of all."""
        for name, own in state.items():
            if not _has_columns(name, own):
                if self.leads:
                    at_home[name].copy_(own)
                continue
            num_parts = own.shape[1] // self.num_columns
            padding = (0, self._widest - self.num_columns)
            for rows in _runs(own, num_parts * self._dim):
                sent = own[rows].cpu().view(-1, num_parts, self.num_columns)
                heard = self.team.collected(F.pad(sent, padding))
                if heard is None:
                    continue
                shares = self.team.shares(self._dim)
                whole = [of[..., : len(its)] for of, its in zip(heard, shares, strict=True)]
                at_home[name][rows] = torch.cat(whole, 2).flatten(1)

    def _own(self, whole: Tensor) -> Tensor:
        """Return the own columns of some rows: those of each part of what is pooled."""
        columns = slice(self._columns.start, self._columns.stop)
        return whole.view(len(whole), -1, self._dim)[..., columns].flatten(1)

    # --- a step --------------------------------------------------------------------------------

    def summed(self, partial: Tensor) -> Tensor:
        """Return the sum of the processes' summands of class scores, ``[num_bags, num_classes]``.

        With it goes whether a signal has come, or a checkpoint is due.
        """
        asked = (SAVE, *SIGNALS)
        came = torch.tensor([self._own_asked() == each for each in asked])
        sent = torch.cat([partial.flatten(), came.to(partial)])
        sums, heard = self.team.summed(sent).split_with_sizes([partial.numel(), len(asked)])
        counts = zip(heard.tolist(), asked, strict=True)
        self._note([int(each) for count, each in counts if count] or [0])
        return sums.view(partial.shape)

    def scores(self, pooled: Tensor, weight: Tensor | None, bias: Tensor) -> Tensor:
        """See :meth:`Together.scores`."""
        if weight is not None:
            return self.summed(pooled.mm(weight.t())).add_(bias)
        partial = pooled.new_zeros(len(pooled), self._dim)
        partial[:, self._columns.start : self._columns.stop] = pooled
        return self.summed(partial).add_(bias)

    def credit(self, grad: Tensor, weight: Tensor | None) -> Tensor:
        """See :meth:`Together.credit`."""
        return self._own(grad) if weight is None else grad.mm(weight)

    def exchange(self, found: Found) -> Found:
        """See :meth:`Together.exchange`: all else is known to each process."""
        if _WEIGHING in found.grads:
            self.team.summed(found.grads[_WEIGHING])
        return found

    def norm(self, grads: Mapping[str, Tensor]) -> Tensor:
        """See :meth:`Together.norm`."""
        own = {name: grad for name, grad in grads.items() if name in (TABLE, WEIGHT)}
        alike = {name: grad for name, grad in grads.items() if name not in own}
        squares = self.team.summed(norm(own).square().view(1))[0]
        return (squares + norm(alike).square()).sqrt()

    def uniform(self, like: Tensor) -> Tensor:
        """Return the random numbers of the own columns out of those of the whole."""
        width = self._num_parts * self._dim
        return self._own(torch.rand(len(like), width, dtype=like.dtype, device=like.device))


class _OwnColumns(EmbeddingBagClassifier):
    """The part of a model that one process trains.

    Args:
        home: the whole model.
        together: sums up class scores.
        device: of the part.
    """

    def __init__(
        self, home: EmbeddingBagClassifier, together: ByColumns, device: torch.device
    ) -> None:
        whole = home.embedding
        with torch.device("meta"):
            super().__init__(
                whole.num_embeddings, together.num_columns, home.linear.out_features,
                whole.pooling.mode, whole.padding_idx, home.dropout.p,
            )  # fmt: skip
        self.to_empty(device=device)
        self.embedding.sparse = whole.sparse
        for mine, of_whole in zip(self.linear.parameters(), home.linear.parameters(), strict=True):
            mine.requires_grad_(of_whole.requires_grad)
        self.dropout.draw = together.uniform
        self.composition, self._together = home.composition, together
        if home.vectors is not None:
            of_home = home.vectors.holding(home.vectors.weight.detach().clone())
            self.vectors = of_home.to(device).requires_grad_()

    def forward(
        self,
        indices: Tensor,
        offsets: Tensor,
        weights: Tensor | None = None,
        transposed: Transpose | None = None,
        items: Items | None = None,
        classes: Tensor | None = None,
    ) -> Tensor:
        """See :meth:`EmbeddingBagClassifier.forward`."""
        pooled = self.dropout(self.embed(indices, offsets, weights, transposed, items))
        weight: Tensor = self.linear.weight
        bias: Tensor = self.linear.bias
        if classes is not None:
            weight, bias = weight[classes], bias[classes]
        partial = F.linear(pooled, weight)
        scores: Tensor = _Sum.apply(partial, self._together) + bias  # type: ignore[no-untyped-call]
        if self.vectors is not None:
            scores = scores + self.vectors(indices, offsets, weights)
        return scores


class _Sum(torch.autograd.Function):
    """The sum over the processes, each of which knows the gradient of all."""

    @staticmethod
    def forward(ctx: Any, partial: Tensor, together: ByColumns) -> Tensor:
        return together.summed(partial)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


def _has_columns(name: str, tensor: Tensor) -> bool:
    """Say whether a tensor of a model or an optimizer has columns that processes share."""
    return name.split("/")[0] in (TABLE, WEIGHT) and tensor.dim() == 2


def _runs(tensor: Tensor, width: int) -> Iterator[slice]:
    """Cut the rows of a tensor into runs that are sent one after another."""
    step = max(1, _AT_A_TIME // max(width, 1))
    for start in range(0, len(tensor), step):
        yield slice(start, start + step)
