"""How long a device takes."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(device: torch.device, action: Callable[[], object]) -> float:
    """Return the host's seconds, with the device idle before and after."""
    synchronize(device)
    began = time.perf_counter()
    action()
    synchronize(device)
    return time.perf_counter() - began


def copy_bandwidth(device: torch.device, num_bytes: int, times: int) -> float:
    """Return the bytes a second of copies within the device's memory, read and written both.

    Args:
        device: whose memory.
        num_bytes: of a copy: more than any cache holds.
        times: copies, of which the fastest counts: others may be at work there as well.
    """
    source = torch.zeros(num_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    seconds = min(seconds_of(device, lambda: target.copy_(source)) for _ in range(times))
    return 2 * num_bytes / seconds
