"""The device that an option names; why a GPU cannot be used here, and what to do about it."""

from __future__ import annotations

import functools
import logging
import os
import re
from pathlib import Path

import torch
import torch.nn.functional as F

from textcls.errors import InputError, first_line

log = logging.getLogger("textcls")

# Below it lie the files that tell of a driver and of a container.
ROOT = Path("/")


def to_device(name: str, option: str = "trainer.device") -> torch.device:
    """Return the device that an option names; ``auto`` takes cuda, else mps, else cpu.

    Raises:
        InputError: there is no such device here, or it cannot pool bags.
    """
    if name == "auto":
        return _best_device(option)
    if not re.fullmatch(r"(cpu|cuda|mps)(:\d+)?", name):
        raise InputError(f"{option}={name}: take auto, cpu, cuda, cuda:1 or mps")
    check_gpu(name, option)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        reason = _cannot_pool(device) if device.type == "mps" else None
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = first_line(error)
    if reason is not None:
        raise InputError(f"{option}={name}: is not to be had here ({reason:.200})")
    return device


def to_device_of(rank: int, name: str, option: str = "trainer.device") -> torch.device:
    """Return the device of one of several processes on a machine; each has a GPU of its own.

    Args:
        rank: of the process, among those of its machine.
        name: what the option says.
        option: its name.

    Raises:
        InputError: there are fewer GPUs, or they cannot be shared out.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name not in ("cpu", "cuda"):
        raise InputError(f"{option}={name}: several processes take auto, cpu or cuda")
    return to_device(f"cuda:{rank}" if name == "cuda" else name, option)


@functools.cache  # what it warns of is said once
def _best_device(option: str) -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        mps = torch.device("mps")
        reason = _cannot_pool(mps)
        if reason is None:
            return mps
        log.warning("%s=auto takes the CPU: torch cannot pool on mps (%.200s)", option, reason)
    return torch.device("cpu")


def _cannot_pool(device: torch.device) -> str | None:
    """Say why a device cannot pool bags; None: it can. Some releases of torch have no kernel."""
    try:
        table = torch.zeros(1, 1, device=device)
        ids, offsets = torch.zeros(1, dtype=torch.int32), torch.tensor([0, 1], dtype=torch.int32)
        for mode in ("sum", "max"):
            F.embedding_bag(
                ids.to(device), table, offsets.to(device), mode=mode, include_last_offset=True
            )
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        return first_line(error)
    return None


def check_gpu(name: str, option: str = "trainer.device") -> None:
    """Check that the NVIDIA GPU which an option names can be used; other devices pass.

    Raises:
        InputError: it cannot; the message names the cause.
    """
    if torch.version.hip is not None or not re.fullmatch(r"cuda(:\d+)?", name):
        return
    reason = no_gpu()
    if reason is None:
        count, number = torch.cuda.device_count(), int(name.partition(":")[2] or 0)
        if number < count:
            return
        reason = f"of {count} visible GPUs the last is cuda:{count - 1}"
    raise InputError(f"{option}={name}: is not to be had here ({reason})")


def no_gpu() -> str | None:
    """Say why CUDA does not start; None: it does."""
    if torch.version.cuda is None:
        return (
            f"torch {torch.__version__} is a build without CUDA: install one with it, or take the "
            "Docker image that was not built for cpu"
        )
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return _cause(first_line(error))
    return None


def _cause(message: str) -> str:
    """Return why CUDA did not start, by torch's message and by what can be seen of the driver."""
    too_old = re.search(r"too old \(found version (\d+)\)", message)
    if too_old:
        known = int(too_old[1])
        return (
            f"the NVIDIA driver{_named_driver()} is too old: it knows CUDA {known // 1000}."
            f"{known % 1000 // 10}, and torch is built for {torch.version.cuda}: update it on the "
            "host, or take a torch for an older CUDA"
        )
    if "no NVIDIA driver" in message:
        return _no_driver()
    hiding = os.environ.get("CUDA_VISIBLE_DEVICES")
    if "No CUDA GPUs" in message and hiding is not None:
        return f"CUDA_VISIBLE_DEVICES={hiding!r} hides every GPU: unset it, or name one, such as 0"
    return message


def _no_driver() -> str:
    """Return where the driver got lost: its kernel part, its devices, or its library."""
    is_container = any((ROOT / name).exists() for name in (".dockerenv", "run/.containerenv"))
    has_devices = any((ROOT / "dev").glob("nvidia[0-9]*")) or (ROOT / "dev/dxg").exists()
    if has_devices and is_container:
        return (
            "the container has a GPU, but not the driver's library: NVIDIA_DRIVER_CAPABILITIES "
            "needs compute, and the host the NVIDIA container toolkit"
        )
    if has_devices:
        return "there is a GPU, but not the driver's library, libcuda.so.1: install it"
    if not is_container:
        return "no NVIDIA driver is loaded"
    if (ROOT / "proc/driver/nvidia/version").exists():
        return (
            f"the host has an NVIDIA driver{_named_driver()}, but the container was given no "
            "GPU: start it with --gpus all, for which the host needs the NVIDIA container toolkit"
        )
    return (
        "no NVIDIA driver is seen: the host needs one and the NVIDIA container toolkit, and the "
        "container to be started with --gpus all"
    )


def _named_driver() -> str:
    version = driver_version()
    return "" if version is None else f" {version}"


def driver_version() -> str | None:
    """Return that of NVIDIA's driver, such as ``580.65.06``; None where the kernel has none."""
    try:
        told = (ROOT / "proc/driver/nvidia/version").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r" (\d+\.\d+(?:\.\d+)?) ", told)
    return found[1] if found else None
