"""How a training is shared among processes, and what it is of one that trains alone.

The loop and its steps ask a :class:`Together` for all that is different where there are several:
:class:`~textcls.training.by_rows.ByRows` shares the rows of each batch,
:class:`~textcls.training.by_columns.ByColumns` the columns of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from textcls.data.targets import Targets
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.base import Task
from textcls.task.objective import Objective
from textcls.training.checkpoint import Progress, random_states, set_random_states
from textcls.training.optimizer import Optimizer, norm
from textcls.training.signals import Received

if TYPE_CHECKING:
    from textcls.distributed import Team

# In the place of a signal: a checkpoint is due. (No signal that is noted has so low a number.)
SAVE = 1
TABLE, WEIGHT, BIAS = "embedding.weight", "linear.weight", "linear.bias"


class Found(NamedTuple):
    """What a step finds out about its batch, or one process about its part of it.

    Attributes:
        rows: by parameter, int64 ``[num_rows]``, ascending: those that its gradient is of; where a
            name is missing, it is of all, or of some that all processes have alike.
        grads: by parameter, its gradient.
        loss: float32 ``[]``, summed over the bags.
        bags: int64 ``[num_bags]``, their numbers in the split.
        outcome: what is predicted of them, as :meth:`Task.outcome` returns it.
        num_tokens: that they have.
    """

    rows: dict[str, Tensor]
    grads: dict[str, Tensor]
    loss: Tensor
    bags: Tensor
    outcome: Tensor
    num_tokens: int


class Together:
    """A training by one process alone.

    Attributes:
        rank: of this process.
        world_size: processes among which the rows of a batch are shared.
        leads: whether this process measures, writes and prints.
        is_shared: whether a step has to :meth:`exchange` what it finds.
    """

    rank = 0
    world_size = 1
    leads = True
    is_shared = False

    def __init__(self) -> None:
        self._received = Received()

    # --- the training --------------------------------------------------------------------------

    def begin(
        self,
        model: EmbeddingBagClassifier,
        make_optimizer: Callable[[EmbeddingBagClassifier], Optimizer],
        load: Callable[[EmbeddingBagClassifier, Optimizer], Progress],
        task: Task,
    ) -> tuple[EmbeddingBagClassifier, Optimizer, Progress]:
        """Return what this process trains, from where a checkpoint left it.

        Args:
            model: whole, on its device.
            make_optimizer: of a model.
            load: brings a whole model and its optimizer to where the checkpoint left them.
            task: what the labels are.
        """
        optimizer = make_optimizer(model)
        return model, optimizer, load(model, optimizer)

    def measured(self, model: EmbeddingBagClassifier) -> EmbeddingBagClassifier:
        """Return the whole model where this process leads, elsewhere anything.

        Args:
            model: what this process trains.
        """
        return model

    def whole(
        self, model: EmbeddingBagClassifier, optimizer: Optimizer
    ) -> tuple[EmbeddingBagClassifier, Optimizer]:
        """Return the whole model and its optimizer where this process leads, elsewhere anything."""
        return model, optimizer

    def listen(self, received: Received, is_due: Callable[[], bool]) -> None:
        """Note where it is noted that a signal comes to this process, and when a save is due."""
        self._received, self._is_due = received, is_due

    def asked(self) -> int | None:
        """Return, as all processes know it after a step, the signal that has come, or ``SAVE``."""
        return self._received.signum or (SAVE if self._is_due() else None)

    def word(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the process that leads says; for others ``said`` is nothing."""
        return said

    def can_save_after_loss(self) -> bool:
        """Say whether, where a process is lost in a step, all is here that was before it."""
        return False

    # --- a step --------------------------------------------------------------------------------

    def begin_step(self, num_bags: int) -> None:
        """Begin a step of so many bags, of all processes together."""

    def labels(self, ids: Tensor) -> Tensor:
        """Return the labels of the whole batch, int64 ``[n]``, in any order, for this part's."""
        return ids

    def part(
        self, targets: Targets, objective: Objective, num_classes: int
    ) -> float | Tensor | None:
        """Return by what the mean loss of this part of a batch is multiplied; None: by nothing.

        Args:
            targets: of the part.
            objective: what is minimised.
            num_classes: of the class scores.
        """
        return None

    def exchange(self, found: Found) -> Found:
        """Return what is known of the whole batch, the same bits in each process."""
        return found

    def scores(self, pooled: Tensor, weight: Tensor | None, bias: Tensor) -> Tensor:
        """Return class scores, float ``[num_bags, num_classes]``.

        Args:
            pooled: ``[num_bags, pooled_dim]``.
            weight: of the linear layer; None: it is the identity.
            bias: of the linear layer.
        """
        return pooled + bias if weight is None else torch.addmm(bias, pooled, weight.t())

    def credit(self, grad: Tensor, weight: Tensor | None) -> Tensor:
        """Return the gradient by the pooled vectors, for that by class scores; see above."""
        return grad if weight is None else grad.mm(weight)

    def norm(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Return the 2-norm of all gradients together, by parameter."""
        return norm(grads)


class OfTeam(Together):
    """What is common to all ways of sharing.

    Args:
        team: the processes.
    """

    is_shared = True

    def __init__(self, team: Team) -> None:
        super().__init__()
        self.team = team
        self.leads = team.here.leads
        self._asked = 0

    def asked(self) -> int | None:
        """See :meth:`Together.asked`: a signal that came to any of them."""
        asked = self._asked
        if asked == SAVE:
            self._asked = 0
        return asked or None

    def word(self, said: Mapping[str, Any]) -> Mapping[str, Any]:
        """See :meth:`Together.word`."""
        if self.leads:
            self.team.tell(said)
            return said
        return self.team.hear(lambda: self._received.signum)

    def _note(self, asked: list[int]) -> None:
        """Note what :meth:`_own_asked` is of each process."""
        self._asked = max(*asked, self._asked)

    def _own_asked(self) -> int:
        """Return the signal that came to this process, ``SAVE``, or 0 for nothing."""
        return self._received.signum or (SAVE if self.leads and self._is_due() else 0)

    def _same_random_states(self, model: EmbeddingBagClassifier) -> None:
        """Have the random states of the process that leads, for a model on its device."""
        states = random_states(model.linear.weight.device)
        set_random_states({name: self.team.copied(state) for name, state in states.items()})

    def _same_progress(self, progress: Progress) -> Progress:
        """Return the progress of the process that leads; the tally stays with it."""
        numbers = dataclasses.asdict(progress)
        del numbers["tally"]
        return Progress(**self.word(numbers), tally=progress.tally)
