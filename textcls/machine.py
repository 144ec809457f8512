"""The report of ``textcls doctor``: a machine, its speed, and what a GPU has shown."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from textcls.device import no_gpu
from textcls.environment import environment
from textcls.markdown import table
from textcls.sizes import size_in_words
from textcls.threads import usable_cpus
from textcls.training.cases import Case, bags_of
from textcls.training.choice import is_gpu, no_triton
from textcls.training.proof import CPU, STEPS, Finding, Trial, timed
from textcls.training.proven import machine, remember, remembered, tried
from textcls.training.steps import Steps
from textcls.training.timing import copy_bandwidth

# What is timed everywhere: experiment=plain on texts of some length.
PLAIN = Case("mean", 32, rows=1 << 13, bags=256, tokens=64)
# Bytes of a copy: more than caches hold.
CPU_COPY, GPU_COPY = 1 << 28, 1 << 30
COPIES = 5


def report(device: torch.device, cache_dir: Path) -> str:
    """Return the report, as Markdown.

    Args:
        device: that trainings would be on.
        cache_dir: where it is remembered what a GPU has shown; what it shows now is added.
    """
    rows, cases = _machine(device), ""
    if is_gpu(device):
        here = machine(device)
        rows.append(["GPU", f"{here['device']}{_memory(device)}"])
        rows.append(["driver, CUDA", f"{here['driver']}, {here['cuda']}"])
        rows.append(["GPU, copying", _per_second(copy_bandwidth(device, GPU_COPY, COPIES))])
        fault = no_triton(device)
        if fault is not None:
            rows.append(["Triton's kernels", f"not used: {fault}"])
        else:
            before = [case for case, _ in remembered(here, cache_dir)]
            tries = [
                (case, remember(case, here, tried(case, device), cache_dir))
                for case in dict.fromkeys([PLAIN, *before])
            ]
            cases = "\n" + _cases(tries)
    else:
        rows.append(["GPU", _why_none(device)])
    return table(["textcls doctor", ""], rows) + cases


def _machine(device: torch.device) -> list[Sequence[str]]:
    """Return what any machine has, and how fast its CPU is."""
    known, here = environment(device), machine(device)
    bags = bags_of(PLAIN, STEPS)
    seconds = timed({"CPU": Trial(PLAIN, bags, CPU, Steps)})["CPU"]
    return [
        ["textcls", f"{here['textcls']}, commit {known['commit'] or 'unknown'}"],
        [
            "versions",
            f"Python {known['python']}, torch {here['torch']}, Triton {here['triton']}, "
            f"NumPy {np.__version__}",
        ],
        ["system", known["platform"]],
        ["CPU", f"{_cpu()}, {usable_cpus()} of {known['cpus']} cores usable"],
        ["threads of torch", str(known["threads"])],
        ["CPU, copying", _per_second(copy_bandwidth(CPU, CPU_COPY, COPIES))],
        ["CPU, training", f"{_speed(bags.num_tokens / STEPS, seconds)} M tokens/s ({PLAIN})"],
    ]


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    except OSError:  # not on macOS
        pass
    return platform.processor() or platform.machine()


def _memory(device: torch.device) -> str:
    if device.type != "cuda":
        return ""
    return f", {size_in_words(torch.cuda.get_device_properties(device).total_memory)}"


def _why_none(device: torch.device) -> str:
    if device.type == "mps":
        return "mps: by torch's own operators"
    return f"none is used: {no_gpu() or '--device cpu'}"


def _per_second(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.1f} GB/s, read and written"


def _speed(tokens: float, seconds: float) -> str:
    return f"{tokens / seconds / 1e6:,.2f}"


def _cases(tries: Sequence[tuple[Case, Finding]]) -> str:
    """Return a row for each case that was tried."""
    rows = []
    for case, found in tries:
        speeds = [
            _speed(found.tokens, found.seconds[name]) if name in found.seconds else "–"
            for name in ("triton", "torch")
        ]
        kernels = "as on the CPU" if found.fault is None else found.fault
        torchs = "as on the CPU" if found.torch_fault is None else found.torch_fault
        off = [f"{found.weights:.0e}", f"{found.loss:.0e}"] if found.steps else ["–", "–"]
        rows.append([str(case), kernels, *off, torchs, *speeds])
    heads = [
        "case", "Triton's kernels", "weights off by", "loss off by", "torch's operators",
        "Triton, M tokens/s", "torch, M tokens/s",
    ]  # fmt: skip
    return table(heads, rows)
