"""The steps of an epoch on a GPU: one captured step, replayed."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
import triton
from torch import Tensor

from textcls.config import OptimizerConfig
from textcls.data.bags import Bags
from textcls.data.resident import NO_BAG, Resident
from textcls.data.sampler import Epoch
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.model.kernels import columns_of, rows_of, update_kernel
from textcls.model.resident_bag import ResidentEmbeddingBag
from textcls.task.base import weight_of_batch
from textcls.task.objective import Objective
from textcls.training.checkpoint import Progress
from textcls.training.optimizer import Optimizer

# Steps that run uncaptured at first: they load and compile what a captured step must find there.
WARM_UP = 2
# Programs of each kernel whose work the device counts, by multiprocessor: enough to hide latency.
PROGRAMS = 8


class CapturedSteps:
    """Step after step by the kernels of :mod:`textcls.model.kernels`, captured in a CUDA graph.

    Trains as :class:`~textcls.training.steps.Steps` does. Batches are laid out on the device, a
    chunk of the epoch at a time; a step is captured once and replayed for each of them, so that
    it costs the host one launch. Whatever a step needs to know of its own stands on the device:
    its number, the learning rate, where its bags are. Nothing waits for the device before an
    epoch's end.

    Without a GPU the same steps run uncaptured, as the tests do in Triton's interpreter.
    See https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.

    Args:
        model, optimizer, batch_size, objective, learning_rate: as of ``Steps``.
        train: the bags, on the CPU or on the model's device.
        total_steps: of the whole training.
        free_bytes: as of :class:`~textcls.data.resident.Resident`.
    """

    def __init__(
        self,
        model: EmbeddingBagClassifier,
        optimizer: Optimizer,
        train: Bags,
        batch_size: int,
        objective: Objective,
        learning_rate: Callable[[int], float],
        total_steps: int,
        free_bytes: int | None = None,
    ) -> None:
        self.model, self.optimizer, self.objective = model, optimizer, objective
        self.device = model.linear.weight.device
        self.layout = Resident(
            train, model.embedding.num_embeddings, batch_size, self.device, free_bytes
        )
        self.num_steps = self.layout.num_steps
        # The step's number in the layout, in the whole training and in the epoch.
        self._counter = torch.zeros(3, dtype=torch.int64, device=self.device)
        is_cuda = self.device.type == "cuda"
        self._num_programs = PROGRAMS * (
            torch.cuda.get_device_properties(self.device).multi_processor_count if is_cuda else 1
        )
        self._bag = ResidentEmbeddingBag(
            model.embedding, self.layout, self._counter, self._num_programs
        )
        self._rates = rates_of(optimizer.config, learning_rate, total_steps).to(self.device)
        self.loss_sum = torch.zeros((), device=self.device)
        self._predictions = torch.zeros_like(self.layout.labels)
        self._order = torch.zeros(0, dtype=torch.int64)
        self._graph: torch.cuda.CUDAGraph | None = None
        self._uncaptured = 0

    def epoch(self, epoch: Epoch, begun: Progress) -> Iterator[int]:
        """Train on an epoch, as :meth:`textcls.training.steps.Steps.epoch` does."""
        self.model.train()
        self._order = order = epoch.order
        first = epoch.number * self.num_steps
        self.loss_sum.fill_(begun.loss_sum)
        if begun.step:
            self._predictions[: len(order)] = begun.tally[order].to(self.device)
        for steps, tokens in self.layout.chunks(order, begun.step):
            for i, value in enumerate((0, first + steps.start, steps.start)):
                self._counter[i].fill_(value)
            for count in tokens:
                self._next()
                yield count

    @property
    def tally(self) -> Tensor:
        """The epoch's, int64 ``[num_bags]`` on the CPU; waits for the device."""
        predictions = torch.empty_like(self._order)
        predictions[self._order] = self._predictions[: len(self._order)].cpu()
        return predictions

    def _next(self) -> None:
        if self._graph is not None:
            self._graph.replay()
        elif self.device.type != "cuda" or self._uncaptured < WARM_UP:
            self._step()
            self._uncaptured += 1
        else:
            graph = torch.cuda.CUDAGraph()
            # The thread that brings the next chunk must not call the device meanwhile: what it
            # allocates would break the capture, in spite of its being another thread.
            with (
                self.layout.quiet,
                torch.cuda.graph(
                    graph, stream=_stream_of(self.device), capture_error_mode="thread_local"
                ),
            ):
                self._step()
            graph.replay()
            self._graph = graph

    def _step(self) -> None:
        """Take the step that the counter names: the same calls on the same tensors each time."""
        model, objective = self.model, self.objective
        of_step, of_epoch = self._counter[:1], self._counter[2:]
        size = self.layout.batch_size

        pooled = self._bag.forward().detach().requires_grad_()
        logits = model.linear(model.dropout(pooled))
        labels = self.layout.labels.view(-1, size).index_select(0, of_step).view(size)
        # Summed, and divided after: torch's own mean would wait for the device to count the bags.
        loss_sum = F.cross_entropy(
            objective.adjusted(logits),
            labels,
            objective.class_weights,
            ignore_index=NO_BAG,
            reduction="sum",
            label_smoothing=objective.label_smoothing,
        )
        is_bag = labels != NO_BAG
        if objective.class_weights is None:
            divisor = is_bag.sum()
        else:
            divisor = weight_of_batch(objective.class_weights[labels.clamp(min=0)] * is_bag)
        linear = list(model.linear.parameters())
        grad_pooled, *grads = torch.autograd.grad(loss_sum / divisor, [pooled, *linear])
        with torch.no_grad():
            self._bag.backward(grad_pooled)
            self._update(grads)

            # Reported is the plain cross-entropy, as on validation and test.
            if not objective.is_plain:
                loss_sum = F.cross_entropy(logits, labels, ignore_index=NO_BAG, reduction="sum")
            self.loss_sum.add_(loss_sum.detach())
            self._predictions.view(-1, size).index_copy_(0, of_epoch, logits.argmax(1)[None])
            self._counter.add_(1)

    def _update(self, linear_grads: list[Tensor]) -> None:
        embedding, bag = self.model.embedding, self._bag
        tables = {"embedding.weight": bag.grad_weight}
        if bag.grad_weighing is not None:
            tables["embedding.weighing"] = bag.grad_weighing
        linear = dict(zip(("linear.weight", "linear.bias"), linear_grads, strict=True))
        clip = None
        if self.objective.clip_norm is not None:
            # The tables' own squares are known: beyond the step's rows they hold anything.
            norm = torch.nn.utils.get_total_norm([bag.squares.sum().sqrt(), *linear.values()])
            clip = (self.objective.clip_norm / (norm + 1e-6)).clamp(max=1)
        for name, grad in (tables | linear).items():
            touched = self.layout if name in tables and embedding.sparse else None
            update(
                self.optimizer.config,
                self.optimizer.parameters[name],
                grad.contiguous(),
                list(self.optimizer.memory[name].values()),
                self._rates,
                self._counter,
                clip,
                self._num_programs,
                touched,
            )
        if self.optimizer.config.name != "sgd":  # whose kernel in torch does not count either
            torch._foreach_add_(list(self.optimizer.steps.values()), 1)


@functools.cache
def _stream_of(device: torch.device) -> torch.cuda.Stream:
    """Return the stream to capture on: torch's own is of the first device that captured."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def rates_of(
    config: OptimizerConfig, learning_rate: Callable[[int], float], total_steps: int
) -> Tensor:
    """Return what the update kernel needs to know of each step, float32 ``[total_steps, 3]``.

    The learning rate; and for Adam that rate over the first mean's correction for its bias, and
    one over the root of the second's.
    """
    steps = torch.arange(1, total_steps + 1, dtype=torch.float64)
    lr = torch.tensor([learning_rate(step) for step in range(total_steps)], dtype=torch.float64)
    beta1, beta2 = config.betas
    corrections = lr / (1 - beta1**steps), (1 - beta2**steps).rsqrt()
    return torch.stack([lr, *corrections], 1).float()


def update(
    config: OptimizerConfig,
    table: Tensor,
    grad: Tensor,
    memory: Sequence[Tensor],
    rates: Tensor,
    counter: Tensor,
    clip: Tensor | None,
    num_programs: int,
    touched: Resident | None = None,
) -> None:
    """Update a table in place by the optimizer's rule, as torch's would.

    Args:
        config: the optimizer's name and options.
        table: any float ``[num_rows, dim]`` or ``[dim]``, contiguous.
        grad: float32, of its shape; or with ``touched``, of the step's rows only.
        memory: float32, what the optimizer remembers, in tensors of the table's shape.
        rates: float32 ``[num_steps, 3]``, as of :func:`rates_of`.
        counter: int64 ``[n]``: the step in the layout, and that in the whole training.
        clip: float32 ``[1]``, what gradients are multiplied by; None: nothing.
        num_programs: of the kernel.
        touched: update only the rows of the step that is laid out there.
    """
    dim = table.shape[-1]
    first = memory[0] if memory else table
    second = memory[1] if len(memory) > 1 else first
    beta1, beta2 = config.betas
    num_rows = table.numel() // dim
    update_kernel[(min(num_programs, triton.cdiv(num_rows, rows_of(dim))),)](
        table, grad, first, second,
        counter if touched is None else touched.row_tokens,
        counter if touched is None else touched.step_rows,
        counter, rates, rates if clip is None else clip,
        num_rows, config.weight_decay, config.momentum, beta1, beta2,
        dim, config.name, bool(memory), touched is not None, clip is not None,
        rows_of(dim), columns_of(dim),
    )  # fmt: skip
