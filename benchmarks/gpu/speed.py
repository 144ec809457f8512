"""Steady training on a GPU: steps, epochs, and what memory alone would take."""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from benchmarks.gpu.data import Packed
from benchmarks.gpu.peers import LR, Plain
from benchmarks.measure import Record
from textcls.config import OptimizerConfig
from textcls.data.bags import Bags
from textcls.data.sampler import Sampler, epoch_order
from textcls.model.embedding_bag import EmbeddingBagClassifier
from textcls.task.objective import Objective
from textcls.training.captured import CapturedSteps
from textcls.training.checkpoint import Progress
from textcls.training.optimizer import Optimizer, touches_few
from textcls.training.timing import copy_bandwidth, seconds_of, synchronize
from textcls.values import Mode

# Without a GPU nobody can say how much of its memory is free.
CPU_BYTES = 1 << 30


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Attributes:
        sizes, dims, modes: what is varied, one at a time.
        size, dim: what stays meanwhile.
        peer_sizes: batch sizes at which plain ``nn.EmbeddingBag`` is measured.
        stack: so many runs of a sweep, as one model of so many times the dim.
        buckets: rows of hashed bigrams.
        full_steps: of an epoch, at the least: bags are repeated until they make so many.
        replays, repetitions: steps timed one by one, and how often.
        epochs: whole ones timed, after one that warms up.
        trainings: whole ones timed on each corpus.
        workers: of a ``DataLoader``.
        copy_bytes: moved to measure the bandwidth.
        bags, longest, tokens: of the random inputs that gradients are checked on.
    """

    sizes: tuple[int, ...] = (256, 1024, 8192, 32768)
    size: int = 8192
    dims: tuple[int, ...] = (16, 32, 128)
    dim: int = 32
    modes: tuple[Mode, ...] = ("mean", "sum", "max", "weighted_sum")
    peer_sizes: tuple[int, ...] = (256, 8192)
    stack: int = 8
    buckets: int = 2_000_000
    full_steps: int = 4
    replays: int = 60
    repetitions: int = 5
    epochs: int = 3
    trainings: int = 10
    workers: int = 4
    copy_bytes: int = 1 << 31
    bags: int = 1000
    longest: int = 300
    tokens: int = 5000


QUICK = Plan(
    sizes=(2, 3), size=2, dims=(4, 8), dim=8, peer_sizes=(2, 3), stack=2, buckets=50, full_steps=1,
    replays=2, repetitions=1, epochs=1, trainings=2, workers=0, copy_bytes=1 << 20,
    bags=4, longest=5, tokens=16,
)  # fmt: skip


# --- time --------------------------------------------------------------------------------------


def find_device() -> torch.device:
    """Return the GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def intervals(device: torch.device, action: Callable[[], object], count: int) -> list[float]:
    """Return the device's seconds from the end of each call to that of the next.

    So what the host takes to launch a call counts, too, where the device waits for it.
    """
    if device.type != "cuda":
        return [seconds_of(device, action) for _ in range(count)]
    events: list[Any] = [
        torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        for _ in range(count + 1)
    ]
    events[0].record()
    for event in events[1:]:
        action()
        event.record()
    synchronize(device)
    return [one.elapsed_time(other) / 1e3 for one, other in pairwise(events)]


def use_up(iterator: Iterable[object]) -> None:
    """Let it run to its end."""
    deque(iterator, maxlen=0)


# --- the floor ---------------------------------------------------------------------------------


def copying(plan: Plan, device: torch.device) -> Record:
    """Copy within the device's memory; bytes read and bytes written both count."""
    return {"bytes_per_second": copy_bandwidth(device, plan.copy_bytes, 20)}


def floor_bytes(
    tokens: float, bags: float, rows: float, dim: int, mode: Mode,
    table_bytes: int = 4, memories: int = 1,
) -> float:  # fmt: skip
    """Return how many bytes a step must move at the least, read and written, whatever is cached.

    Forward: a token id (4 bytes) and a table row by token; a pooled vector by bag, written and
    read. Backward: the gradient of it, written; of mean and sum an entry (4 bytes) and a bag's
    gradient by token; of max, which credits one token by bag and number, the gradient once and the
    numbers of those tokens, written and read. Update: the gradient of each distinct row, written
    and read, and the row and the optimizer's memory of it, read and written. A weighted sum has a
    weight (4 bytes) by token and updates those of the distinct rows. Left out is what hardly
    counts: the linear layer, labels, where bags and rows begin.

    Where a table fits into the GPU's cache, a step may be faster than memory moves these bytes.

    Args:
        tokens: of the step.
        bags: of the step.
        rows: distinct tokens of the step.
        dim: numbers by row.
        mode: one pooling.
        table_bytes: by number of the table: 4, or 2 where it is of halves.
        memories: numbers of four bytes that the optimizer keeps by weight: 1 is Adagrad's.
    """
    forward = tokens * (4 + dim * table_bytes) + bags * dim * 4 * 2
    if mode == "max":
        backward = bags * dim * (4 + 4 + 2 * 4)
    else:
        backward = bags * dim * 4 + tokens * (4 + dim * 4)
    update = rows * dim * 2 * (4 + table_bytes + memories * 4)
    if mode == "weighted_sum":
        forward += tokens * 4
        update += rows * 2 * (4 + 4 + memories * 4)
    return forward + backward + update


# --- training ----------------------------------------------------------------------------------


def adagrad(lr: float) -> OptimizerConfig:
    """Return the project's default optimizer at another rate."""
    return OptimizerConfig(name="adagrad", lr=lr, weight_decay=0.0, rows="auto")


def free_bytes(device: torch.device) -> int | None:
    """Return what to tell a layout of the memory that it may use."""
    return None if device.type == "cuda" else CPU_BYTES


def trainer(
    plan: Plan, bags: Bags, packed: Packed, device: torch.device, size: int, dim: int, mode: Mode,
    kind: torch.dtype = torch.float32, touched: bool = False,
) -> CapturedSteps:  # fmt: skip
    """Return the steps of a training for its speed, over a table of ``kind``.

    With ``touched`` they update the rows that their batch touches, without it as training decides.
    """
    torch.manual_seed(0)
    assert bags.num_embeddings is not None
    model = EmbeddingBagClassifier(
        bags.num_embeddings, dim, packed.num_classes, mode, packed.padding_id
    ).to(device)
    model.embedding.sparse = touched or touches_few(
        bags, epoch_order(len(bags), 0, 0)[:size], bags.num_embeddings
    )
    optimizer = Optimizer(adagrad(LR), model.named_parameters())
    model.embedding.to(kind)  # now, so that what the optimizer remembers stays float32
    steps = (plan.epochs + 1) * -(-len(bags) // size)
    return CapturedSteps(
        model, optimizer, bags, size, Objective(), lambda step: LR, steps, free_bytes(device)
    )


def replays(steps: CapturedSteps, num_bags: int) -> tuple[Callable[[], None], float, float]:
    """Lay out the beginning of an epoch, to take its full steps over and over.

    Returns:
        What takes the next step; tokens and distinct rows a step, on average.
    """
    laid_out, tokens = next(steps.layout.chunks(epoch_order(num_bags, 0, 0)))
    full = min(len(laid_out), num_bags // steps.layout.batch_size)
    rows = int(steps.layout.step_rows[full]) / full
    at = 0

    def replay() -> None:
        nonlocal at
        if at == 0:
            steps._counter.zero_()
        steps._next()
        at = (at + 1) % full

    return replay, sum(tokens[:full]) / full, rows


def steady(
    plan: Plan, bags: Bags, packed: Packed, device: torch.device, bandwidth: float | None,
    size: int, dim: int, mode: Mode, kind: torch.dtype = torch.float32, touched: bool = False,
) -> Record:  # fmt: skip
    """Time single steps, whole epochs, and the layout of an epoch."""
    bags = Bags.concatenate([bags] * -(-plan.full_steps * size // len(bags)))
    steps = trainer(plan, bags, packed, device, size, dim, mode, kind, touched)
    sampler = Sampler(bags.sizes, size, 0)
    epoch_seconds = [
        seconds_of(
            device,
            lambda number=number: use_up(  # type: ignore[misc]
                steps.epoch(sampler.epoch(number), Progress(epoch=number))
            ),
        )
        for number in range(plan.epochs + 1)
    ]
    order = epoch_order(len(bags), 0, 0)
    layout_seconds = [
        seconds_of(device, lambda: use_up(steps.layout.chunks(order))) for _ in range(plan.epochs)
    ]
    replay, tokens, rows = replays(steps, len(bags))
    intervals(device, replay, plan.replays // 4)
    medians = [
        statistics.median(intervals(device, replay, plan.replays)) for _ in range(plan.repetitions)
    ]
    step, epoch = statistics.median(medians), statistics.median(epoch_seconds[1:])
    moved = floor_bytes(tokens, size, rows, dim, mode, kind.itemsize)
    floor = None if bandwidth is None else moved / bandwidth
    return {
        "updates": "touched rows" if steps.model.embedding.sparse else "all rows",
        "tokens_per_step": tokens,
        "rows_per_step": rows,
        "step_seconds": step,
        "step_seconds_lowest": min(medians),
        "step_seconds_highest": max(medians),
        "tokens_per_second": tokens / step,
        "floor_bytes": moved,
        "floor_seconds": floor,
        "share_of_floor": None if floor is None else floor / step,
        "epoch_bags": len(bags),
        "first_epoch_seconds": epoch_seconds[0],
        "epoch_seconds": epoch,
        "epoch_tokens_per_second": bags.num_tokens / epoch,
        "layout_seconds": statistics.median(layout_seconds),
    }


def stacked(one: Record, wide: Record, runs: int) -> Record:
    """Compare a step of ``runs`` models as one, of so many times the dim, with as many steps."""
    return {"ratio": wide["step_seconds"] / (runs * one["step_seconds"])}


def peer(
    plan: Plan, bags: Bags, device: torch.device, kind: type[Plain], settings: tuple[Any, ...]
) -> Record:
    """Time whole epochs of a plain training, after one that warms up."""
    plain = kind(*settings)
    seconds = [seconds_of(device, lambda: use_up(plain.epoch())) for _ in range(plan.epochs + 1)]
    epoch = statistics.median(seconds[1:])
    return {
        "epoch_seconds": epoch,
        "step_seconds": epoch / plain.num_steps,
        "epoch_tokens_per_second": bags.num_tokens / epoch,
    }
