"""One measurement: a fresh process, its wall clock and its peak memory."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock

from benchmarks.corpora import PROJECT
from textcls.files import write_whole

# A measurement that takes longer is ended and counts as failed.
TIMEOUT_SECONDS = 1_800.0
PACKAGES = (
    "datasets", "fasttext", "hydra-core", "numpy", "pyarrow", "scikit-learn", "tokenizers",
    "torch", "torchtext", "wordllama",
)  # fmt: skip

Record = dict[str, Any]


def measure(
    command: list[str],
    variables: dict[str, str] | None = None,
    timeout: float = TIMEOUT_SECONDS,
) -> Record:
    """Run a command alone; return its seconds, peak memory, and output or error.

    The peak is the kernel's, of that process. Linux counts towards it what the parent held when
    it forked: so the parent imports nothing large.

    Args:
        command: what to run, in the repository's root.
        variables: of the environment; thread counts set outside do not reach the process.
        timeout: the seconds after which it is ended.
    """
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "TEXTCLS_CACHE"):
        environment.pop(name, None)
    environment |= variables or {}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=out, stderr=err)
        timer = threading.Timer(timeout, process.kill)
        timer.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:  # Ctrl-C: leave nothing running
            process.kill()
            raise
        finally:
            timer.cancel()
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        printed = out.read().decode(errors="replace")
        complaint = err.read().decode(errors="replace").strip().splitlines()
    record: Record = {
        "seconds": round(seconds, 3),
        "peak_rss": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }
    if process.returncode:
        return {"error": complaint[-1] if complaint else f"exit status {process.returncode}"}
    return record | {"printed": printed}


def measure_peer(
    name: str, arguments: dict[str, Any], variables: dict[str, str] | None = None
) -> Record:
    """Run a function of :mod:`benchmarks.peers` in a process of its own."""
    record = measure(
        [sys.executable, "-m", "benchmarks.peers", name, json.dumps(arguments)], variables
    )
    if "printed" in record:
        record["result"] = json.loads(record.pop("printed").splitlines()[-1])
    return record


class Results:
    """A file of measurements: written anew after each, so that nothing measured is lost.

    A measurement takes the place of an earlier one of the same key; each says which run it is of.
    Runs at the same time may write one file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.runs: list[Record] = []
        self.records: list[Record] = []
        self._run: Record = {}
        self._read()

    def _read(self) -> None:
        if self.path.exists():
            values = json.loads(self.path.read_text(encoding="utf-8"))
            self.runs, self.records = values["runs"], values["records"]

    def begin(self, options: dict[str, Any]) -> None:
        """Note what this run is made on and with."""
        self._run = {"started": time.strftime("%Y-%m-%d %H:%M"), **options, **machine()}

    def add(self, key: Record, record: Record) -> None:
        """Take in one measurement and write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{self.path}.lock"):
            self._read()
            if self._run not in self.runs:
                self.runs.append(self._run)
            self.records = [old for old in self.records if old["key"] != key]
            self.records.append({"key": key, "run": self.runs.index(self._run), **record})
            # Runs of which nothing is left are dropped.
            used = sorted({old["run"] for old in self.records})
            self.runs = [self.runs[i] for i in used]
            self.records = [old | {"run": used.index(old["run"])} for old in self.records]
            values = {"runs": self.runs, "records": self.records}
            write_whole(self.path, json.dumps(values, indent=1, ensure_ascii=False))


def machine() -> Record:
    """Return what a figure depends on beside the code."""
    try:
        cpu = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())[0]
    except (OSError, IndexError):  # not Linux, or not x86
        cpu = platform.processor()
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    ).stdout.strip()  # fmt: skip
    return {
        "cpu": cpu,
        "cores": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": round(os.getloadavg()[0], 2),
        "platform": platform.system(),
        "python": platform.python_version(),
        "versions": versions,
        "commit": commit,
    }
