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
    return {
        "textcls": __version__,
        "commit": _commit(),
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


def _commit() -> str | None:
    """Return the commit of textcls's own repository; None where it lies in another's, or in none.

    An environment of packages is often a folder inside of some other project's repository.
    """
    package = Path(__file__).parent
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--show-toplevel", "HEAD"],
            cwd=package,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git here
        return None
    root, _, commit = done.stdout.rstrip("\n").partition("\n")
    own = done.returncode == 0 and Path(root, package.name).resolve() == package.resolve()
    return commit if own else None


def _command() -> list[str]:
    # sys.argv is quoted for Hydra. In a launcher's process nothing was typed.
    typed, program = sys.orig_argv, sys.argv[0]
    return ["python", *typed[typed.index(program) :]] if program in typed else sys.argv
