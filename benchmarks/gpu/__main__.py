"""Training on a GPU, measured in one call.

    python -m benchmarks.gpu pack FILE.npz              # where the corpora and all of textcls are
    python -m benchmarks.gpu run FILE.npz --out FOLDER  # where the GPU is

``pack`` writes corpora as token ids. ``run`` reads nothing else, and imports torch, Triton, NumPy
and the part of textcls that trains: neither Arrow nor Hydra. It writes ``gpu.json`` and its tables,
``gpu.md``, after every measurement, so that nothing measured is lost when a later one fails; one
that fails leaves a line that says why. Without a GPU the same code runs in Triton's interpreter
(``TRITON_INTERPRET=1``, with ``--quick``), which says nothing about speed.

Seconds are of the device's clock where single steps are timed, else of the host's, with the device
idle before and after.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import triton

from benchmarks.corpora import PROJECT, REAL, find
from benchmarks.gpu.accuracy import cold_training, setting_of, warm_trainings
from benchmarks.gpu.checks import gradient_errors, without_sync
from benchmarks.gpu.data import load, pack, shrunk, with_bigrams
from benchmarks.gpu.peers import Loading, Plain
from benchmarks.gpu.report import tables
from benchmarks.gpu.speed import (
    QUICK,
    Plan,
    copying,
    find_device,
    peer,
    stacked,
    steady,
)
from benchmarks.measure import Record
from textcls.data.bags import Bags
from textcls.device import driver_version
from textcls.errors import InputError, first_line, status_and_reason
from textcls.files import write_whole
from textcls.pooling import KERNEL_MODES
from textcls.values import Mode

# Speed is measured on the first.
CORPORA = ("imdb", "ag_news", "sst2")
# Where a DataLoader's workers hand their batches over; containers often have 64 MiB there.
SHARED_MEMORY = Path("/dev/shm")


class Results:
    """What was measured, written down as it comes."""

    def __init__(self, folder: Path, machine: Record) -> None:
        self.folder, self.machine = folder, machine
        self.records: list[Record] = []

    def take(self, part: str, action: Callable[..., Record], *arguments: Any, **key: Any) -> Record:
        """Take one measurement; one that fails is noted as such, and the others go on."""
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        began = time.perf_counter()
        record: Record = {"part": part, **key}
        try:
            record |= action(*arguments)
        except Exception as error:
            record["error"] = f"{type(error).__name__}: {first_line(error)}"
        record["wall_seconds"] = time.perf_counter() - began
        if on_gpu:
            record["peak_bytes"] = torch.cuda.max_memory_allocated()
        print(json.dumps(record), flush=True)
        self.records.append(record)
        self.write()
        if on_gpu:
            gc.collect()
            torch.cuda.empty_cache()
        return record

    def write(self) -> None:
        """Write ``gpu.json``, and ``gpu.md`` out of it."""
        values = {"machine": self.machine, "records": self.records}
        write_whole(self.folder / "gpu.json", json.dumps(values, indent=1))
        write_whole(self.folder / "gpu.md", tables(values))

    def of(self, part: str, **key: Any) -> Record:
        """Return the first record of a part that has these values; an empty one if none has."""
        wanted = {"part": part, **key}
        return next((r for r in self.records if wanted.items() <= r.items()), {})


def machine(device: torch.device) -> Record:
    """Return what a figure depends on beside the code."""
    found: Record = {
        "started": time.strftime("%Y-%m-%d %H:%M"),
        "device": str(device),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "cores": os.cpu_count(),
    }
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {"device": properties.name, "memory": properties.total_memory}
        found |= {"multiprocessors": properties.multi_processor_count, "cuda": torch.version.cuda}
        found["driver"] = driver_version() or "unknown"
    return found


def run(file: Path, folder: Path, quick: bool) -> Results:
    """Measure everything, what matters most first.

    Raises:
        InputError: the file cannot be used, or there is no GPU.
    """
    device = find_device()
    if device.type == "cpu" and not (quick and os.environ.get("TRITON_INTERPRET") == "1"):
        raise InputError("there is no GPU: TRITON_INTERPRET=1 and --quick try the script without")
    packed, plan = load(file), QUICK if quick else Plan()
    if quick:
        packed = {name: shrunk(corpus) for name, corpus in packed.items()}
    folder.mkdir(parents=True, exist_ok=True)
    results = Results(folder, machine(device))
    take = results.take
    bandwidth = take("copy", copying, plan, device).get("bytes_per_second")

    for name, corpus in packed.items():
        take("cold", cold_training, file, name, quick, corpus=name)
        setting = setting_of(name, quick)
        take("warm", warm_trainings, plan, name, corpus, setting, device, corpus=name)

    of_speed = next(iter(packed.values()))  # IMDb
    words = Bags.concatenate([of_speed.train, of_speed.validation, of_speed.test])
    for mode in KERNEL_MODES:
        for sparse in (True, False):
            take("gradients", gradient_errors, plan, device, mode, sparse, mode=mode, sparse=sparse)
    for mode in plan.modes:
        take("sync", without_sync, plan, words, of_speed, device, mode, mode=mode)

    def measure(
        bags: Bags, vocabulary: str, size: int, dim: int, mode: Mode,
        kind: torch.dtype = torch.float32, touched: bool = False,
    ) -> None:  # fmt: skip
        take(
            "steady", steady, plan, bags, of_speed, device, bandwidth, size, dim, mode, kind,
            touched,
            vocabulary=vocabulary, size=size, dim=dim, mode=mode, table=str(kind).split(".")[1],
        )  # fmt: skip

    wide = plan.stack * plan.dim
    varied: list[tuple[int, int, Mode]] = [(size, plan.dim, "mean") for size in plan.sizes]
    varied += [(plan.size, dim, "mean") for dim in plan.dims]
    varied += [(plan.size, plan.dim, mode) for mode in plan.modes]
    varied += [(size, plan.dim, mode) for size in plan.peer_sizes for mode in ("sum", "max")]
    varied += [(size, wide, "mean") for size in plan.peer_sizes]
    for size, dim, mode in dict.fromkeys(varied):
        measure(words, "words", size, dim, mode)
    for kind in (torch.bfloat16, torch.float16):
        measure(words, "words", plan.size, plan.dim, "mean", kind)
    bigrams = with_bigrams(words, of_speed.num_embeddings, plan.buckets)
    measure(bigrams, "words and hashed bigrams", plan.size, plan.dim, "mean")
    # Whether the share of touched rows that decides on a CPU is right on a GPU.
    measure(words, "words", plan.size, plan.dim, "mean", touched=True)
    measure(bigrams, "words and hashed bigrams", plan.size, plan.dim, "mean", touched=True)
    for size in plan.peer_sizes:
        one, all_of_them = (
            results.of("steady", size=size, dim=dim, mode="mean", table="float32")
            for dim in (plan.dim, wide)
        )
        runs = plan.stack
        take("stacked", stacked, one, all_of_them, runs, size=size, runs=runs, dim=plan.dim)

    workers = plan.workers if shutil.disk_usage(SHARED_MEMORY).free > 1 << 30 else 0
    for size in plan.peer_sizes:
        for mode in ("mean", "sum", "max"):
            for sparse in (False,) if mode == "max" else (True, False):
                which = {"size": size, "mode": mode, "dim": plan.dim, "sparse": sparse}
                same = (words, device, size, plan.dim, mode, sparse)
                take("resident", peer, plan, words, device, Plain, same, **which)
                which["workers"] = workers
                take("loader", peer, plan, words, device, Loading, (*same, workers), **which)
    return results


def main() -> None:
    """Parse the command line; pack, or measure."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    packing = verbs.add_parser("pack", help="write IMDb, AG News and SST-2 as token ids")
    packing.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data")
    running = verbs.add_parser("run", help="measure, on a GPU")
    running.add_argument("--out", type=Path, required=True, help="folder of gpu.json and gpu.md")
    running.add_argument("--quick", action="store_true", help="try the script on next to nothing")
    for verb in (packing, running):
        verb.add_argument("file", type=Path, metavar="FILE.npz")
    options = parser.parse_args()
    try:
        if options.verb == "pack":
            found = find(options.data, {name: REAL[name] for name in CORPORA})
            if len(found) < len(CORPORA):
                missing = ", ".join(name for name in CORPORA if name not in found)
                raise InputError(f"--data {options.data}: has no {missing}")
            pack(options.file, found)
            print(f"{options.file}: {options.file.stat().st_size / 2**20:.1f} MiB")
        else:
            run(options.file, options.out, options.quick)
            print((options.out / "gpu.md").read_text(encoding="utf-8"))
    except Exception as error:
        status, reason = status_and_reason(error)
        print(f"error: {reason}", file=sys.stderr)
        sys.exit(status)


if __name__ == "__main__":
    main()
