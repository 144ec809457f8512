"""torch's optimizers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from textcls.config import OptimizerConfig, ScheduleConfig


def make_optimizer(
    config: OptimizerConfig, parameters: Iterable[nn.Parameter], device: torch.device
) -> torch.optim.Optimizer:
    """Return the optimizer; its fused kernel where torch has one (a step is one pass)."""
    lr, decay = config.lr, config.weight_decay
    fused = device.type in ("cpu", "cuda")
    if config.name == "sgd":
        return torch.optim.SGD(
            parameters, lr, momentum=config.momentum, weight_decay=decay, fused=fused
        )
    if config.name == "adagrad":
        # Its fused kernel is for the CPU only.
        return torch.optim.Adagrad(
            parameters, lr, weight_decay=decay, fused=device.type == "cpu" or None
        )
    kind = torch.optim.Adam if config.name == "adam" else torch.optim.AdamW
    return kind(parameters, lr, betas=config.betas, weight_decay=decay, fused=fused)


def make_schedule(
    config: ScheduleConfig, optimizer: torch.optim.Optimizer, num_steps: int
) -> LambdaLR:
    """Return the schedule over ``num_steps`` steps, to be stepped once after each of them."""
    warmup = math.ceil(config.warmup * num_steps)

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        if config.name == "constant":
            return 1.0
        done = min((step - warmup) / max(num_steps - warmup, 1), 1.0)
        return 1.0 - done if config.name == "linear" else 0.5 * (1.0 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
