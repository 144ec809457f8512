"""What a machine has shown of Triton's kernels: tried once in a process of its own, remembered.

A process of its own, since kernels that are at fault may end it or never return.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from textcls import __version__
from textcls.data.cache import name_of
from textcls.device import driver_version
from textcls.files import write_whole
from textcls.locks import acquire
from textcls.training.cases import Case
from textcls.training.proof import Finding

# Of the cache folder.
FOLDER = "proofs"
COMMAND = (sys.executable, "-m", "textcls.training.proof")
# Seconds that it may take. Most of them are for compiling, where Triton's own cache is empty.
LONGEST = 300.0
PACKAGE = Path(__file__).parents[1]
# What a proof is of.
_CODE = (
    "data/resident.py", "model/kernels.py", "model/pooling.py", "model/resident_bag.py",
    "training/captured.py", "training/cases.py", "training/optimizer.py", "training/proof.py",
    "training/steps.py",
)  # fmt: skip

Machine = dict[str, str]


def proven(case: Case, device: torch.device, cache_dir: Path | None) -> Finding:
    """Return what the machine has shown of a case, or try it now.

    Processes that need the same at the same time wait for the one that tries it.

    Args:
        case: of a training.
        device: a GPU.
        cache_dir: where it is remembered; None: nowhere.
    """
    if cache_dir is None:
        return tried(case, device)
    here = machine(device)
    path = _path(case, here, cache_dir)
    with _alone(path):
        found = _read(path)
        return found[1] if found else remember(case, here, tried(case, device), cache_dir)


def remember(case: Case, here: Machine, found: Finding, cache_dir: Path) -> Finding:
    """Write down what a machine has shown, where that is possible; return it."""
    values = {"machine": here, "case": asdict(case), "found": asdict(found)}
    path = _path(case, here, cache_dir)
    with contextlib.suppress(OSError):  # it is shown again next time
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(values, indent=1))
    return found


def remembered(here: Machine, cache_dir: Path) -> list[tuple[Case, Finding]]:
    """Return all that is remembered of a machine, as it is now."""
    found = [_read(path) for path in sorted((cache_dir / FOLDER).glob("*.json"))]
    return [(case, finding) for case, finding, there in filter(None, found) if there == here]


def tried(case: Case, device: torch.device) -> Finding:
    """Try a case in a process of its own, however that ends."""
    asked = json.dumps({"device": str(device), "case": asdict(case)})
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    pipe, fault = subprocess.PIPE, None
    process = subprocess.Popen(
        COMMAND, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True,
        env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    try:
        out, err = process.communicate(asked, timeout=LONGEST)
    except subprocess.TimeoutExpired:
        fault = f"Triton's kernels did not return within {LONGEST:g} s"
    finally:
        _end(process)
    today = time.strftime("%Y-%m-%d")
    if fault is None:
        try:
            return replace(Finding(**json.loads(out.splitlines()[-1])), when=today)
        except (ValueError, TypeError, IndexError):
            last = err.strip().splitlines()[-1:] or ["it said nothing"]
            status = process.returncode
            ended = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            fault = f"the process that tried Triton's kernels ended by {ended} ({last[0]:.200})"
    return Finding(fault, when=today)


def _end(process: subprocess.Popen[str]) -> None:
    """End a process, and the compilers that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a driver may hold on to it for ever
        process.wait(10)


def machine(device: torch.device) -> Machine:
    """Return what a proof holds for: the device, and all that runs on it."""
    found = {"device": platform.processor() or "CPU", "driver": driver_version() or "unknown"}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found["device"] = f"{properties.name}, {properties.major}.{properties.minor}"
    code = hashlib.sha256(b"".join((PACKAGE / name).read_bytes() for name in _CODE)).hexdigest()
    return found | {
        "cuda": str(torch.version.hip or torch.version.cuda),
        "torch": torch.__version__,
        "triton": _triton_version(),
        "textcls": f"{__version__}, code {code[:12]}",
    }


def _triton_version() -> str:
    names = ("triton", "pytorch-triton", "pytorch-triton-rocm", "triton-rocm")
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            return metadata.version(name)
    return "none"


def _path(case: Case, here: Machine, cache_dir: Path) -> Path:
    key: dict[str, Any] = {"machine": here, "case": asdict(case)}
    return cache_dir / FOLDER / f"{name_of(key)}.json"


def _read(path: Path) -> tuple[Case, Finding, Machine] | None:
    """Return a case, what was found and on which machine; None: it is not there, or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return Case(**values["case"]), Finding(**values["found"]), dict(values["machine"])
    except (OSError, ValueError, TypeError, KeyError):
        return None


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other processes from trying the same meanwhile, where files can be locked."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = acquire(path.with_suffix(".lock"))
    except OSError:
        yield
        return
    try:
        yield
    finally:
        lock.release()
