"""Whether training on a GPU is right, and whether the host ever waits for it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.gpu.data import Packed
from benchmarks.gpu.speed import Plan, free_bytes, trainer, use_up
from benchmarks.measure import Record
from textcls.data.bags import Bags
from textcls.data.resident import Resident
from textcls.data.sampler import Sampler
from textcls.model.pooling import WEIGHT_SCALE, TransposedEmbeddingBag
from textcls.model.resident_bag import ResidentEmbeddingBag
from textcls.training.checkpoint import Progress
from textcls.training.timing import synchronize
from textcls.values import Mode


def without_sync(
    plan: Plan, bags: Bags, packed: Packed, device: torch.device, mode: Mode
) -> Record:
    """Run an epoch after the first while torch raises at everything that waits for the device."""
    if device.type != "cuda":
        return {"result": "needs a GPU"}
    steps = trainer(plan, bags, packed, device, plan.size, plan.dim, mode)
    sampler = Sampler(bags.sizes, plan.size, 0)
    use_up(steps.epoch(sampler.epoch(0), Progress()))
    epoch = sampler.epoch(1)
    synchronize(device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        use_up(steps.epoch(epoch, Progress(epoch=1)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"result": "passed", "captured": steps._graph is not None}


def gradient_errors(plan: Plan, device: torch.device, mode: Mode, sparse: bool) -> Record:
    """Compare a step's pooled vectors and gradients with plain ones in float64.

    The step is the second of two, of random bags with duplicates, padding and empty ones among
    them; whatever it writes to is NaN before.
    """
    torch.manual_seed(0)
    lengths = torch.randint(0, plan.longest, (2 * plan.bags,))
    offsets = F.pad(lengths.cumsum(0), (1, 0))
    indices = torch.randint(plan.tokens, (int(offsets[-1]),), dtype=torch.int32)
    bags = Bags(indices, offsets, torch.zeros(2 * plan.bags, dtype=torch.int64), plan.tokens)
    embedding = TransposedEmbeddingBag(plan.tokens, plan.dim, mode, padding_idx=1, sparse=sparse)
    for parameter in embedding.parameters():
        nn.init.normal_(parameter)
    grad = torch.randn(plan.bags, embedding.pooled_dim)
    pooled, gradients = exact(embedding, bags.slice(plan.bags, 2 * plan.bags), grad)

    embedding.to(device)
    layout = Resident(bags, plan.tokens, plan.bags, device, free_bytes(device))
    counter = torch.zeros(3, dtype=torch.int64, device=device)
    num_programs = 64 if device.type == "cuda" else 2
    bag = ResidentEmbeddingBag(embedding, layout, counter, num_programs)
    use_up(layout.chunks(torch.arange(len(bags))))
    counter[0] = 1
    for tensor in vars(bag).values():
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            tensor.fill_(float("nan"))
    errors = {"pooled_error": relative_error(bag.forward(), pooled)}
    bag.backward(grad.to(device))
    first, last = layout.step_rows[1:3].tolist()
    touched = layout.row_tokens[first:last].long().cpu()
    for name, found, all_rows in zip(
        ("table_error", "weights_error"), (bag.grad_weight, bag.grad_weighing), gradients,
        strict=False,
    ):  # fmt: skip
        assert found is not None
        wanted = all_rows[touched] if sparse else all_rows
        errors[name] = relative_error(found[: len(wanted)], wanted)
    return {"dim": plan.dim, **errors}


def exact(
    embedding: TransposedEmbeddingBag, bags: Bags, grad: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return pooled vectors and the gradients of all parameters, by torch's bag in float64."""
    weight, *weighing = (p.detach().double().requires_grad_() for p in embedding.parameters())
    indices, pooled = bags.indices.long(), []
    for part in embedding.mode.removeprefix("weighted_").split("+"):
        weights = (1 + WEIGHT_SCALE * weighing[0])[indices, 0] if weighing else None
        pooled.append(
            F.embedding_bag(
                indices, weight, bags.offsets, mode=part, per_sample_weights=weights,
                include_last_offset=True, padding_idx=embedding.padding_idx,
            )
        )  # fmt: skip
    joined = torch.cat(pooled, 1)
    gradients = torch.autograd.grad(joined, [weight, *weighing], grad.double())
    return joined.detach(), gradients


def relative_error(found: Tensor, exact: Tensor) -> float:
    """Return ‖found − exact‖ / ‖exact‖."""
    return float((found.cpu().double() - exact).norm() / exact.norm())
