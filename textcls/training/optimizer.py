"""Optimizers over all rows of the embedding or over those that a batch touched, and schedules."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.optim.adagrad import adagrad
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from textcls.config import OptimizerConfig, ScheduleConfig
from textcls.data.bags import Bags
from textcls.data.composition import Composition

# Updating a touched row apart costs about as much as updating five rows of the whole in place.
TOUCHED_SHARE = 0.2
# What each optimizer remembers of every parameter, in tensors of its shape.
_MEMORY = {
    "sgd": ("momentum",),
    "adagrad": ("sum",),
    "adam": ("mean", "square"),
    "adamw": ("mean", "square"),
}


def touches_few(
    bags: Bags, rows: Tensor, num_embeddings: int, composition: Composition | None = None
) -> bool:
    """Say whether a batch has so few distinct tokens that these are better updated apart.

    Args:
        bags: a split.
        rows: int64 ``[n]``, the batch's bags.
        num_embeddings: rows of the table.
        composition: what words touch besides.
    """
    rows = rows.to(bags.device)
    bounds = zip(bags.offsets[rows].tolist(), bags.offsets[rows + 1].tolist(), strict=True)
    # (Bags.select would want Arrow, which training from ids alone does without.)
    tokens = torch.cat([bags.indices[:0], *(bags.indices[start:stop] for start, stop in bounds)])
    touched = torch.unique(tokens)
    if composition is not None:
        parts = composition.bags
        touched = torch.unique(parts.select(touched.long().to(parts.device)).indices)
    return bool(touched.numel() < TOUCHED_SHARE * num_embeddings)


class Optimizer:
    """SGD, Adagrad, Adam or AdamW: torch's own kernels, also over touched rows only.

    Where a gradient is sparse, its rows of the parameter and of what the optimizer remembers are
    gathered, updated by the same kernel as a dense gradient would be, and put back: a step costs
    what the batch touches, however large the table. For SGD and Adagrad that is the dense update
    itself, since a zero gradient moves nothing. Momentum, Adam's means and weight decay stand
    still for a row while no batch has it, as in ``torch.optim.SparseAdam``.

    It is not a ``torch.optim.Optimizer``, because making one of those imports torch's compiler:
    1.5 seconds, more than most trainings here take.

    Args:
        config: name, weight decay, momentum, betas and what Adagrad's sums of squares begin with.
        parameters: by name; those that need no gradient are left out. A sparse gradient must name
            each of its rows once, as :class:`~textcls.model.pooling.TransposedEmbeddingBag` gives
            it.
        scales: by parameter, a number that its gradients have as a factor, 1 where it is not
            named: by its square are Adagrad's first sums of squares smaller.
    """

    def __init__(
        self,
        config: OptimizerConfig,
        parameters: Iterable[tuple[str, nn.Parameter]],
        scales: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.config = config
        self.parameters = {key: p for key, p in parameters if p.requires_grad}
        plain = config.name == "sgd" and not config.momentum
        names = () if plain else _MEMORY[config.name]
        first = config.initial_accumulator_value if config.name == "adagrad" else 0.0
        self.memory = {
            key: {name: torch.full_like(p, first * scales.get(key, 1) ** 2) for name in names}
            for key, p in self.parameters.items()
        }
        # The kernels count steps by parameter, each in a tensor of its own.
        self.steps = {key: torch.zeros((), device=p.device) for key, p in self.parameters.items()}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters.values():
            parameter.grad = None

    def gradients(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the rows of sparse gradients by parameter, and the numbers of all gradients."""
        grads = {key: p.grad for key, p in self.parameters.items() if p.grad is not None}
        rows = {key: grad._indices()[0] for key, grad in grads.items() if grad.is_sparse}
        return rows, {key: _values(grad) for key, grad in grads.items()}

    def set_gradients(self, rows: Mapping[str, Tensor], grads: Mapping[str, Tensor]) -> None:
        """Have gradients in the place of those that there are; see :meth:`gradients`."""
        for key, grad in grads.items():
            parameter = self.parameters[key]
            parameter.grad = (
                torch.sparse_coo_tensor(
                    rows[key].unsqueeze(0), grad, parameter.shape,
                    is_coalesced=True, check_invariants=False,
                )
                if key in rows
                else grad
            )  # fmt: skip

    def clip_norm(
        self, max_norm: float, norm_of: Callable[[Mapping[str, Tensor]], Tensor] | None = None
    ) -> None:
        """Scale all gradients together so that their 2-norm is at most ``max_norm``.

        Args:
            max_norm: the limit.
            norm_of: returns the norm of gradients by parameter; None: :func:`norm`.
        """
        _, grads = self.gradients()
        factor = (max_norm / ((norm_of or norm)(grads) + 1e-6)).clamp(max=1)
        torch._foreach_mul_(list(grads.values()), factor)

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Update the parameters that have a gradient, at learning rate ``lr``."""
        touched, grads = self.gradients()
        tensors = {
            key: self.rows_of(key, touched[key]) if key in touched else self.all_of(key)
            for key in grads
        }
        self.update(tensors, grads, lr)
        for key, rows in touched.items():
            self.put_rows(key, rows, tensors[key])

    def all_of(self, key: str) -> list[Tensor]:
        """Return a parameter and what is remembered of it, themselves."""
        return [self.parameters[key], *self.memory[key].values()]

    def rows_of(self, key: str, rows: Tensor) -> list[Tensor]:
        """Return copies of rows, int64 ``[n]``, of a parameter and of what is remembered of it."""
        return [tensor.index_select(0, rows) for tensor in self.all_of(key)]

    def put_rows(self, key: str, rows: Tensor, parts: Sequence[Tensor]) -> None:
        """Put back what :meth:`rows_of` returned, once it is updated."""
        for tensor, part in zip(self.all_of(key), parts, strict=True):
            _put_rows(tensor, rows, part)

    def update(
        self, tensors: Mapping[str, Sequence[Tensor]], grads: Mapping[str, Tensor], lr: float
    ) -> None:
        """Update parameters, or rows of them, in place.

        Args:
            tensors: by parameter, what :meth:`all_of` or :meth:`rows_of` returned.
            grads: by parameter, of the same shape.
            lr: learning rate.
        """
        columns = [list(column) for column in zip(*tensors.values(), strict=True)]
        self._update(columns, list(grads.values()), [self.steps[key] for key in tensors], lr)

    def _update(
        self, tensors: list[list[Tensor]], grads: list[Tensor], steps: list[Tensor], lr: float
    ) -> None:
        """Call torch's kernel on ``[parameters, *memory]``, each a list."""
        config, (parameters, *memory) = self.config, tensors
        fused = grads[0].device.type in ("cpu", "cuda")
        if config.name == "sgd":
            sgd(
                parameters, grads, [*memory[0]] if memory else [None] * len(grads),
                fused=fused, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay,
                dampening=0, nesterov=False, maximize=False,
            )  # fmt: skip
        elif config.name == "adagrad":
            options: dict[str, Any] = {
                "lr": lr, "lr_decay": 0.0, "weight_decay": config.weight_decay, "eps": 1e-10,
                "maximize": False,
            }  # fmt: skip
            if grads[0].device.type == "cpu":
                # The fused kernel, which only a CPU has, as such: adagrad() would take as long for
                # sorting its arguments, a tenth of the time of a small batch.
                torch._foreach_add_(steps, 1)
                torch._fused_adagrad_(parameters, grads, memory[0], steps, **options)
            else:
                adagrad(parameters, grads, memory[0], steps, **options)
        else:
            beta1, beta2 = config.betas
            adam(
                parameters, grads, memory[0], memory[1], [], steps,
                fused=fused, lr=lr, weight_decay=config.weight_decay, beta1=beta1, beta2=beta2,
                eps=1e-8, decoupled_weight_decay=config.name == "adamw",
                amsgrad=False, maximize=False,
            )  # fmt: skip

    def state_dict(self) -> dict[str, Tensor]:
        """Return all that it remembers, by ``parameter/name``."""
        state = {f"{key}/step": step for key, step in self.steps.items()}
        for key, memory in self.memory.items():
            state |= {f"{key}/{name}": tensor for name, tensor in memory.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take back what :meth:`state_dict` gave.

        Raises:
            KeyError, RuntimeError: it is of another optimizer or another model.
        """
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


def norm(grads: Mapping[str, Tensor]) -> Tensor:
    """Return the 2-norm of all gradients together, by parameter."""
    return torch.nn.utils.get_total_norm(list(grads.values()))


def _values(grad: Tensor) -> Tensor:
    """Return the numbers of a gradient, as a view: of a sparse one those of the touched rows."""
    return grad._values() if grad.is_sparse else grad


def _put_rows(table: Tensor, rows: Tensor, values: Tensor) -> None:
    """Set ``table[rows] = values``, both contiguous."""
    if table.device.type != "cpu":
        table.index_copy_(0, rows, values)
        return
    # NumPy copies whole rows, as values that it need not understand, three times as fast.
    size = f"V{table[0].nbytes}"
    np.put(_bytes(table).view(size), rows.numpy(), _bytes(values).view(size))


def _bytes(tensor: Tensor) -> npt.NDArray[np.uint8]:
    numbers: npt.NDArray[np.uint8] = tensor.detach().view(torch.uint8).numpy()
    return numbers


def make_schedule(config: ScheduleConfig, num_steps: int) -> Callable[[int], float]:
    """Return what the learning rate is multiplied by at each step, 0 to ``num_steps - 1``."""
    warmup = math.ceil(config.warmup * num_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if config.name == "constant":
            return 1.0
        done = min((step - warmup) / max(num_steps - warmup, 1), 1.0)
        return 1.0 - done if config.name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))

    return factor
