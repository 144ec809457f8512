"""Processes that share the rows of each batch: every one has the whole model.

Each finds the gradient of its rows, all exchange what they found, and every one makes the same
update. Of a table whose touched rows are updated alone these rows are exchanged, of all else the
whole gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from textcls.data.targets import Targets
from textcls.distributed import Team
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.base import Task, weight_in_mean
from textcls.task.objective import Objective
from textcls.training.checkpoint import Progress, random_states, set_random_states
from textcls.training.optimizer import Optimizer
from textcls.training.together import Found, OfTeam

# Beside the parameters: what is summed with their gradients.
_LOSS, _TOTAL = "loss", "weight of the batch"


class ByRows(OfTeam):
    """The rows of a batch are shared; see :class:`~textcls.training.together.Together`.

    Args:
        team: the processes.
    """

    def __init__(self, team: Team) -> None:
        super().__init__(team)
        self.rank, self.world_size = team.here.rank, team.here.size
        self._weight: Tensor | None = None
        self._random: dict[str, Tensor] | None = None

    def begin(
        self,
        model: EmbeddingBagClassifier,
        make_optimizer: Callable[[EmbeddingBagClassifier], Optimizer],
        load: Callable[[EmbeddingBagClassifier, Optimizer], Progress],
        task: Task,
    ) -> tuple[EmbeddingBagClassifier, Optimizer, Progress]:
        """See :meth:`Together.begin`: all begin with what the process that leads has."""
        self._task, self._model = task, model
        optimizer = make_optimizer(model)
        progress = load(model, optimizer) if self.leads else Progress()
        progress = self._same_progress(progress)
        for tensor in [*model.state_dict().values(), *optimizer.state_dict().values()]:
            self.team.copied(tensor)
        self._same_random_states(model)
        if model.dropout.p:
            model.dropout.draw = self._uniform
        return model, optimizer, progress

    def can_save_after_loss(self) -> bool:
        """See :meth:`Together.can_save_after_loss`: nothing is updated until all is exchanged."""
        if self._random is not None:
            set_random_states(self._random)
        return True

    def begin_step(self, num_bags: int) -> None:
        """See :meth:`Together.begin_step`."""
        self._num_bags, self._own = num_bags, self.team.share_of(num_bags)
        if self._model.dropout.p:
            self._random = random_states(self._model.linear.weight.device)

    def _uniform(self, like: Tensor) -> Tensor:
        """Return the random numbers of this part out of those of the whole batch."""
        drawn = torch.rand(self._num_bags, like.shape[1], dtype=like.dtype, device=like.device)
        return drawn[self._own.start : self._own.stop]

    def labels(self, ids: Tensor) -> Tensor:
        """See :meth:`Together.labels`."""
        return torch.cat(self._gathered(ids))

    def part(
        self, targets: Targets, objective: Objective, num_classes: int
    ) -> float | Tensor | None:
        """See :meth:`Together.part`.

        Where bags have weights, what all weigh is known only after the exchange: until then it is
        the sum.
        """
        task = self._task
        self._weight = weight_in_mean(targets, task.counts(targets, objective, num_classes))
        return len(self._own) / self._num_bags if self._weight is None else self._weight

    def exchange(self, found: Found) -> Found:
        """See :meth:`Together.exchange`: sums are made in the order of the ranks."""
        bags, outcome, num_tokens, sizes = self._counted(found)
        grads = self._dense(found)
        touched = self._touched(found, sizes)
        rows = {name: rows for name, (rows, _) in touched.items()}
        grads |= {name: values for name, (_, values) in touched.items()}
        loss = grads.pop(_LOSS)
        total = grads.pop(_TOTAL, None)
        if total is not None and total > 0:  # else all gradients are 0
            for grad in grads.values():
                grad.div_(total)
        grads = {name: grads[name] for name in found.grads}
        return Found(rows, grads, loss, bags, outcome, num_tokens)

    def _counted(self, found: Found) -> tuple[Tensor, Tensor, int, list[list[int]]]:
        """Exchange integers: numbers of bags, predictions, how many rows each process touched."""
        own, device = self._own, found.bags.device
        place = torch.arange(own.start, own.stop, device=device)
        bags = torch.zeros(self._num_bags, dtype=torch.int64, device=device)
        bags[place] = found.bags
        # All 0 but for this part's: they add up to the outcome of the whole batch.
        width = found.outcome.shape[-1] - 1 if found.outcome.dim() > 1 else 0
        outcome = self._task.new_tally(self._num_bags, width, device)
        self._task.add(outcome, place, found.outcome)
        sizes = [len(rows) for rows in found.rows.values()]
        head = torch.tensor([self._own_asked(), found.num_tokens, *sizes])
        sent = [head, bags.cpu(), outcome.flatten().cpu()]
        heard = torch.stack(self.team.gathered(torch.cat(sent)))
        heads, bags, whole = heard.split_with_sizes([len(part) for part in sent], 1)
        self._note(heads[:, 0].tolist())
        return (
            bags.sum(0).to(device), whole.sum(0).view(outcome.shape).to(device),
            int(heads[:, 1].sum()), heads[:, 2:].tolist(),
        )  # fmt: skip

    def _dense(self, found: Found) -> dict[str, Tensor]:
        """Return the sums of all that is not of touched rows alone, the loss among it."""
        parts = {name: grad for name, grad in found.grads.items() if name not in found.rows}
        parts[_LOSS] = found.loss
        if self._weight is not None:
            parts[_TOTAL] = self._weight
        flat = self.team.summed(torch.cat([part.flatten() for part in parts.values()]))
        sums = flat.split_with_sizes([part.numel() for part in parts.values()])
        return {
            name: of_part.view(part.shape)
            for (name, part), of_part in zip(parts.items(), sums, strict=True)
        }

    def _touched(self, found: Found, sizes: list[list[int]]) -> dict[str, tuple[Tensor, Tensor]]:
        """Return the rows that the whole batch touches, ascending, and their gradients.

        Args:
            found: of this part.
            sizes: rows that each process touched, by rank and parameter.
        """
        if not found.rows:
            return {}
        widths = [found.grads[name].shape[1] for name in found.rows]
        longest = max(sum(n * (1 + w) for n, w in zip(own, widths, strict=True)) for own in sizes)
        # Rows and numbers as one message of four bytes each, as long as the longest.
        sent = torch.cat(
            [
                part
                for name, rows in found.rows.items()
                for part in (rows.int(), found.grads[name].flatten().view(torch.int32))
            ]
        )
        heard = self.team.gathered(F.pad(sent, (0, longest - len(sent))))
        of_ranks: list[list[Tensor]] = []
        for message, own in zip(heard, sizes, strict=True):
            counts = [n * each for n, width in zip(own, widths, strict=True) for each in (1, width)]
            of_ranks.append(list(message[: sum(counts)].split_with_sizes(counts)))
        touched = {}
        for number, (name, width) in enumerate(zip(found.rows, widths, strict=True)):
            rows = [parts[2 * number].long() for parts in of_ranks]
            values = [
                parts[2 * number + 1].view(torch.float32).view(-1, width) for parts in of_ranks
            ]
            touched[name] = _added(rows, values)
        return touched

    def _gathered(self, ids: Tensor) -> list[Tensor]:
        """Return the ids of all processes, int64 ``[n]``, whose numbers may differ."""
        sizes = [int(size) for size in self.team.gathered(torch.tensor([len(ids)]))]
        heard = self.team.gathered(F.pad(ids, (0, max(sizes) - len(ids))))
        return [some[:size] for some, size in zip(heard, sizes, strict=True)]


def _added(rows: list[Tensor], values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Add up what several have of some rows, in their order; each names a row once."""
    whole = torch.unique(torch.cat(rows))
    sums = values[0].new_zeros(len(whole), values[0].shape[1])
    for some, of_some in zip(rows, values, strict=True):
        sums.index_add_(0, torch.searchsorted(whole, some), of_some)
    return whole, sums
