"""What a run was made with and by: versions, machine, command, commit."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from textcls import __version__


def environment(device: torch.device) -> dict[str, Any]:
    """Return what may explain a result one day: versions, machine, command, commit."""
    packages = (
        "torch", "numpy", "pyarrow", "datasets", "tokenizers", "torchtext", "hydra-core",
        "tensorboard", "safetensors", "optuna",
    )  # fmt: skip
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()
    except OSError:  # no git here
        commit = ""
    return {
        "textcls": __version__,
        "commit": commit or None,
        "command": shlex.join(_command()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": str(device),
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "cuda": torch.version.cuda,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "packages": {name: version_of(name) for name in packages},
    }


def version_of(package: str) -> str | None:
    """Return the version of an installed package, None where there is none of that name."""
    try:
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):  # the latter: no package is named so
        return None


def _command() -> list[str]:
    # sys.argv is quoted for Hydra. In a launcher's process nothing was typed.
    typed, program = sys.orig_argv, sys.argv[0]
    return ["python", *typed[typed.index(program) :]] if program in typed else sys.argv
